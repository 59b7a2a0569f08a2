//! How a session is read.

use std::sync::atomic::Ordering::Relaxed;

use super::{
    end::end,
    record::Record,
    snapshot::{Origin, Snapshot},
    storage::or_if_unreadable,
};
use crate::error::Error;

/// `may_refresh`: the session may be prolonged, so it pays to know how long it lives.
///
/// # Errors
///
/// [`Error::Unreadable`] when something else is there than a session.
pub(super) async fn read(
    session: &Record<'_>,
    may_refresh: bool,
) -> Result<Option<Snapshot>, Error> {
    let with_ttl = may_refresh && session.storage.rules.refreshes.load(Relaxed);
    let left_ms = |found: &Snapshot| session.storage.rules.policy.left_ms(&found.details);
    match (session.read(with_ttl).await?, session.copy()) {
        (None, Some(copy)) => match session.ended_ago().await? {
            None => copy.read().await,
            // It was ended by the index, just before it was adopted.
            Some(_) => copy.remove().await.map(|()| None),
        },
        (Some(ours), Some(copy)) if ours.origin == Origin::Copied && !copy.exists().await? => {
            end(session, Some(&ours)).await?;
            Ok(None)
        }
        // Without a tombstone: the request that finds this out is none of a session that was ended.
        (Some(found), _) if left_ms(&found).is_some_and(|left_ms| left_ms <= 0) => {
            session.expire(found.details.owner.as_ref()).await?;
            Ok(None)
        }
        (found, _) => Ok(found),
    }
}

/// How many milliseconds the session has left to live; negative if it is gone.
pub(super) async fn ttl_left_ms(session: &Record<'_>) -> Result<i64, Error> {
    let left_ms = session.ttl_left_ms().await?;
    match session.copy() {
        // It was not adopted yet.
        Some(copy) if left_ms < 0 => {
            let copy = or_if_unreadable(copy.read().await, None)?;
            Ok(copy.and_then(|copy| copy.ttl_left_ms()).unwrap_or(-1))
        }
        _ => Ok(left_ms),
    }
}
