//! The calling thread's connection: leased lazily, replaced when it breaks.
//!
//! A checkout from the pool costs a round trip, and one connection carries any number of commands
//! at once. So each thread leases one connection on first use and keeps it; its driver runs on
//! that thread's own runtime, and a command crosses no thread.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use thread_local::ThreadLocal;
use tokio::{
    sync::{self, Notify},
    time::Instant,
};

use crate::{
    error::{Error, Failure, Fault},
    outage::{Admission, Gate},
    patience::Patience,
    pool::{Connection, PooledConnection, RedisPool},
    search::{Backoff, LastSearch},
};

pub(crate) struct Leases {
    pool: RedisPool,
    deadline: Duration,
    threads: ThreadLocal<ThreadLease>,
    /// Tells those who wait in line at an exhausted pool that there is a lease to share.
    leased: Notify,
}

#[derive(Default)]
struct ThreadLease {
    current: Mutex<Option<Arc<Lease>>>,
    search: sync::Mutex<LastSearch>,
    gate: Gate,
}

impl Leases {
    pub(crate) fn new(pool: RedisPool, deadline: Duration) -> Self {
        Self {
            pool,
            deadline,
            threads: ThreadLocal::new(),
            leased: Notify::new(),
        }
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Starts the clock of one operation of the store.
    pub(crate) fn operation(&self) -> Operation<'_> {
        Operation {
            leases: self,
            started: Instant::now(),
            patience: Patience::new(self.deadline),
        }
    }

    fn least_shared(&self) -> Option<Arc<Lease>> {
        self.threads
            .iter()
            .filter_map(ThreadLease::usable)
            .min_by_key(Arc::strong_count)
    }
}

/// What one call of the store does with Redis, all of it before one deadline.
pub(crate) struct Operation<'a> {
    leases: &'a Leases,
    started: Instant,
    patience: Patience,
}

