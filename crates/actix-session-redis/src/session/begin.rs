//! How a session begins, and how one of the store built into actix-session becomes one of ours.
//!
//! A session of that store that is not there under our name is looked up under the one it has there.
//! Its first write here makes it one of ours, with the same session key. The copy there is never
//! written again and lives as long as ours does, so that whoever goes back to the built-in store finds
//! it; a session that begins here gets one, too. Who ends a session takes its copy away first, and a
//! session whose copy is gone was ended by the built-in store: so it has ended here as well.

use actix_session::storage::SessionKey;

use super::{
    details::{Details, Terms},
    end::end,
    enter::enter,
    entry::Owner,
    keyspace::{Names, draw_session_key},
    layout::{fields::unread_born_ms, hash::Begun},
    plan::Of,
    record::Record,
    snapshot::{Origin, Snapshot},
    state::State,
    storage::Storage,
};
use crate::{client::Operation, error::Error, telemetry::events};

/// A session that has begun.
pub(super) struct Created {
    pub(super) session_key: SessionKey,
    pub(super) owner: Option<Owner>,
}

/// Begins a session under a new key; if that is taken, under another one. `None` if all sessions
/// of its user have been ended meanwhile.
pub(super) async fn create(
    storage: &Storage,
    op: &Operation<'_>,
    state: &State,
    terms: Terms<'_>,
    from: Option<(&Names, &Snapshot)>,
) -> Result<Option<Created>, Error> {
    let base = from.and_then(|(_, snapshot)| storage.rules.policy.user(&snapshot.state));
    let is_login = storage.rules.policy.is_login(base.as_ref(), state, terms);
    let mut before = from.map_or_else(Details::default, |(_, it)| it.details.clone());
    if is_login {
        (before.born_ms, before.lifetime_ms) = (None, None);
    } else if let Some((names, snapshot)) = from {
        let unread = unread_born_ms(&snapshot.stored, &names.seal(storage.seals()));
        let unread = unread.inspect_err(|it| op.observation.failed_to_open(&names.id, it))?;
        before.born_ms = before.born_ms.or(unread);
    }
    storage.rules.check_size(state)?;
    loop {
        let of = Of::New(&before);
        let Some(mut plan) = storage.plan(op, of, base.as_ref(), state, terms)? else {
            return Ok(None);
        };
        let session_key = draw_session_key();
        let names = storage.keyspace.names(&session_key);
        let session = Record::new(storage, op, &names);
        let from = from.map(|(names, _)| &names.id);
        if !enter(&session, from, &mut plan).await? {
            return Ok(None);
        }
        if let Some(copy) = session.copy() {
            copy.write(state, plan.ttl_ms).await?;
        }
        let begun = session.begin(state, &plan).await;
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

/// Before a session is written: makes it one of ours, if it is the built-in store's, and lets
/// its copy live on. `false` if that store has ended it.
pub(super) async fn adopt(
    session: &Record<'_>,
    snapshot: Option<&Snapshot>,
    ttl_ms: i64,
    terms: Terms<'_>,
) -> Result<bool, Error> {
    let Some(copy) = session.copy() else {
        return Ok(true);
    };
    let copy_lives = copy.prolong(ttl_ms).await?;
    match snapshot {
        Some(snapshot) if snapshot.origin == Origin::Copy => {
            if copy_lives {
                // If its key is taken, another request has adopted it.
                begin_adopted(session, &snapshot.state, terms).await?;
            }
            Ok(copy_lives)
        }
        _ if copy_lives => Ok(true),
        _ => {
            let was_ended = session.known_copy().await?.is_some();
            if was_ended {
                end(session, None).await?;
            }
            Ok(!was_ended)
        }
    }
}

/// `false` if its key is taken.
pub(super) async fn begin_adopted(
    session: &Record<'_>,
    state: &State,
    terms: Terms<'_>,
) -> Result<bool, Error> {
    // Who has a session there does not log in.
    let user = session.storage.rules.policy.user(state);
    let terms = Terms::only(terms.ttl);
    let none = Details::default();
    let of = Of::New(&none);
    let storage = session.storage;
    let Some(mut plan) = storage.plan(session.op, of, user.as_ref(), state, terms)? else {
        return Ok(false);
    };
    if !enter(session, None, &mut plan).await? {
        end(session, None).await?;
        return Ok(false);
    }
    let begun = session.begin(state, &plan).await?;
    if let (Begun::Ended, Some(copy)) = (begun, session.copy())
        && session.ended_ago().await?.is_some()
    {
        copy.remove().await?;
    }
    if begun == Begun::Done {
        events::adopted();
    }
    Ok(matches!(begun, Begun::Done | Begun::Before))
}
