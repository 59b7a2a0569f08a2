//! The calling thread's connection.
//!
//! A checkout from the pool costs a round trip, and one connection carries any number of commands
//! at once. So each thread takes one connection on first use and keeps it; unless the application
//! had made it before, its driver runs on that thread's own runtime, and a command crosses no
//! thread.

use std::{
    fmt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Duration,
};

use futures_util::future::join;
use thread_local::ThreadLocal;
use tokio::{
    sync::watch,
    task::{self, AbortHandle},
    time::{Instant, sleep},
};

use super::{
    connection::{Connection, Connector},
    deadline::Deadline,
    failure::Failure,
};
use crate::{error::Fault, lock::lock};

/// What a thread knows of its connection.
#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    /// One attempt for all requests of the thread. It closes the channel however it ends: also with
    /// the runtime that was to connect.
    Connecting(AbortHandle, watch::Receiver<()>),
    /// And the task that looks for another one to take over, if one should.
    Ready(Arc<Connection>, Option<AbortHandle>),
    /// Until then, those who follow are told the same.
    Failed(Failure, Instant),
}

/// A slot for each thread that has used the store.
pub(crate) struct Slots {
    pub(crate) connector: Connector,
    threads: ThreadLocal<Mutex<Slot>>,
}

type Connected = Result<Arc<Connection>, Failure>;

impl Slots {
    pub(crate) fn new(connector: Connector) -> Arc<Self> {
        let threads = ThreadLocal::new();
        Arc::new(Self { connector, threads })
    }

    /// A connection for the calling thread: its own, if it has one or as soon as it is made, and
    /// another thread's meanwhile, if there is one.
    ///
    /// `alone`: the others come last, since they may have what has just failed.
    pub(crate) async fn connection(
        self: &Arc<Self>,
        deadline: &Deadline,
        alone: bool,
    ) -> Connected {
        let ready = lock(self.threads.get_or_default()).connection();
        let Some(connection) = ready else {
            return Box::pin(self.own_or_shared(deadline, alone)).await;
        };
        if connection.is_old() {
            self.begin_succession(&connection);
        }
        Ok(connection)
    }

    async fn own_or_shared(self: &Arc<Self>, deadline: &Deadline, alone: bool) -> Connected {
        let (a_while, a_moment) = (deadline.total / 4, Duration::from_millis(20));
        for limit in [a_while * u32::from(alone), a_moment, a_while] {
            match (self.own(deadline, limit).await, self.least_shared()) {
                (Some(Ok(connection)), _) | (_, Some(connection)) => return Ok(connection),
                (Some(failed), None) => return failed,
                (None, None) => {}
            }
        }
        Err(Failure::Transient(self.connector.why_no_connection()))
    }

    /// What comes of the thread's own attempt to connect, which begins now if none is under way.
    /// `None`: nothing in this time.
    async fn own(self: &Arc<Self>, deadline: &Deadline, limit: Duration) -> Option<Connected> {
        let slot = self.threads.get_or_default();
        let ended = self.connect(&mut lock(slot));
        if let Some(mut ended) = ended {
            // The task says nothing, it ends.
            let _ = deadline.wait(limit, pin!(ended.changed())).await?;
        }
        match &*lock(slot) {
            Slot::Failed(failure, _) => Some(Err(failure.clone())),
            // Or it was told to stop, or what it made has been given up since.
            slot => Some(slot.connection().ok_or_else(Failure::no_answer)),
        }
    }

    /// Begins to connect, unless that is under way. Returns when it ends; `None` if it has ended.
    ///
    /// The task is one of its own: a request that waits no longer, because its client has hung up
    /// or its deadline is shorter than a connect takes, leaves what it began to those that follow.
    fn connect(self: &Arc<Self>, slot: &mut Slot) -> Option<watch::Receiver<()>> {
        match slot {
            Slot::Ready(..) => return None,
            Slot::Failed(_, until) if Instant::now() < *until => return None,
            Slot::Connecting(_, it) if it.has_changed().is_ok() => return Some(it.clone()),
            _ => {}
        }
        let slots = Arc::clone(self);
        let (ends, ended) = watch::channel(());
        let task = tokio::spawn(async move {
            let made = slots.connector.connect().await;
            let this = task::id();
            let awaits = |slot: &Slot| matches!(slot, Slot::Connecting(it, _) if it.id() == this);
            // None does any more if this was told to stop a moment ago.
            if let Some(mut slot) = slots.find(awaits) {
                *slot = made.map_or_else(Slot::failed, |made| Slot::Ready(made, None));
            }
            drop(ends);
        });
        *slot = Slot::Connecting(task.abort_handle(), ended.clone());
        Some(ended)
    }

