//! How a session is written: what a request has made of it, or all of it; and how it is prolonged.

use std::sync::atomic::Ordering::Relaxed;

use super::{
    begin::{adopt, begin_adopted},
    changes::Changes,
    details::{Details, Terms},
    enter::{enter_anew, enter_or_end, plan},
    layout::asked::{Begun, Replacement, Source, Written},
    plan::Plan,
    read::{Found, read},
    record::Record,
    snapshot::{Origin, Snapshot},
    state::{State, was_cleared},
    storage::{goes_on_after, or_if_unreadable},
    ttl::whole_milliseconds,
};
use crate::{error::Error, telemetry::events};

/// What became of a session that was to be written or prolonged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Effect {
    Done,
    /// It has just been prolonged, and there is nothing to write.
    Fresh,
    /// There is no session any more.
    Gone,
}

impl Effect {
    pub(super) fn done(done: bool) -> Self {
        if done { Self::Done } else { Self::Gone }
    }
}

/// Stores what a request has made of the snapshot, and nothing else.
pub(super) async fn update(
    session: &Record<'_>,
    snapshot: &Snapshot,
    ours: &State,
    terms: Terms<'_>,
) -> Result<Effect, Error> {
    match write_what_has_changed(session, snapshot, ours, terms).await? {
        // A write that is dropped is nothing to be told of, but a login is.
        Effect::Gone if terms.login.is_some() => Err(Error::Overtaken),
        effect => Ok(effect),
    }
}

async fn write_what_has_changed(
    session: &Record<'_>,
    snapshot: &Snapshot,
    ours: &State,
    terms: Terms<'_>,
) -> Result<Effect, Error> {
    let mut changes = session
        .storage
        .rules
        .merge_rules
        .changes(&snapshot.state, ours);
    let Some(plan) = plan(session, snapshot, ours, terms).await? else {
        return Ok(Effect::Gone);
    };
    if changes.is_empty() && plan.is_idle() && !snapshot.stored.has_stale() {
        return prolong(session, Some(snapshot), terms, plan.ttl_ms).await;
    }
    if !changes.is_empty() {
        // A request that only prolongs the session has not made it as large as it is.
        session.storage.rules.check_size(ours)?;
    }
    let Some(mut plan) = adopt_and_enter(session, snapshot, ours, terms, plan).await? else {
        return Ok(Effect::Gone);
    };
    let layout = session.storage.keyspace.layout();
    let is_replaced = layout.is_written_whole() || was_cleared(&snapshot.state, ours);
    let written = if is_replaced {
        put(session, ours, &plan).await?
    } else {
        changes.expect(&snapshot.stored, &snapshot.state);
        plan.add_to(&mut changes);
        write(session, snapshot, ours, changes, &mut plan, terms).await?
    };
    settle(session, &plan, written).await;
    match written {
        Some(effect) => Ok(effect),
        None => replace(session, ours, terms).await,
    }
}

/// `None` if it has ended, or ends.
async fn adopt_and_enter(
    session: &Record<'_>,
    snapshot: &Snapshot,
    ours: &State,
    terms: Terms<'_>,
    mut plan: Plan,
) -> Result<Option<Plan>, Error> {
    if !adopt(session, Some(snapshot), terms).await? {
        return Ok(None);
    }
    let policy = &session.storage.rules.policy;
    if policy.needs_details() && matches!(snapshot.origin, Origin::Copy(_)) {
        // Something is noted of it from now on.
        return enter_anew(session, snapshot, ours, terms).await;
    }
    let is_entered = enter_or_end(session, snapshot, &mut plan).await?;
    Ok(is_entered.then_some(plan))
}

/// Writes changes, and if others have changed the same meanwhile, what comes of both.
async fn write(
    session: &Record<'_>,
    snapshot: &Snapshot,
    ours: &State,
    mut changes: Changes<'_>,
    plan: &mut Plan,
    terms: Terms<'_>,
) -> Result<Option<Effect>, Error> {
    let (mut ttl_ms, mut tries, mut turn) = (Some(plan.ttl_ms), 1, None);
    loop {
        let theirs = match session.write(&changes, ttl_ms).await? {
            Written::Done => break,
            Written::Gone => return Ok(Some(Effect::Gone)),
            Written::Conflict(theirs) => theirs,
        };
        goes_on_after(session.op, &mut tries)?;
        if turn.is_none() {
            let turns = &session.storage.turns;
            turn = turns.turn(session.op, &session.names.id).await;
        }
        if theirs.is_empty() && (plan.changes_hands || terms.login.is_some()) {
            // In the index where this request has entered it, it may be no more.
            match enter_anew(session, snapshot, ours, terms).await? {
                Some(anew) => *plan = anew,
                None => return Ok(Some(Effect::Gone)),
            }
            plan.add_to(&mut changes);
            ttl_ms = Some(plan.ttl_ms);
        } else if theirs.is_empty() {
            // It lives as long as it is entered for where it is now.
            Details::without_owner(&mut changes.own);
            (changes.owner_text, ttl_ms) = (None, None);
        }
        session
            .storage
            .rules
            .merge_rules
            .meet(&mut changes, &snapshot.state, ours, theirs)?;
    }
    if tries > 1 {
        events::merged();
    }
    Ok(Some(Effect::Done))
}

