//! Writers of one session that have met take turns: each that tried again beside the others would make
//! all of them try again.

use std::{array, pin::pin};

use tokio::sync::{Mutex, MutexGuard};

use super::keyspace::SessionId;
use crate::client::Operation;

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
    pub(super) async fn turn(
        &self,
        op: &Operation<'_>,
        id: &SessionId,
    ) -> Option<MutexGuard<'_, ()>> {
        let number = id.as_ref().bytes().map(usize::from).sum::<usize>();
        let queue = &self.0[number % QUEUES];
        op.wait(pin!(queue.lock())).await
    }
}
