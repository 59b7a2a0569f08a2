//! Writers of one session that have met take turns: each that tried again beside the others would make
//! all of them try again.

use std::{array, pin::pin};

use tokio::sync::{Mutex, MutexGuard};

use super::{record::Record, session_id::SessionId};
use crate::{client::Operation, error::Error, telemetry::events};

/// Sessions share them: two that do wait for each other now and then.
const QUEUES: usize = 64;

#[derive(Debug)]
pub(super) struct Turns([Mutex<()>; QUEUES]);

impl Turns {
    pub(super) fn new() -> Self {
        Self(array::from_fn(|_| Mutex::default()))
    }

    /// Waits until those before have written, as far as they are of this store. Whoever has waited for
    /// long goes on without: somebody's thread may be blocked.
    async fn turn(&self, op: &Operation<'_>, id: &SessionId) -> Option<MutexGuard<'_, ()>> {
        let number = id.as_ref().bytes().map(usize::from).sum::<usize>();
        let queue = &self.0[number % QUEUES];
        op.wait(pin!(queue.lock())).await
    }
}

/// The tries of one writer that others keep coming in between of.
pub(super) struct Tries<'a> {
    pub(super) count: u32,
    turn: Option<MutexGuard<'a, ()>>,
}

impl<'a> Tries<'a> {
    pub(super) fn first() -> Self {
        let turn = None;
        Self { count: 1, turn }
    }

    /// # Errors
    ///
    /// [`Error::Contended`] when there is no time for another one.
    pub(super) fn again(&mut self, op: &Operation<'_>) -> Result<(), Error> {
        events::conflicted();
        if !op.has_time_for_a_try() {
            return Err(Error::Contended { tries: self.count });
        }
        self.count += 1;
        Ok(())
    }

    /// The same, when it is this writer's turn: from then on it stays.
    pub(super) async fn again_in_turn(&mut self, session: &Record<'a>) -> Result<(), Error> {
        self.again(session.op)?;
        if self.turn.is_none() {
            let turns = &session.sessions.turns;
            self.turn = turns.turn(session.op, &session.names.id).await;
        }
        Ok(())
    }
}
