//! How a session ends, or many.

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use futures_util::future::{TryFutureExt as _, try_join_all};

use super::{
    details::Details,
    keyspace::{Names, SessionId, draw_token},
    layout::hash::Hash,
    record::Record,
    snapshot::Snapshot,
    storage::Storage,
    tombstone::{Ended, Ending, Whose},
};
use crate::{
    client::{Connection, Failure, Operation},
    error::Error,
};

/// Ends the session, or what has taken its place. `false` if nothing was left to end, for
/// somebody else had done it.
pub(super) async fn end(session: &Record<'_>, snapshot: Option<&Snapshot>) -> Result<bool, Error> {
    let ended = end_theirs(session.storage, session.op, session.names, None).await?;
    let owner = snapshot.and_then(|snapshot| snapshot.details.owner.as_ref());
    session.leave(owner).await;
    Ok(ended)
}

/// Ends a session that the store built into actix-session has ended. What has taken its place here, if something
/// has, is none of that store's.
pub(super) async fn end_as_there(session: &Record<'_>, snapshot: &Snapshot) -> Result<(), Error> {
    let ending = Ending {
        who: &draw_token(),
        successor: None,
        keep_last_state: None,
        whose: None,
    };
    session.carry_out(&ending).await?;
    session.leave(snapshot.details.owner.as_ref()).await;
    Ok(())
}

/// Ends the session, or what has taken its place. `false` if nothing was left to end, for
/// somebody else had done it, or it is not theirs whose it must be.
async fn end_theirs(
    storage: &Storage,
    op: &Operation<'_>,
    names: &Names,
    whose: Option<&Whose<'_>>,
) -> Result<bool, Error> {
    let who = &*draw_token();
    let (mut names, mut known) = (Cow::Borrowed(names), HashSet::new());
    loop {
        let ending = Ending {
            who,
            successor: None,
            keep_last_state: None,
            whose,
        };
        let ended = Record::new(storage, op, &names).carry_out(&ending).await?;
        names = match ended {
            Ended::ByUs(_) | Ended::ByUsUnread(_) => return Ok(true),
            Ended::BySomebodyElse(None) | Ended::NotTheirs => return Ok(false),
            Ended::BySomebodyElse(Some(successor)) if is_spared(&successor, whose) => {
                return Ok(false);
            }
            Ended::BySomebodyElse(Some(successor)) => {
                // Only who writes to Redis beside us makes tombstones tell of each other, or of thousands.
                if !known.insert(names.id.clone()) {
                    return Ok(false);
                }
                if !op.has_time_for_a_try() {
                    let tries = known.len().try_into().unwrap_or(u32::MAX);
                    return Err(Error::Contended { tries });
                }
                Cow::Owned(successor)
            }
        };
    }
}

fn is_spared(successor: &Names, whose: Option<&Whose<'_>>) -> bool {
    whose.is_some_and(|whose| whose.but.contains(&successor.id))
}

/// The same for many, which are told by whom they have to be. Says of each whether it was ended.
pub(super) async fn end_together(
    storage: &Storage,
    op: &Operation<'_>,
    ends: &[(Names, Whose<'_>)],
) -> Result<Vec<bool>, Error> {
    let who = &*draw_token();
    let end = |redis: Arc<Connection>| {
        let ends = ends.iter().map(move |(names, whose)| {
            let redis = Arc::clone(&redis);
            async move {
                let ending = Ending {
                    who,
                    successor: None,
                    keep_last_state: None,
                    whose: Some(whose),
                };
                let seal = &names.seal(storage.seals());
                ending
                    .carry_out(redis, names, &storage.keyspace, seal)
                    .await
            }
        });
        try_join_all(ends)
    };
    let mut ended = Vec::with_capacity(ends.len());
    for (it, (_, whose)) in storage.client.run(op, end).await?.into_iter().zip(ends) {
        ended.push(match it {
            Ended::ByUs(_) | Ended::ByUsUnread(_) => true,
            Ended::BySomebodyElse(None) | Ended::NotTheirs => false,
            Ended::BySomebodyElse(Some(successor)) if is_spared(&successor, Some(whose)) => false,
            Ended::BySomebodyElse(Some(successor)) => {
                end_theirs(storage, op, &successor, Some(whose)).await?
            }
        });
    }
    Ok(ended)
}

/// The Redis keys of the copies that these sessions have.
pub(super) async fn copies_of(
    storage: &Storage,
    op: &Operation<'_>,
    ids: &[&SessionId],
) -> Result<Vec<Option<String>>, Error> {
    let names = ids.iter().map(|id| Names::of_id((*id).clone()));
    let keys: Vec<_> = names
        .map(|names| storage.keyspace.session(&names))
        .collect();
    let look = |redis: Arc<Connection>| {
        let looks = keys.iter().map(move |redis_key| {
            let redis = Arc::clone(&redis);
            async move {
                match (Hash { redis, redis_key }).copy().await {
                    Err(Failure::Permanent(Error::Unreadable { .. })) => Ok(None),
                    copy => copy,
                }
            }
        });
        try_join_all(looks)
    };
    storage.client.run(op, look).await
}

/// What is noted of each of these sessions beside its state, and how many milliseconds it has left
/// to live.
pub(super) async fn details_of(
    storage: &Storage,
    op: &Operation<'_>,
    ids: &[&SessionId],
) -> Result<Vec<Option<(Details, i64)>>, Error> {
    let names: Vec<_> = ids.iter().map(|id| Names::of_id((*id).clone())).collect();
    let sessions = names.iter().map(|names| {
        let redis_key = storage.keyspace.session(names);
        (redis_key, names.seal(storage.seals()))
    });
    let sessions: Vec<_> = sessions.collect();
    // One connection is replaced for all that do not open.
    let was_broken = &AtomicBool::new(false);
    let look = |redis: Arc<Connection>| {
        if was_broken.load(Relaxed) {
            sessions.iter().for_each(|(_, seal)| seal.asks_again());
        }
        let looks = sessions.iter().map(move |(redis_key, seal)| {
            let redis = Arc::clone(&redis);
            async move {
                match (Hash { redis, redis_key }).details(seal).await {
                    Err(Failure::Permanent(Error::Unreadable { .. } | Error::BrokenSeal)) => {
                        Ok(None)
                    }
                    details => details,
                }
            }
        });
        try_join_all(looks).inspect_err(|failure| {
            if let Failure::Transient(fault) = failure
                && fault.is_broken_seal()
            {
                was_broken.store(true, Relaxed);
            }
        })
    };
    storage.client.run(op, look).await
}
