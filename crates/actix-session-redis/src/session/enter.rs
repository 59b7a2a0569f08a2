//! A session is entered into the index of its user before it becomes theirs; and if they have too many
//! then, the oldest end.

use super::{
    details::{Details, Terms},
    end::end,
    entry::Entries,
    index::{Entered, Entering},
    keyspace::{SessionId, User},
    plan::{Of, Plan},
    read::{Found, read},
    record::Record,
    snapshot::Snapshot,
    state::State,
    storage::{Storage, or_if_unreadable},
    user_sessions::{end_entries, gone_among},
};
use crate::{client::Operation, error::Error};

/// Enters the session into the index, if it has to be. `false` if all sessions of the user were
/// ended meanwhile, this one among them.
pub(super) async fn enter(
    session: &Record<'_>,
    from: Option<&SessionId>,
    plan: &mut Plan,
) -> Result<bool, Error> {
    let Some(enters) = &plan.enters else {
        return Ok(true);
    };
    let (storage, op) = (session.storage, session.op);
    let index = storage.index(op, &enters.user);
    let entering = Entering {
        id: &session.names.id,
        from,
        since: enters.since,
        after: enters.after,
        ttl_ms: plan.ttl_ms,
        stays: enters.stays,
        limit: enters.limit,
    };
    let mut gone = Vec::new();
    let owner = loop {
        match index.enter(&entering, &gone).await? {
            Entered::Done(owner) => break owner,
            Entered::TooMany(owner, entries) => {
                make_room(storage, op, &entering, &enters.user, entries).await?;
                break owner;
            }
            Entered::Refused(entries) => {
                let known = gone;
                gone = gone_among(storage, op, &enters.user, &entries).await?;
                let is_no_other = gone.iter().all(|gone| known.contains(gone));
                if let (true, Some(limit)) = (is_no_other, enters.limit) {
                    return Err(Error::SessionLimit {
                        limit: limit.sessions,
                    });
                }
            }
            Entered::Overtaken if enters.is_login => return Err(Error::Overtaken),
            Entered::Overtaken => return Ok(false),
        }
    };
    plan.is_entered(owner);
    Ok(true)
}

/// Ends the oldest.
async fn make_room(
    storage: &Storage,
    op: &Operation<'_>,
    entering: &Entering<'_>,
    user: &User,
    mut entries: Entries,
) -> Result<(), Error> {
    let limit = entering.limit.map_or(usize::MAX, |limit| limit.sessions);
    let index = storage.index(op, user);
    loop {
        entries.all.retain(|entry| Some(&entry.id) != entering.from);
        if entries.all.len() <= limit {
            return Ok(());
        }
        let gone = gone_among(storage, op, user, &entries).await?;
        if gone.is_empty() {
            break;
        }
        index.leave(&gone).await?;
        // One that was renewed was entered under its new name before it was gone.
        entries = index.counted().await?;
    }
    let too_many = entries.all.len().saturating_sub(limit);
    entries.all.truncate(too_many);
    end_entries(storage, op, user, &entries, &[])
        .await
        .map(drop)
}

/// What becomes of its details; `None` if it has come to its end.
pub(super) async fn plan(
    session: &Record<'_>,
    snapshot: &Snapshot,
    ours: &State,
    terms: Terms<'_>,
) -> Result<Option<Plan>, Error> {
    plan_from(session, &snapshot.state, &snapshot.details, ours, terms).await
}

async fn plan_from(
    session: &Record<'_>,
    base: &State,
    details: &Details,
    ours: &State,
    terms: Terms<'_>,
) -> Result<Option<Plan>, Error> {
    let (storage, op) = (session.storage, session.op);
    let user = storage.rules.policy.user(base);
    let plan = storage.plan(op, Of::Known(details), user.as_ref(), ours, terms)?;
    if plan.is_none() {
        session.expire(details.owner.as_ref()).await?;
    }
    Ok(plan)
}

/// `false` if all sessions of the user were ended, and this one is one of them.
pub(super) async fn enter_or_end(
    session: &Record<'_>,
    snapshot: &Snapshot,
    plan: &mut Plan,
) -> Result<bool, Error> {
    let is_entered = enter(session, None, plan).await?;
    if !is_entered {
        end(session, Some(snapshot)).await?;
    }
    Ok(is_entered)
}

/// What is noted of the session has changed since the snapshot. `None` if it is gone, or ends.
pub(super) async fn enter_anew(
    session: &Record<'_>,
    snapshot: &Snapshot,
    ours: &State,
    terms: Terms<'_>,
) -> Result<Option<Plan>, Error> {
    let found = read(session, false).await.map(Found::session);
    let Some(now) = or_if_unreadable(found, None)? else {
        return Ok(None);
    };
    let policy = &session.storage.rules.policy;
    let [before, now_theirs, ours_theirs] =
        [&snapshot.state, &now.state, ours].map(|state| policy.user(state));
    // A login is completed that leaves the session whose it was; and it is somebody else's by now.
    if terms.login.is_some() && before == ours_theirs && now_theirs != ours_theirs {
        return Err(Error::Overtaken);
    }
    let plan = plan_from(session, &snapshot.state, &now.details, ours, terms).await?;
    let Some(mut plan) = plan else {
        return Ok(None);
    };
    let is_entered = enter_or_end(session, &now, &mut plan).await?;
    Ok(is_entered.then_some(plan))
}
