//! The calling thread's connection.
//!
//! A checkout from the pool costs a round trip, and one connection carries any number of commands
//! at once. So each thread leases one connection on first use and keeps it; unless the application had made it before,
//! its driver runs on that thread's own runtime, and a command crosses no thread.

use std::{
    fmt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use thread_local::ThreadLocal;
use tokio::{task::AbortHandle, time::Instant};

#[cfg(feature = "cluster")]
use super::cluster::Health;
use super::{
    connection::Connection,
    deadline::Deadline,
    failure::Failure,
    pool::{Place, RedisPool},
};
use crate::{
    error::{Fault, Kind},
    telemetry::events::Log,
};

/// What a thread knows of its connection.
#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    /// One attempt for all requests of the thread. It outlives the one that began it.
    Connecting { attempt: Attempt, task: AbortHandle },
    Ready {
        connection: Arc<Connection>,
        /// None while another connection is to take over.
        place: Option<Place>,
        /// When it is old enough for that, if it may grow old.
        retires: Option<Instant>,
    },
    /// For a while, those who follow are told the same.
    Failed { failure: Failure, until: Instant },
}

type Attempt = Shared<BoxFuture<'static, Result<Arc<Connection>, Failure>>>;

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

/// Makes connections.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) pool: RedisPool,
    pub(crate) deadline: Duration,
    pub(crate) client_name: Option<String>,
    pub(crate) max_age: Option<Duration>,
}

impl Slots {
    pub(crate) fn new(connector: Connector) -> Self {
        Self {
            connector: Arc::new(connector),
            threads: ThreadLocal::new(),
        }
    }

    /// The calling thread's connection, if it has one.
    pub(crate) fn ready(&self) -> Option<Lease> {
        let slot = self.threads.get_or_default();
        let mut state = lock(slot);
        if let Slot::Ready { place, retires, .. } = &mut *state
            && retires.is_some_and(|then| Instant::now() >= then)
        {
            if self.connector.pool.is_exhausted() {
                // The place goes to those in line.
                *state = Slot::Empty;
                return None;
            }
            // Until another connection has taken over, it goes on.
            *place = None;
            let soon = self.connector.limit().min(Duration::from_secs(1));
            *retires = Some(Instant::now() + soon);
            drop(self.connector.attempt(slot));
        }
        state.lease(slot)
    }

