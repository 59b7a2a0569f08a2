//! How a session ends, or many.

use std::{borrow::Cow, sync::Arc};

use futures_util::future::try_join_all;

use super::{
    keyspace::{Names, draw_token},
    record::Record,
    snapshot::Snapshot,
    storage::Storage,
    tombstone::{Ended, Ending, Whose},
};
use crate::{
    client::{Connection, Operation},
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

/// Ends the session, or what has taken its place. `false` if nothing was left to end, for
/// somebody else had done it, or it is not theirs whose it must be.
async fn end_theirs(
    storage: &Storage,
    op: &Operation<'_>,
    names: &Names,
    whose: Option<&Whose<'_>>,
) -> Result<bool, Error> {
    let who = &*draw_token();
    let mut names = Cow::Borrowed(names);
    loop {
        let ending = Ending {
            who,
            successor: None,
            keep_last_state: None,
            whose,
        };
        let ended = Record::new(storage, op, &names).carry_out(&ending).await?;
        names = match ended {
            Ended::ByUs(_) => return Ok(true),
            Ended::BySomebodyElse(None) | Ended::NotTheirs => return Ok(false),
            Ended::BySomebodyElse(Some(successor)) => Cow::Owned(successor),
        };
    }
}

/// The same for many, which are told by whom they have to be. Says of each whether it was ended.
pub(super) async fn end_together(
    storage: &Storage,
    op: &Operation<'_>,
    ends: &[(Names, Whose<'_>)],
) -> Result<Vec<bool>, Error> {
    let who = &*draw_token();
    for (names, _) in ends {
        Record::new(storage, op, names).remove_copy().await?;
    }
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
                ending.carry_out(redis, names, &storage.keyspace).await
            }
        });
        try_join_all(ends)
    };
    let mut ended = Vec::with_capacity(ends.len());
    for (it, (_, whose)) in storage.client.run(op, end).await?.into_iter().zip(ends) {
        ended.push(match it {
            Ended::ByUs(_) => true,
            Ended::BySomebodyElse(None) | Ended::NotTheirs => false,
            Ended::BySomebodyElse(Some(successor)) => {
                end_theirs(storage, op, &successor, Some(whose)).await?
            }
        });
    }
    Ok(ended)
}