impl Operation<'_> {
    /// Runs `command`, and runs it again on another connection when the one it had is lost, until
    /// the deadline. A try whose reply was lost may have been carried out: `command` must be safe
    /// to repeat.
    pub(crate) async fn run<T>(
        &self,
        command: impl AsyncFn(Connection) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let unavailable = |fault| Error::Unavailable {
            waited: self.started.elapsed(),
            fault,
        };
        if self.patience.left().is_zero() {
            return Err(unavailable(Fault::no_answer()));
        }

        let thread = self.leases.threads.get_or_default();
        let mut admission = thread.gate.admit().map_err(unavailable)?;
        let mut backoff = Backoff::default();
        loop {
            let fault = match self.try_once(thread, &admission, &command).await {
                Ok(reply) => {
                    admission.answered();
                    return Ok(reply);
                }
                Err(Failure::Final(error)) => {
                    admission.answered();
                    return Err(error);
                }
                Err(Failure::Lost(fault)) => fault,
            };
            if !fault.is_outage() {
                admission.answered();
            }
            if let Some(outage) = admission.revoked() {
                return Err(unavailable(outage));
            }
            if !backoff.pause(&self.patience).await {
                admission.gave_up(&fault);
                return Err(unavailable(fault));
            }
        }
    }

    /// Whether a command that is sent now can wait for its answer for as long as any other.
    pub(crate) fn has_time_for_a_try(&self) -> bool {
        self.patience.left() >= self.time_for_a_try()
    }

    /// A quarter: when no answer comes, there is time left to ask again elsewhere.
    fn time_for_a_try(&self) -> Duration {
        self.patience.part(4)
    }

    async fn try_once<T>(
        &self,
        thread: &ThreadLease,
        admission: &Admission<'_>,
        command: &impl AsyncFn(Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let lease = self.lease(thread, admission).await?;
        let has_time = self.has_time_for_a_try();
        let answer = command(lease.connection.clone());
        let outcome = self.patience.wait(self.time_for_a_try(), answer).await;
        // Silence is the connection's fault only if there was time to speak.
        let is_to_blame = outcome.is_some() || has_time;
        let outcome = outcome.unwrap_or(Err(Failure::Lost(Fault::no_answer())));
        if let Err(Failure::Lost(fault)) = &outcome
            && is_to_blame
        {
            lease.retire(fault);
        }
        outcome
    }

    /// The thread's lease. When there is none, the first to come searches, and the others wait
    /// for what it finds.
    async fn lease(
        &self,
        thread: &ThreadLease,
        admission: &Admission<'_>,
    ) -> Result<Arc<Lease>, Failure> {
        if let Some(lease) = thread.usable() {
            return Ok(lease);
        }
        let left = self.patience.left();
        let Some(mut last) = self.patience.wait(left, thread.search.lock()).await else {
            return Err(Failure::Lost(Fault::no_answer()));
        };
        if let Some(lease) = thread.usable() {
            return Ok(lease);
        }
        if let Some(outage) = admission.revoked() {
            return Err(Failure::Lost(outage));
        }
        if let Some(refusal) = last.refusal() {
            return Err(Failure::Final(refusal));
        }

        let mut backoff = Backoff::starting_at(last.pause());
        loop {
            if !backoff.pause(&self.patience).await {
                // Before the next in line may search: it would do so in vain.
                let fault = last.fault().unwrap_or_else(Fault::no_answer);
                admission.gave_up(&fault);
                return Err(Failure::Lost(fault));
            }
            // Boxed, because it is large and rare, and part of every request's future.
            let found = Box::pin(self.search()).await;
            last.ended(found.as_ref().err());
            match found {
                Ok(lease) => {
                    thread.keep(&lease);
                    self.leases.leased.notify_waiters();
                    return Ok(lease);
                }
                Err(Failure::Final(refusal)) => return Err(Failure::Final(refusal)),
                Err(Failure::Lost(_)) => {}
            }
        }
    }

    /// A connection of the thread's own while the pool has one, else a share in another thread's.
    async fn search(&self) -> Result<Arc<Lease>, Failure> {
        let Leases { pool, leased, .. } = self.leases;
        let new_lease = |pooled| Lease::new(pooled, self.leases.deadline);
        let leased_elsewhere = leased.notified();
        // A half: connecting takes more round trips than a command does.
        let half = self.patience.part(2);
        let failure = match self.patience.wait(half, pool.get_now()).await {
            Some(Ok(pooled)) => return Ok(new_lease(pooled)),
            Some(Err(error)) => Failure::from(error),
            None => Failure::Lost(Fault::no_answer()),
        };
        if !failure.is_pool_exhausted() {
            return Err(failure);
        }
        if let Some(lease) = self.leases.least_shared() {
            return Ok(lease);
        }
        let turn_or_share = async {
            tokio::select! {
                pooled = pool.get_in_line() => Some(pooled.map(new_lease)),
                () = leased_elsewhere => self.leases.least_shared().map(Ok),
            }
        };
        let left = self.patience.left();
        match self.patience.wait(left, turn_or_share).await.flatten() {
            Some(lease) => Ok(lease?),
            None => Err(failure),
        }
    }
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases")
            .field("pool", &self.pool)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl ThreadLease {
    fn usable(&self) -> Option<Arc<Lease>> {
        lock(&self.current)
            .as_ref()
            .filter(|lease| !lease.is_lost())
            .cloned()
    }

    fn keep(&self, lease: &Arc<Lease>) {
        *lock(&self.current) = Some(Arc::clone(lease));
    }
}

/// One pooled connection, held by one thread or, when the pool is small, by several.
struct Lease {
    connection: Connection,
    since: Instant,
    /// Empty once the connection is lost.
    pooled: Mutex<Option<PooledConnection>>,
}

impl Lease {
    fn new(pooled: PooledConnection, deadline: Duration) -> Arc<Self> {
        Arc::new(Self {
            connection: pooled.connection(deadline),
            since: Instant::now(),
            pooled: Mutex::new(Some(pooled)),
        })
    }

    fn is_lost(&self) -> bool {
        lock(&self.pooled).is_none()
    }

    /// Takes the connection out of the pool for good, once, however many requests saw it break.
    ///
    /// Not if it is new and Redis itself has answered on it: another connection made now would
    /// lead to the same server, so that a long failover would mean a storm of connections.
    fn retire(&self, fault: &Fault) {
        if fault.is_reply() && self.since.elapsed() < LastSearch::RECENT {
            return;
        }
        if let Some(pooled) = lock(&self.pooled).take() {
            tracing::warn!(%fault, "lost a Redis connection");
            pooled.discard();
        }
    }
}

/// No code panics while it holds one of these locks, and none leaves its data half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
