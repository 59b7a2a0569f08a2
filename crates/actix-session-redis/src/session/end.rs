//! How a session ends, or many.

use std::{collections::HashSet, ops::ControlFlow, sync::Arc};

use futures_util::future::try_join_all;

use super::{
    Sessions,
    keyspace::Names,
    record::Record,
    session_key::draw_token,
    snapshot::Snapshot,
    tombstone::{Ended, Ending, Whose},
};
use crate::{
    client::{Connection, Operation},
    error::Error,
};

impl Record<'_> {
    /// Ends the session, or what has taken its place. `false` if nothing was left to end, for
    /// somebody else had done it.
    pub(crate) async fn end(&self, snapshot: Option<&Snapshot>) -> Result<bool, Error> {
        let ended = self.end_with_successors(None).await?;
        let owner = snapshot.and_then(|snapshot| snapshot.details.owner.as_ref());
        self.leave(owner).await;
        Ok(ended)
    }

    /// Ends a session that the store built into actix-session has ended. What has taken its place here, if something
    /// has, is none of that store's.
    pub(super) async fn end_as_there(&self, snapshot: &Snapshot) -> Result<(), Error> {
        self.carry_out(&Ending::of(&draw_token(), None)).await?;
        self.leave(snapshot.details.owner.as_ref()).await;
        Ok(())
    }

    /// The same as [`end`](Self::end); `false` also if it is not theirs whose it must be.
    async fn end_with_successors(&self, whose: Option<&Whose<'_>>) -> Result<bool, Error> {
        let who = draw_token();
        let ending = Ending::of(&who, whose);
        let mut ended = self.carry_out(&ending).await?;
        let mut known = HashSet::from([self.names.id.clone()]);
        loop {
            let successor = match what_remains(ended, whose) {
                ControlFlow::Break(is_ended) => return Ok(is_ended),
                ControlFlow::Continue(successor) => successor,
            };
            let tries = known.len().try_into().unwrap_or(u32::MAX);
            // Only who writes to Redis beside us makes tombstones tell of each other, or of thousands.
            if !known.insert(successor.id.clone()) {
                return Ok(false);
            }
            if !self.op.has_time_for_a_try() {
                return Err(Error::Contended { tries });
            }
            let successor = self.sessions.record(self.op, &successor);
            ended = successor.carry_out(&ending).await?;
        }
    }
}

/// Whether that was all; or what has taken the place of the session, and is to end as well.
fn what_remains(ended: Ended, whose: Option<&Whose<'_>>) -> ControlFlow<bool, Names> {
    let is_spared = |names: &Names| whose.is_some_and(|whose| whose.but.contains(&names.id));
    match ended {
        Ended::ByUs(_) | Ended::ByUsUnread(_) => ControlFlow::Break(true),
        Ended::BySomebodyElse(Some(successor)) if !is_spared(&successor) => {
            ControlFlow::Continue(successor)
        }
        Ended::BySomebodyElse(_) | Ended::NotTheirs => ControlFlow::Break(false),
    }
}

impl Sessions {
    /// The same for many, which are told by whom they have to be. Says of each whether it was ended.
    pub(super) async fn end_together(
        &self,
        op: &Operation<'_>,
        ends: &[(Names, Whose<'_>)],
    ) -> Result<Vec<bool>, Error> {
        let who = &*draw_token();
        let end = |redis: Arc<Connection>| {
            let ends = ends.iter().map(move |(names, whose)| {
                let redis = Arc::clone(&redis);
                async move {
                    let seal = &names.seal(self.seals());
                    let ending = Ending::of(who, Some(whose));
                    ending.carry_out(redis, names, &self.keyspace, seal).await
                }
            });
            try_join_all(ends)
        };
        let mut ended = Vec::with_capacity(ends.len());
        for (it, (_, whose)) in self.client.run(op, end).await?.into_iter().zip(ends) {
            ended.push(match what_remains(it, Some(whose)) {
                ControlFlow::Break(is_ended) => is_ended,
                ControlFlow::Continue(successor) => {
                    let successor = self.record(op, &successor);
                    successor.end_with_successors(Some(whose)).await?
                }
            });
        }
        Ok(ended)
    }
}