/// Writes all of a state. `None` if the session says something else of its owner by now.
async fn put(session: &Record<'_>, state: &State, plan: &Plan) -> Result<Option<Effect>, Error> {
    let has_users = session.storage.rules.policy.user_field.is_some();
    let put = Replacement {
        state,
        own: &plan.own_changes(),
        ttl_ms: Some(plan.ttl_ms),
        latest: plan.latest,
        owner_text: has_users.then_some(&plan.before.owner_text),
    };
    Ok(match session.replace(&put).await? {
        Written::Done => Some(Effect::Done),
        Written::Gone => Some(Effect::Gone),
        Written::Conflict(_) => None,
    })
}

/// After a write: takes the session out of the index that it is in no more. What was entered for a
/// write that came to nothing stays: somebody else may have entered the same, and written it.
pub(super) async fn settle(session: &Record<'_>, plan: &Plan, written: Option<Effect>) {
    if written == Some(Effect::Done) {
        session.leave(plan.left()).await;
    }
}

/// Last write wins.
pub(super) async fn replace(
    session: &Record<'_>,
    state: &State,
    terms: Terms<'_>,
) -> Result<Effect, Error> {
    let ttl_ms = whole_milliseconds(terms.ttl)?;
    session.storage.rules.check_size(state)?;
    if session.storage.rules.policy.needs_details() {
        return replace_known(session, state, terms).await;
    }
    let put = Replacement::of_state(state, Some(ttl_ms));
    let replace = async || {
        Ok(Effect::done(matches!(
            session.replace(&put).await?,
            Written::Done
        )))
    };
    match (replace().await?, session.copy()) {
        (Effect::Gone, Some(_)) => {
            match begin_adopted(session, state, Source::AnyCopy, terms).await? {
                Begun::Done => Ok(Effect::Done),
                // Another request has adopted it meanwhile.
                Begun::Taken | Begun::Before => replace().await,
                Begun::Ended | Begun::Changed => Ok(Effect::Gone),
            }
        }
        (effect, _) => Ok(effect),
    }
}

/// What is noted of a session has to be known before it is replaced.
async fn replace_known(
    session: &Record<'_>,
    state: &State,
    terms: Terms<'_>,
) -> Result<Effect, Error> {
    let mut tries = 1;
    loop {
        let found = read(session, false).await.map(Found::session);
        let Some(snapshot) = or_if_unreadable(found, None)? else {
            return Ok(Effect::Gone);
        };
        let Some(mut plan) = plan(session, &snapshot, state, terms).await? else {
            return Ok(Effect::Gone);
        };
        if !adopt(session, Some(&snapshot), terms).await?
            || !enter_or_end(session, &snapshot, &mut plan).await?
        {
            return Ok(Effect::Gone);
        }
        let written = put(session, state, &plan).await?;
        settle(session, &plan, written).await;
        if let Some(effect) = written {
            return Ok(effect);
        }
        goes_on_after(session.op, &mut tries)?;
    }
}

/// Lets the session live for another TTL, if that makes a difference.
pub(super) async fn refresh(
    session: &Record<'_>,
    snapshot: Option<&Snapshot>,
    terms: Terms<'_>,
) -> Result<Effect, Error> {
    let found;
    let snapshot = match snapshot {
        None if session.storage.rules.policy.needs_details() => {
            let read = read(session, true).await.map(Found::session);
            found = or_if_unreadable(read, None)?;
            match &found {
                Some(snapshot) => Some(snapshot),
                None => return Ok(Effect::Gone),
            }
        }
        snapshot => snapshot,
    };
    match snapshot {
        Some(snapshot) => update(session, snapshot, &snapshot.state, terms).await,
        None => {
            let ttl_ms = whole_milliseconds(terms.ttl)?;
            prolong(session, None, terms, ttl_ms).await
        }
    }
}

async fn prolong(
    session: &Record<'_>,
    snapshot: Option<&Snapshot>,
    terms: Terms<'_>,
    ttl_ms: i64,
) -> Result<Effect, Error> {
    session.storage.rules.refreshes.store(true, Relaxed);
    if snapshot.is_some_and(|snapshot| snapshot.is_fresh(ttl_ms)) {
        return Ok(Effect::Fresh);
    }
    if !adopt(session, snapshot, terms).await? {
        return Ok(Effect::Gone);
    }
    let (ours, has_copy) = session.refresh(ttl_ms).await?;
    match (ours, has_copy, session.copy()) {
        // Only prolonged there, it would never become one of ours.
        (false, Some(true), Some(copy)) => match or_if_unreadable(copy.read().await, None)? {
            Some(theirs) => adopt(session, Some(&theirs), terms).await.map(Effect::done),
            None => Ok(Effect::Gone),
        },
        // The built-in store has ended it.
        (true, Some(false), _) => Ok(Effect::done(session.known_copy().await?.is_none())),
        _ => Ok(Effect::done(ours)),
    }
}