    /// A connection for the calling thread, which has none: its own as soon as it is made, and
    /// another thread's meanwhile, if there is one.
    ///
    /// `alone`: the others come last, since they may have what has just failed.
    pub(crate) async fn lease(&self, deadline: &Deadline, alone: bool) -> Result<Lease, Failure> {
        let slot = self.threads.get_or_default();
        let attempt = lock(slot).attempt(slot, &self.connector);
        if let (true, Ok(attempt)) = (alone, &attempt) {
            let connected = deadline.wait(deadline.part(4), attempt.clone()).await;
            if let Some(Ok(connection)) = connected {
                let slot = Arc::clone(slot);
                return Ok(Lease { connection, slot });
            }
        }
        if let Some(shared) = self.least_shared() {
            return Ok(shared);
        }
        let attempt = attempt?;
        let mut connected = deadline.wait(Self::A_MOMENT, attempt.clone()).await;
        // Who waits in line at the pool looks again whether another thread was luckier.
        if connected.is_none() && !self.connector.pool.is_exhausted() {
            connected = deadline.wait(deadline.part(4), attempt).await;
        }
        match connected {
            Some(connected) => connected.map(|connection| Lease {
                connection,
                slot: Arc::clone(slot),
            }),
            None => Err(Failure::Transient(self.connector.why_no_connection())),
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

    const A_MOMENT: Duration = Duration::from_millis(20);
}

impl Lease {
    /// Makes room for another connection, once, however many requests saw this one break.
    pub(crate) fn give_up(&self, fault: &Fault, log: &Log) {
        let mut slot = lock(&self.slot);
        if slot.holds(&self.connection) {
            // It stays with those who use it, and its place in the pool is free.
            *slot = Slot::Empty;
            drop(slot);
            log.connection_lost(fault);
        }
    }
}

#[cfg(feature = "cluster")]
impl Lease {
    /// Has the connection looked after from now on, if it is one to a cluster: it may be one of the
    /// servers that is silent, and the connection is of use to those who need the others.
    pub(crate) fn look_after(&self, connector: &Arc<Connector>, log: &Arc<Log>) -> bool {
        let Some(cluster) = self.connection.cluster() else {
            return false;
        };
        let (lease, connector, log) = (self.clone(), Arc::clone(connector), Arc::clone(log));
        cluster.watch(|| tokio::spawn(async move { lease.until_replaced(&connector, &log).await }));
        true
    }

    /// Looks at the servers, first through this connection and then through others, which take
    /// with them what is not answered there, until all masters answer on one.
    async fn until_replaced(&self, connector: &Connector, log: &Log) {
        let limit = connector.deadline / 4;
        match self.connection.diagnose(limit).await {
            Health::Fine => return,
            Health::Lost => return self.give_up(&Fault::no_answer(), log),
            health => self.connection.set_health(health),
        }
        // Nobody else keeps the slot of a store that was dropped.
        while Arc::strong_count(&self.slot) > 1 {
            match &mut *lock(&self.slot) {
                Slot::Ready {
                    connection, place, ..
                } if Arc::ptr_eq(connection, &self.connection) => *place = None,
                _ => return,
            }
            let other = connector.connect().await;
            let health = match &other {
                Ok((other, _)) => other.diagnose(limit).await,
                Err(_) => self.connection.diagnose(limit).await,
            };
            match (health, other) {
                (Health::Fine, Ok(other)) => return self.replace(other),
                (Health::Lost, Err(_)) => return self.give_up(&Fault::no_answer(), log),
                (Health::Lost, Ok(_)) => {}
                (health, _) => self.connection.set_health(health),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn replace(&self, other: (Arc<Connection>, Place)) {
        let mut slot = lock(&self.slot);
        if slot.holds(&self.connection) {
            slot.settle(Ok(other)).ok();
        }
    }
}

impl Slot {
    fn lease(&self, this: &Arc<Mutex<Self>>) -> Option<Lease> {
        match self {
            Self::Ready { connection, .. } => Some(Lease {
                connection: Arc::clone(connection),
                slot: Arc::clone(this),
            }),
            _ => None,
        }
    }

    fn holds(&self, connection: &Arc<Connection>) -> bool {
        matches!(self, Self::Ready { connection: held, .. } if Arc::ptr_eq(held, connection))
    }

    /// The attempt that is under way, or else a new one; or the failure of the latest.
    fn attempt(
        &mut self,
        this: &Arc<Mutex<Self>>,
        connector: &Arc<Connector>,
    ) -> Result<Attempt, Failure> {
        match self {
            Self::Ready { connection, .. } => {
                let connection = Ok(Arc::clone(connection));
                return Ok(async { connection }.boxed().shared());
            }
            Self::Failed { failure, until } if Instant::now() < *until => {
                return Err(failure.clone());
            }
            Self::Connecting { attempt, .. } if attempt.peek().is_none() => {
                return Ok(attempt.clone());
            }
            _ => {}
        }
        let (attempt, task) = connector.attempt(this);
        *self = Self::Connecting {
            attempt: attempt.clone(),
            task,
        };
        Ok(attempt)
    }

    /// Redis would refuse the next attempt as well.
    const REFUSED_FOR: Duration = Duration::from_millis(100);

    /// Requests that failed together try again together.
    const FAILED_FOR: Duration = Duration::from_millis(10);

    fn settle(
        &mut self,
        made: Result<(Arc<Connection>, Place), Failure>,
    ) -> Result<Arc<Connection>, Failure> {
        let failure = match made {
            Ok((connection, place)) => {
                let retires = connection.retires;
                *self = Self::Ready {
                    connection: Arc::clone(&connection),
                    place: Some(place),
                    retires,
                };
                return Ok(connection);
            }
            Err(failure) => failure,
        };
        let pause = match failure {
            Failure::Permanent(_) => Self::REFUSED_FOR,
            Failure::Transient(_) => Self::FAILED_FOR,
        };
        let ours = tokio::task::try_id();
        if matches!(self, Self::Connecting { task, .. } if Some(task.id()) == ours) {
            *self = Self::Failed {
                failure: failure.clone(),
                until: Instant::now() + pause,
            };
        }
        Err(failure)
    }
}

impl Connector {
    /// Connects, in a task of its own: a request that waits no longer, because its client has hung
    /// up or its deadline is shorter than a connect takes, leaves what it began to those that
    /// follow.
    fn attempt(self: &Arc<Self>, slot: &Arc<Mutex<Slot>>) -> (Attempt, AbortHandle) {
        let (connector, slot) = (Arc::clone(self), Arc::clone(slot));
        let task = tokio::spawn(async move {
            let made = connector.connect().await;
            lock(&slot).settle(made)
        });
        // The runtime that was to connect may have ended.
        let ended = |_| Err(Failure::Transient(Fault::no_answer()));
        let handle = task.abort_handle();
        let attempt = task.map(move |made| made.unwrap_or_else(ended));
        (attempt.boxed().shared(), handle)
    }

    pub(crate) async fn connect(&self) -> Result<(Arc<Connection>, Place), Failure> {
        // In line at the pool, Redis has not been asked yet.
        let limit = match self.pool.is_full() {
            true => self.deadline + self.limit(),
            false => self.limit(),
        };
        let mut connected = pin!(async {
            let pooled = self.pool.get().await?;
            let connection = Connection::new(pooled.link, self.max_age);
            let name = self.client_name.as_deref();
            connection.set_up(pooled.database, name).await?;
            Ok((Arc::new(connection), pooled.place))
        });
        match Deadline::new(limit).wait(limit, connected.as_mut()).await {
            Some(connected) => connected.inspect(|_| Log::connection_made()),
            None => Err(Failure::Transient(self.why_no_connection())),
        }
    }

    /// How long an attempt may take.
    fn limit(&self) -> Duration {
        self.pool.time_to_connect(self.deadline)
    }

    /// What those who wait for a connection wait for.
    pub(crate) fn why_no_connection(&self) -> Fault {
        match self.pool.is_full() {
            true => Fault(Kind::NoConnectionFree),
            false => Fault::no_answer(),
        }
    }
}

/// No code panics while it holds one of these locks, and none leaves its data half changed.
fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slots").field(&self.connector).finish()
    }
}
