//! How a session is changed from outside of its requests.

use actix_web::cookie::time;

use super::{
    begin::adopt,
    changes::Changes,
    details::Terms,
    enter::{enter_or_end, plan},
    layout::asked::{Replacement, Written},
    read::read,
    record::Record,
    snapshot::Snapshot,
    state::State,
    storage::goes_on_after,
    write::{Effect, settle},
};
use crate::error::Error;

/// One change of a session from outside of its requests: `change` is called again with what is
/// there, until nothing of that has changed meanwhile. `None` if there is no such session.
pub(super) async fn modify<T>(
    session: &Record<'_>,
    mut change: impl FnMut(&mut State) -> T,
) -> Result<Option<T>, Error> {
    let (mut tries, mut turn) = (1, None);
    loop {
        let Some(snapshot) = read(session, false).await?.session() else {
            return Ok(None);
        };
        let mut ours = snapshot.state.clone();
        let output = change(&mut ours);
        if Changes::between(&snapshot.state, &ours).is_empty() {
            return Ok(Some(output));
        }
        session.storage.rules.check_size(&ours)?;
        if session.storage.keyspace.layout().is_written_whole() {
            let replaced = session.replace(&Replacement::of_state(&ours, None)).await?;
            return Ok(matches!(replaced, Written::Done).then_some(output));
        }
        match modify_to(session, &snapshot, &ours).await? {
            Written::Done => return Ok(Some(output)),
            Written::Gone => return Ok(None),
            Written::Conflict(_) => {
                goes_on_after(session.op, &mut tries)?;
                if turn.is_none() {
                    let turns = &session.storage.turns;
                    turn = turns.turn(session.op, &session.names.id).await;
                }
            }
        }
    }
}

/// Its TTL stays.
async fn modify_to(
    session: &Record<'_>,
    snapshot: &Snapshot,
    ours: &State,
) -> Result<Written, Error> {
    let mut changes = Changes::exactly(&snapshot.state, ours);
    let ttl_left_ms = match snapshot.ttl_left_ms() {
        None if session.storage.rules.policy.needs_details() => session.ttl_left_ms().await?,
        known => known.unwrap_or_default(),
    };
    // Others may give it the TTL anew that it had.
    let ttl_ms = ttl_left_ms.max(snapshot.details.ttl_ms.unwrap_or(1));
    let ttl = time::Duration::milliseconds(ttl_ms);
    let terms = Terms::only(&ttl);
    if !adopt(session, Some(snapshot), terms).await? {
        return Ok(Written::Gone);
    }
    let Some(mut plan) = plan(session, snapshot, ours, terms).await? else {
        return Ok(Written::Gone);
    };
    plan.keeps_ttl();
    if !enter_or_end(session, snapshot, &mut plan).await? {
        return Ok(Written::Gone);
    }
    changes.expect(&snapshot.stored, &snapshot.state);
    plan.add_to(&mut changes);
    if plan.enters.is_some() {
        // Others may let it live for longer meanwhile than it was entered for.
        changes.ttl_at_most = Some(plan.ttl_ms.saturating_mul(2));
    }
    let written = session.write(&changes, None).await?;
    if let Written::Done = written {
        settle(session, &plan, Some(Effect::Done)).await;
    }
    Ok(written)
}
