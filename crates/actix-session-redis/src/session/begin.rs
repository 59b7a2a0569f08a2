//! How a session begins, and how one of the store built into actix-session becomes one of ours.
//!
//! A session of that store that is not there under our name is looked up under the one it has there.
//! Its first write here makes it one of ours, with the same session key, and with what it holds there at
//! that moment. The copy there is never written again and lives as long as ours does, so that whoever goes
//! back to the built-in store finds it; a session that begins here gets one, too. Both begin in one step,
//! and end in one; so a session whose copy is gone was ended by the built-in store, and has ended here as
//! well. It goes when somebody reads it.

use actix_session::storage::SessionKey;

use super::{
    Sessions,
    details::Details,
    entry::Owner,
    keyspace::Names,
    layout::{
        asked::{Begun, Source},
        fields::unread_born_ms,
    },
    plan::Of,
    policy::Terms,
    record::{Record, or_if_unreadable},
    session_key::draw_session_key,
    snapshot::{Origin, Snapshot},
    state::State,
    turns::Tries,
};
use crate::{client::Operation, error::Error, telemetry::events};

/// A session that has begun.
pub(super) struct Created {
    pub(super) session_key: SessionKey,
    pub(super) owner: Option<Owner>,
}

impl Sessions {
    /// Begins a session under a new key. `None` if all sessions of its user have been ended meanwhile.
    pub(crate) async fn create(
        &self,
        op: &Operation<'_>,
        state: &State,
        terms: Terms<'_>,
    ) -> Result<Option<SessionKey>, Error> {
        let begun = self.begin(op, state, terms, None).await?;
        Ok(begun.map(|begun| begun.session_key))
    }

    /// Begins a session under a new key; if that is taken, under another one. `None` if all sessions
    /// of its user have been ended meanwhile.
    pub(super) async fn begin(
        &self,
        op: &Operation<'_>,
        state: &State,
        terms: Terms<'_>,
        from: Option<(&Names, &Snapshot)>,
    ) -> Result<Option<Created>, Error> {
        let base = from.and_then(|(_, snapshot)| self.policy.user(&snapshot.state));
        let is_login = self.policy.is_login(base.as_ref(), state, terms);
        let before = match from {
            Some((names, snapshot)) if !is_login => self.brought_along(op, names, snapshot)?,
            Some((_, snapshot)) => Details {
                born_ms: None,
                lifetime_ms: None,
                ..snapshot.details.clone()
            },
            None => Details::default(),
        };
        self.check_size(state)?;
        loop {
            let of = Of::New(&before);
            let Some(mut plan) = self.plan(op, of, base.as_ref(), state, terms)? else {
                return Ok(None);
            };
            let session_key = draw_session_key();
            let names = self.keyspace.names(&session_key);
            let session = self.record(op, &names);
            let from = from.map(|(names, _)| &names.id);
            if !session.enter(from, &mut plan).await? {
                return Ok(None);
            }
            let begun = session.begin(state, &plan, Source::State).await;
            match begun {
                Ok(Begun::Done | Begun::Before) => {
                    let owner = plan.details.owner;
                    return Ok(Some(Created { session_key, owner }));
                }
                // It may be there.
                Err(Error::Unavailable { .. }) => {}
                _ => {
                    let owner = plan.details.owner.as_ref();
                    session.leave(owner).await;
                }
            }
            if begun? == Begun::Ended {
                return terms.login.map_or(Ok(None), |_| Err(Error::Overtaken));
            }
        }
    }

    /// What is noted of a session that goes on under another key.
    fn brought_along(
        &self,
        op: &Operation<'_>,
        names: &Names,
        snapshot: &Snapshot,
    ) -> Result<Details, Error> {
        let unread = unread_born_ms(&snapshot.stored, &names.seal(self.seals()));
        let unread = unread.inspect_err(|it| op.observation.failed_to_open(&names.id, it))?;
        let mut details = snapshot.details.clone();
        details.born_ms = details.born_ms.or(unread);
        Ok(details)
    }
}

impl Record<'_> {
    /// Before a session is written: makes it one of ours, if it is the built-in store's. `false` if it has
    /// ended.
    pub(super) async fn adopt(
        &self,
        snapshot: Option<&Snapshot>,
        terms: Terms<'_>,
    ) -> Result<bool, Error> {
        let Some(Snapshot {
            state,
            origin: Origin::Copy(bytes),
            ..
        }) = snapshot
        else {
            return Ok(true);
        };
        // If its key is taken, another request has adopted it.
        let begun = self
            .begin_adopted(state, Source::Copy(bytes), terms)
            .await?;
        Ok(begun != Begun::Ended)
    }

    /// With this state, or with what the copy holds by now, if that is another one and matters.
    pub(super) async fn begin_adopted(
        &self,
        state: &State,
        source: Source<'_>,
        terms: Terms<'_>,
    ) -> Result<Begun, Error> {
        let policy = &self.sessions.policy;
        // Who has a session there does not log in.
        let terms = Terms::only(terms.ttl);
        let (mut latest, mut tries) = (None, Tries::first());
        loop {
            let (state, source) = match &latest {
                Some(Snapshot {
                    state,
                    origin: Origin::Copy(bytes),
                    ..
                }) => (state, Source::Copy(bytes)),
                _ => (state, source),
            };
            let user = policy.user(state);
            let none = Details::default();
            let of = Of::New(&none);
            let plan = self
                .sessions
                .plan(self.op, of, user.as_ref(), state, terms)?;
            let Some(mut plan) = plan else {
                return Ok(Begun::Ended);
            };
            if !self.enter(None, &mut plan).await? {
                self.end(None).await?;
                return Ok(Begun::Ended);
            }
            let begun = self.begin(state, &plan, source).await?;
            if begun == Begun::Done {
                events::adopted();
            }
            if begun != Begun::Changed {
                return Ok(begun);
            }
            latest = or_if_unreadable(self.read_copy().await, None)?;
            if latest.is_none() {
                return Ok(Begun::Ended);
            }
            tries.again(self.op)?;
        }
    }
}
