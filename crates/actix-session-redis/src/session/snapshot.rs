//! A session as it was read: what a later write has started from.

use std::time::Duration;

use tokio::time::Instant;

use super::{details::Details, seal::Stored, state::State};

pub(crate) struct Snapshot {
    pub(crate) state: State,
    pub(crate) details: Details,
    pub(crate) origin: Origin,
    /// The same as the state, as Redis holds it.
    pub(crate) stored: Stored,
    read: Instant,
    /// Unknown when nobody asked.
    ttl_left_ms: Option<u64>,
}

pub(crate) enum Origin {
    Ours,
    /// With a copy in the layout of the store built into actix-session.
    Copied,
    /// From that copy, which is all that there is of it, and holds these bytes.
    Copy(Vec<u8>),
}

impl Snapshot {
    pub(crate) fn now(state: State) -> Self {
        Self {
            state,
            details: Details::default(),
            origin: Origin::Ours,
            stored: Stored::default(),
            read: Instant::now(),
            ttl_left_ms: None,
        }
    }

    /// Negative: nobody asked, or it has none.
    pub(crate) fn with_ttl(mut self, ttl_left_ms: i64) -> Self {
        self.ttl_left_ms = ttl_left_ms.try_into().ok();
        self
    }

    /// How many milliseconds it had left to live when it was read, if somebody asked.
    pub(crate) fn ttl_left_ms(&self) -> Option<i64> {
        self.ttl_left_ms.and_then(|left| left.try_into().ok())
    }

    /// Whether so little of the TTL has passed since it was set that setting it again can wait:
    /// 1 %, and a minute at most.
    pub(crate) fn is_fresh(&self, ttl_ms: i64) -> bool {
        let ttl = Duration::from_millis(ttl_ms.unsigned_abs());
        let little = (ttl / 100).min(Duration::from_secs(60));
        self.ttl_left_ms
            .and_then(|left| ttl.checked_sub(Duration::from_millis(left)))
            .is_some_and(|passed| passed + self.read.elapsed() < little)
    }
}

#[cfg(test)]
#[path = "../../tests/unit/snapshot.rs"]
mod tests;
