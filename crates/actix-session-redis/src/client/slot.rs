//! The calling thread's connection.
//!
//! A checkout from the pool costs a round trip, and one connection carries any number of commands
//! at once. So each thread leases one connection on first use and keeps it; unless the application
//! had made it before, its driver runs on that thread's own runtime, and a command crosses no
//! thread.

use std::{
    fmt,
    pin::pin,
    sync::{Arc, Mutex},
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
use crate::{error::Fault, lock::lock, pool::Place, telemetry::events::Log};

/// What a thread knows of its connection.
#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    /// One attempt for all requests of the thread. It outlives the one that began it, and closes
    /// `ended` however it ends: also with the runtime that was to connect.
    Connecting {
        task: AbortHandle,
        ended: watch::Receiver<()>,
    },
    Ready(Ready),
    /// For a while, those who follow are told the same.
    Failed {
        failure: Failure,
        until: Instant,
    },
}

struct Ready {
    connection: Arc<Connection>,
    /// None while another connection is to take over.
    place: Option<Place>,
    /// When it is old enough for that, if it may grow old.
    retires: Option<Instant>,
    /// The task that looks for the other connection.
    successor: Option<AbortHandle>,
}

/// A slot for each thread that has used the store.
pub(crate) struct Slots {
    pub(crate) connector: Arc<Connector>,
    threads: ThreadLocal<Arc<Mutex<Slot>>>,
}

/// A connection in use, and the slot that it is from: another thread's, when that is shared.
#[derive(Clone)]
pub(crate) struct Lease {
    pub(crate) connection: Arc<Connection>,
    slot: Arc<Mutex<Slot>>,
}

impl Slots {
    pub(crate) fn new(connector: Connector) -> Self {
        Self {
            connector: Arc::new(connector),
            threads: ThreadLocal::new(),
        }
    }

    /// A connection for the calling thread: its own, if it has one or as soon as it is made, and
    /// another thread's meanwhile, if there is one.
    ///
    /// `alone`: the others come last, since they may have what has just failed.
    pub(crate) async fn lease(&self, deadline: &Deadline, alone: bool) -> Result<Lease, Failure> {
        match self.ready() {
            Some(lease) => Ok(lease),
            None => Box::pin(self.own_or_shared(deadline, alone)).await,
        }
    }

    fn ready(&self) -> Option<Lease> {
        let slot = self.threads.get_or_default();
        let mut state = lock(slot);
        let lease = state.lease(slot)?;
        if let Slot::Ready(ready) = &mut *state
            && ready.retires.is_some_and(|then| Instant::now() >= then)
            && ready.is_without_successor()
        {
            if self.connector.pool.is_exhausted() {
                // The place goes to those in line.
                *state = Slot::Empty;
                return None;
            }
            ready.begin_succession(lease.clone().until_replaced(Arc::clone(&self.connector)));
        }
        Some(lease)
    }

    async fn own_or_shared(&self, deadline: &Deadline, alone: bool) -> Result<Lease, Failure> {
        let (patience, a_moment) = (deadline.part(4), Duration::from_millis(20));
        for patience in [patience * u32::from(alone), a_moment, patience] {
            let own = self.own(deadline, patience).await;
            if !matches!(own, Some(Ok(_)))
                && let Some(shared) = self.least_shared()
            {
                return Ok(shared);
            }
            if let Some(own) = own {
                return own;
            }
        }
        Err(Failure::Transient(self.connector.why_no_connection()))
    }

    /// What comes of the thread's own attempt to connect, which begins now if none is under way.
    /// `None`: nothing in this time.
    async fn own(&self, deadline: &Deadline, limit: Duration) -> Option<Result<Lease, Failure>> {
        let slot = self.threads.get_or_default();
        let ended = lock(slot).connect(slot, &self.connector);
        if let Some(mut ended) = ended {
            // The task says nothing, it ends.
            let _ = deadline.wait(limit, pin!(ended.changed())).await?;
        }
        match &*lock(slot) {
            Slot::Failed { failure, .. } => Some(Err(failure.clone())),
            // Or it was told to stop, or what it made has been given up since.
            state => Some(state.lease(slot).ok_or_else(Failure::no_answer)),
        }
    }

    pub(crate) fn least_shared(&self) -> Option<Lease> {
        let ready = self.threads.iter().filter_map(|it| lock(it).lease(it));
        ready.min_by_key(|lease| Arc::strong_count(&lease.connection))
    }

    /// Who looks for Redis from now on does so alone: also of an attempt whose runtime nobody drives
    /// any more, and which does not even notice that its time is up.
    pub(crate) fn stop_connecting(&self) {
        for slot in self.threads.iter() {
            let mut slot = lock(slot);
            if let Slot::Connecting { task, .. } = &*slot {
                task.abort();
                *slot = Slot::Empty;
            }
        }
    }
}

