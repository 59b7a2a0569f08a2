//! How a session is read.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use futures_util::future::try_join;

use super::{
    end::end_as_there,
    record::Record,
    snapshot::{Origin, Snapshot},
    storage::or_if_unreadable,
};
use crate::error::Error;

/// What there is of a session.
// It is taken apart at once; a box would be an allocation for every read.
#[expect(clippy::large_enum_variant)]
pub(crate) enum Found {
    Session(Snapshot),
    /// That it has ended, as far as that is remembered, and if somebody has looked.
    Tombstone {
        age: Duration,
    },
    Nothing,
}

impl Found {
    pub(super) fn session(self) -> Option<Snapshot> {
        match self {
            Self::Session(snapshot) => Some(snapshot),
            Self::Tombstone { .. } | Self::Nothing => None,
        }
    }
}

/// With the tombstone, if there is no session.
///
/// # Errors
///
/// [`Error::Unreadable`] when something else is there than a session.
pub(super) async fn find(session: &Record<'_>, may_refresh: bool) -> Result<Found, Error> {
    match read(session, may_refresh).await? {
        Found::Nothing => Ok(found_ended(session.ended_ago().await?)),
        found => Ok(found),
    }
}

fn found_ended(age: Option<Duration>) -> Found {
    age.map_or(Found::Nothing, |age| Found::Tombstone { age })
}

/// `may_refresh`: the session may be prolonged, so it pays to know how long it lives.
///
/// # Errors
///
/// [`Error::Unreadable`] when something else is there than a session.
pub(super) async fn read(session: &Record<'_>, may_refresh: bool) -> Result<Found, Error> {
    let with_ttl = may_refresh && session.storage.rules.refreshes.load(Relaxed);
    let left_ms = |found: &Snapshot| session.storage.rules.policy.left_ms(&found.details);
    let (ours, has_copy) = session.read(with_ttl).await?;
    match (ours, session.copy()) {
        (None, Some(copy)) if has_copy => match try_join(session.ended_ago(), copy.read()).await? {
            (None, found) => Ok(found.map_or(Found::Nothing, Found::Session)),
            // It was ended by the index, just before it was adopted.
            (ended, _) => copy.remove().await.map(|()| found_ended(ended)),
        },
        (Some(ours), Some(_)) if matches!(ours.origin, Origin::Copied) && !has_copy => {
            end_as_there(session, &ours).await?;
            Ok(Found::Nothing)
        }
        // Without a tombstone: the request that finds this out is none of a session that was ended.
        (Some(found), _) if left_ms(&found).is_some_and(|left_ms| left_ms <= 0) => {
            session.expire(found.details.owner.as_ref()).await?;
            Ok(Found::Nothing)
        }
        (found, _) => Ok(found.map_or(Found::Nothing, Found::Session)),
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
