//! What the end-to-end tests and the fault tests have in common.

pub mod browser;
mod redis;

pub use redis::{redis, sessions};

/// The demo as `demo up` starts it.
pub type Stack = testbed::Stack<demo::Instances>;
