//! How a session is read.

use std::sync::atomic::Ordering::Relaxed;

use super::{
    end::end,
    record::Record,
    snapshot::{Origin, Snapshot},
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
        (None, Some(copy)) if session.ended_ago().await?.is_none() => copy.read().await,
        (Some(ours), Some(copy)) if ours.origin == Origin::Copied && !copy.exists().await? => {
            end(session, Some(&ours)).await?;
            Ok(None)
        }
        (Some(found), _) if left_ms(&found).is_some_and(|left_ms| left_ms <= 0) => {
            end(session, Some(&found)).await?;
            Ok(None)
        }
        (found, _) => Ok(found),
    }
}
