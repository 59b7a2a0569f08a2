//! How a session is read.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use super::{
    Sessions,
    keyspace::Names,
    record::{Record, or_if_unreadable},
    snapshot::{Origin, Snapshot},
};
use crate::error::Error;

/// What there is of a session.
// It is taken apart at once; a box would be an allocation for every read.
#[expect(clippy::large_enum_variant)]
pub(crate) enum Found {
    Session(Snapshot),
    /// That it has ended, as far as that is remembered.
    Tombstone {
        age: Duration,
    },
    Nothing,
}

impl Record<'_> {
    /// For a request of the session, which may have ended.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`] when something else is there than a session.
    pub(crate) async fn find(&self) -> Result<Found, Error> {
        Ok(match self.read(true).await? {
            Some(snapshot) => Found::Session(snapshot),
            None => match self.ended_ago().await? {
                Some(age) => Found::Tombstone { age },
                None => Found::Nothing,
            },
        })
    }

    /// `may_refresh`: the session may be prolonged, so it pays to know how long it lives.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`] when something else is there than a session.
    pub(crate) async fn read(&self, may_refresh: bool) -> Result<Option<Snapshot>, Error> {
        let sessions = self.sessions;
        let with_ttl = may_refresh && sessions.refreshes.load(Relaxed);
        let (ours, has_copy) = self.fetch(with_ttl).await?;
        let Some(ours) = ours else {
            return match has_copy {
                true => self.find_unadopted().await,
                false => Ok(None),
            };
        };
        if matches!(ours.origin, Origin::Copied) && self.copy_key().is_some() && !has_copy {
            self.end_as_there(&ours).await?;
            return Ok(None);
        }
        // Without a tombstone, so no request is late: its time was up, and nobody has ended it.
        if matches!(sessions.policy.left_ms(&ours.details), Some(..=0)) {
            self.expire(ours.details.owner.as_ref()).await?;
            return Ok(None);
        }
        Ok(Some(ours))
    }

    /// One that is there as its copy only.
    async fn find_unadopted(&self) -> Result<Option<Snapshot>, Error> {
        match self.read_unadopted().await? {
            (None, found) => Ok(found),
            // It was ended by the index, just before it was adopted.
            (Some(_), _) => self.remove_copy().await.map(|()| None),
        }
    }

    /// What is there by now; what cannot be read is no session.
    pub(super) async fn read_again(&self, may_refresh: bool) -> Result<Option<Snapshot>, Error> {
        or_if_unreadable(self.read(may_refresh).await, None)
    }

    /// How many milliseconds the session has left to live in Redis; negative if it is gone.
    async fn left_ms_in_redis(&self) -> Result<i64, Error> {
        match self.ttl_left_ms().await? {
            // It may not have been adopted yet.
            ..0 => {
                let copy = or_if_unreadable(self.read_copy().await, None)?;
                Ok(copy.and_then(|copy| copy.ttl_left_ms()).unwrap_or(-1))
            }
            left_ms => Ok(left_ms),
        }
    }
}

impl Sessions {
    /// How long the session lives, if nobody uses it; `None` if it is gone.
    pub(crate) async fn expires_in(
        &self,
        names: &Names,
        snapshot: &Snapshot,
    ) -> Result<Option<Duration>, Error> {
        let op = &self.client.operation("expires_in");
        let session = self.record(op, names);
        let in_redis_ms = op.of(session.left_ms_in_redis()).await?;
        let left_ms = self.policy.left_ms(&snapshot.details);
        let left_ms = in_redis_ms.min(left_ms.unwrap_or(i64::MAX));
        Ok(u64::try_from(left_ms).ok().map(Duration::from_millis))
    }
}
