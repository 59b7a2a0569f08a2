//! A session as it was read: what a later write has started from.

use std::time::Duration;

use tokio::time::Instant;

use super::codec::{self, State};
use crate::error::Error;

#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) body: Vec<u8>,
    read: Instant,
    /// Unknown when the session had no TTL, or nobody asked.
    ttl_left_ms: Option<u64>,
}

impl Snapshot {
    pub(crate) fn now(body: Vec<u8>, ttl_left_ms: Option<u64>) -> Self {
        Self {
            body,
            read: Instant::now(),
            ttl_left_ms,
        }
    }

    pub(crate) fn state(&self) -> Result<State, Error> {
        codec::decode(&self.body)
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
mod tests {
    use super::*;

    fn is_fresh(ttl_left_ms: Option<u64>, ttl_ms: i64) -> bool {
        Snapshot::now(Vec::new(), ttl_left_ms).is_fresh(ttl_ms)
    }

    #[test]
    fn a_session_is_fresh_for_one_percent_of_its_ttl() {
        assert!(is_fresh(Some(3_600_000), 3_600_000));
        assert!(is_fresh(Some(3_600_000 - 35_000), 3_600_000));
        assert!(!is_fresh(Some(3_600_000 - 36_000), 3_600_000));
    }

    #[test]
    fn a_session_is_fresh_for_a_minute_at_most() {
        assert!(is_fresh(Some(86_400_000 - 59_000), 86_400_000));
        assert!(!is_fresh(Some(86_400_000 - 60_000), 86_400_000));
    }

    #[test]
    fn a_session_without_a_ttl_or_with_a_longer_one_is_not_fresh() {
        assert!(!is_fresh(None, 3_600_000));
        assert!(!is_fresh(Some(7_200_000), 3_600_000));
    }
}