impl Lease {
    /// Makes room for another connection, once, however many requests saw this one break.
    pub(crate) fn give_up(&self, fault: &Fault, log: &Log) {
        let mut slot = lock(&self.slot);
        if slot.holding(&self.connection).is_some() {
            // It stays with those who use it, and its place in the pool is free.
            *slot = Slot::Empty;
            drop(slot);
            log.connection_lost(fault);
        }
    }

    /// Has the servers of a cluster looked at from now on: one of them may be silent, and the
    /// connection is of use to those who need the others.
    ///
    /// The other connection does not wait for what is seen here. Another master may have taken over
    /// long ago, and it takes half of the default deadline to connect while the old one hangs.
    pub(crate) fn look_after(&self, connector: &Arc<Connector>) {
        let (lease, connector) = (self.clone(), Arc::clone(connector));
        if let Some(ready) = lock(&self.slot).holding(&self.connection) {
            ready.begin_succession(async move {
                let connection = Arc::clone(&lease.connection);
                let seen_here = connection.look(&connection, connector.deadline / 4);
                let _ = join(seen_here, lease.until_replaced(connector)).await;
            });
        }
    }

    /// Tries others beside this connection, which goes on meanwhile, until all servers answer on
    /// one of them.
    async fn until_replaced(self, connector: Arc<Connector>) {
        // Nobody else keeps the slot of a store that was dropped.
        while Arc::strong_count(&self.slot) > 1 {
            match lock(&self.slot).holding(&self.connection) {
                Some(ready) => ready.place = None,
                None => return,
            }
            let other = connector.connect().await.ok();
            let through = other.as_ref().map_or(&self.connection, |(other, _)| other);
            let seen = self.connection.look(through, connector.deadline / 4).await;
            match (seen, other) {
                (Ok(true), Some(other)) => {
                    if let Some(ready) = lock(&self.slot).holding(&self.connection) {
                        *ready = Ready::new(other, connector.max_age);
                    }
                    return;
                }
                (Err(fault), None) => return self.give_up(&fault, &connector.log),
                _ => sleep(Duration::from_millis(200)).await,
            }
        }
    }
}

impl Ready {
    fn new((connection, place): (Arc<Connection>, Place), max_age: Option<Duration>) -> Self {
        Self {
            connection,
            place: Some(place),
            // Connections that were made together do not all end together.
            retires: max_age.map(|age| Instant::now() + age.mul_f64(rand::random_range(0.9..=1.0))),
            successor: None,
        }
    }

    fn is_without_successor(&self) -> bool {
        let task = self.successor.as_ref();
        task.is_none_or(AbortHandle::is_finished)
    }

    fn begin_succession(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        if self.is_without_successor() {
            self.successor = Some(tokio::spawn(task).abort_handle());
        }
    }
}

impl Slot {
    fn lease(&self, this: &Arc<Mutex<Self>>) -> Option<Lease> {
        match self {
            Self::Ready(ready) => Some(Lease {
                connection: Arc::clone(&ready.connection),
                slot: Arc::clone(this),
            }),
            _ => None,
        }
    }

    fn holding(&mut self, connection: &Arc<Connection>) -> Option<&mut Ready> {
        match self {
            Self::Ready(ready) if Arc::ptr_eq(&ready.connection, connection) => Some(ready),
            _ => None,
        }
    }

    /// Begins to connect, unless that is under way. Returns when it ends; `None` if it has ended.
    ///
    /// The task is one of its own: a request that waits no longer, because its client has hung up
    /// or its deadline is shorter than a connect takes, leaves what it began to those that follow.
    fn connect(
        &mut self,
        this: &Arc<Mutex<Self>>,
        connector: &Arc<Connector>,
    ) -> Option<watch::Receiver<()>> {
        match self {
            Self::Ready(_) => return None,
            Self::Failed { until, .. } if Instant::now() < *until => return None,
            Self::Connecting { ended, .. } if ended.has_changed().is_ok() => {
                return Some(ended.clone());
            }
            _ => {}
        }
        let (this, connector) = (Arc::clone(this), Arc::clone(connector));
        let (ends, ended) = watch::channel(());
        let task = tokio::spawn(async move {
            let made = connector.connect().await;
            lock(&this).settle(made.map(|made| Ready::new(made, connector.max_age)));
            drop(ends);
        });
        *self = Self::Connecting {
            task: task.abort_handle(),
            ended: ended.clone(),
        };
        Some(ended)
    }

    fn settle(&mut self, made: Result<Ready, Failure>) {
        // Another attempt may have begun since this one was told to stop.
        if !matches!(self, Self::Connecting { task, .. } if Some(task.id()) == task::try_id()) {
            return;
        }
        *self = match made {
            Ok(ready) => Self::Ready(ready),
            Err(failure) => {
                let pause = Duration::from_millis(match failure {
                    // Redis would refuse the next attempt as well.
                    Failure::Permanent(_) => 100,
                    // Requests that failed together try again together.
                    Failure::Transient(_) => 10,
                });
                let until = Instant::now() + pause;
                Self::Failed { failure, until }
            }
        };
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slots").field(&self.connector).finish()
    }
}
