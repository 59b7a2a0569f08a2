//! What the end-to-end tests and the fault tests have in common.

pub mod browser;
mod redis;

use std::time::{Duration, Instant};

pub use redis::{redis, sessions};

/// Asks again and again for something that only time brings about.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < patience, "never happened: {what}");
    }
}