    /// Who looks for Redis from now on does so alone: also of an attempt whose runtime nobody drives
    /// any more, and which does not even notice that its time is up.
    pub(crate) fn stop_connecting(&self) {
        for mut slot in self.threads.iter().map(lock) {
            if let Slot::Connecting(task, _) = &*slot {
                task.abort();
                *slot = Slot::Empty;
            }
        }
    }

    pub(crate) fn least_shared(&self) -> Option<Arc<Connection>> {
        let slots = self.threads.iter().map(lock);
        let ready = slots.filter_map(|slot| slot.connection());
        ready.min_by_key(Arc::strong_count)
    }

    fn find(&self, is_it: impl Fn(&Slot) -> bool) -> Option<MutexGuard<'_, Slot>> {
        self.threads.iter().map(lock).find(|slot| is_it(slot))
    }

    /// `None` once something else has taken its place.
    fn holding(&self, connection: &Arc<Connection>) -> Option<MutexGuard<'_, Slot>> {
        self.find(|slot| matches!(slot, Slot::Ready(it, _) if Arc::ptr_eq(it, connection)))
    }

    /// Makes room for another connection, once, however many requests saw this one break. It stays
    /// with those who use it.
    pub(crate) fn give_up(&self, connection: &Arc<Connection>, fault: &Fault) {
        if let Some(mut slot) = self.holding(connection) {
            *slot = Slot::Empty;
            connection.leave_pool();
            drop(slot);
            self.connector.log.connection_lost(fault);
        }
    }

    /// Has another connection take over: this one has grown old, or one of a cluster's servers may
    /// be silent on it. It goes on meanwhile, for it is of use to those who need the others.
    pub(crate) fn begin_succession(self: &Arc<Self>, old: &Arc<Connection>) {
        if let Some(mut slot) = self.holding(old)
            && let Slot::Ready(_, succession) = &mut *slot
            && succession.as_ref().is_none_or(AbortHandle::is_finished)
        {
            if old.is_old() && self.connector.pool.is_exhausted() {
                // The place goes to those in line.
                *slot = Slot::Empty;
            } else {
                let task = succeed(Arc::downgrade(self), Arc::clone(old));
                *succession = Some(tokio::spawn(task).abort_handle());
            }
            old.leave_pool();
        }
    }
}

/// How long a succession pauses before it looks again: at first, and after 40 seconds (less, if requests
/// that wait meanwhile would not have the time).
const SOON: Duration = Duration::from_millis(200);
const SELDOM: Duration = Duration::from_secs(2);

/// Looks at the servers, and tries other connections beside this one, until all servers answer on
/// one of them. Neither waits for the other: another master may have taken over long ago, and it
/// takes half of the default deadline to connect while the old one hangs.
async fn succeed(slots: Weak<Slots>, old: Arc<Connection>) {
    let begun = Instant::now();
    let until_replaced = async {
        while let Some(slots) = slots.upgrade()
            && slots.holding(&old).is_some()
        {
            let other = slots.connector.connect().await.ok();
            match (old.look(other.as_ref().unwrap_or(&old)).await, other) {
                (Ok(true), Some(other)) => {
                    if let Some(mut slot) = slots.holding(&old) {
                        *slot = Slot::Ready(other, None);
                    }
                    return;
                }
                (Err(fault), None) => return slots.give_up(&old, &fault),
                _ => {}
            }
            let seldom = SELDOM.min(slots.connector.deadline / 4).max(SOON);
            drop(slots);
            // It may take for ever: whoever has looked for long looks less often.
            sleep((begun.elapsed() / 20).clamp(SOON, seldom)).await;
        }
    };
    let _ = join(old.look(&old), until_replaced).await;
}

impl Slot {
    fn failed(failure: Failure) -> Self {
        let pause = Duration::from_millis(match failure {
            // Redis would refuse the next attempt as well.
            Failure::Permanent(_) => 100,
            // Requests that failed together try again together.
            Failure::Transient(_) => 10,
        });
        Self::Failed(failure, Instant::now() + pause)
    }

    fn connection(&self) -> Option<Arc<Connection>> {
        match self {
            Self::Ready(connection, _) => Some(Arc::clone(connection)),
            _ => None,
        }
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slots").field(&self.connector).finish()
    }
}
