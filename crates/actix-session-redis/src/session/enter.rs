//! A session is entered into the index of its user before it becomes theirs; and if they have too many
//! then, the oldest end.

use super::{
    entry::Entries,
    index::{Entered, Entering},
    keyspace::{SessionId, User},
    plan::Plan,
    record::Record,
    storage::Storage,
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
