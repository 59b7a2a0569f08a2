//! The calling thread's connection: leased lazily, replaced when it breaks.
//!
//! A checkout from the pool costs a round trip, and one connection carries any number of commands
//! at once. So each thread leases one connection on first use and keeps it; its driver runs on
//! that thread's own runtime, and a command crosses no thread.

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use thread_local::ThreadLocal;
use tokio::{
    sync::{self, Notify},
    task::JoinHandle,
    time::Instant,
};

use crate::{
    client::breaker::Breaker,
    client::connect::LastConnect,
    client::connection::Connection,
    client::deadline::Deadline,
    client::pool::{PooledConnection, RedisPool},
    client::transitions::Transitions,
    error::{Failure, Fault},
    telemetry,
};

pub(crate) struct Leases {
    pub(crate) pool: RedisPool,
    pub(crate) deadline: Duration,
    pub(crate) threads: ThreadLocal<Arc<ThreadLease>>,
    /// Tells those who wait in line at an exhausted pool that there is a lease to share.
    pub(crate) leased: Notify,
    transitions: Arc<Transitions>,
}

pub(crate) struct ThreadLease {
    current: Mutex<Option<Arc<Lease>>>,
    pub(crate) search: sync::Mutex<LastConnect>,
    pub(crate) breaker: Breaker,
}

impl Leases {
    pub(crate) fn new(pool: RedisPool, deadline: Duration) -> Self {
        Self {
            pool,
            deadline,
            threads: ThreadLocal::new(),
            leased: Notify::new(),
            transitions: Arc::new(Transitions::new(deadline)),
        }
    }

    pub(crate) fn of_this_thread(&self) -> &Arc<ThreadLease> {
        self.threads.get_or(|| {
            Arc::new(ThreadLease {
                current: Mutex::default(),
                search: sync::Mutex::default(),
                breaker: Breaker::new(Arc::clone(&self.transitions)),
            })
        })
    }

    pub(crate) fn least_shared(&self) -> Option<Arc<Lease>> {
        self.threads
            .iter()
            .filter_map(|thread| thread.usable())
            .min_by_key(Arc::strong_count)
    }

    /// Connects, and gives the lease to the thread.
    ///
    /// In a task of its own: a request that waits no longer, because its client has hung up or
    /// its deadline is shorter than a connect takes, leaves what it began to those that follow.
    pub(crate) fn connect(
        self: &Arc<Self>,
        thread: &Arc<ThreadLease>,
    ) -> JoinHandle<Result<(), Failure>> {
        let (leases, thread) = (Arc::clone(self), Arc::clone(thread));
        tokio::spawn(async move { leases.connect_for(&thread).await })
    }

    async fn connect_for(&self, thread: &ThreadLease) -> Result<(), Failure> {
        let pooled = self.connected().await?;
        self.lease(pooled, thread);
        Ok(())
    }

    pub(crate) async fn connected(&self) -> Result<PooledConnection, Failure> {
        let limit = self.pool.time_to_connect(self.deadline);
        let connected = pin!(self.pool.get_now());
        match Deadline::new(limit).wait(limit, connected).await {
            None => Err(Failure::Transient(Fault::no_answer())),
            Some(pooled) => Ok(pooled?),
        }
    }

    pub(crate) fn lease(&self, pooled: PooledConnection, thread: &ThreadLease) -> Arc<Lease> {
        let lease = Arc::new(Lease::new(pooled));
        self.give(thread, &lease);
        lease
    }

    pub(crate) fn give(&self, thread: &ThreadLease, lease: &Arc<Lease>) {
        thread.keep(lease);
        self.leased.notify_waiters();
    }

    /// What is answered as soon as any command should be.
    pub(crate) async fn soon<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let limit = self.deadline / 4;
        Deadline::new(limit).wait(limit, pin!(answer)).await
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
    pub(crate) fn usable(&self) -> Option<Arc<Lease>> {
        lock(&self.current)
            .as_ref()
            .filter(|lease| !lease.is_lost())
            .cloned()
    }

    /// What an operation has found that ran into this fault until its deadline, as far as all
    /// others are concerned. In a cluster, silence may be that of one server alone.
    pub(crate) fn outage(&self, fault: &Fault) -> Option<Fault> {
        #[cfg(feature = "cluster")]
        if let Some(lease) = self.usable().filter(|it| it.connection.is_cluster()) {
            let is_down = lease.cluster_is_down.load(Relaxed);
            return is_down.then(Fault::cluster_down);
        }
        Some(fault.clone())
    }

    pub(crate) fn holds(&self, lease: &Arc<Lease>) -> bool {
        self.usable().is_some_and(|it| Arc::ptr_eq(&it, lease))
    }

    pub(crate) fn keep(&self, lease: &Arc<Lease>) {
        let former = lock(&self.current).replace(Arc::clone(lease));
        if let Some(former) = former {
            telemetry::events::connection_replaced();
            let was_refused = former.was_refused.load(Relaxed);
            lease.is_another_try.store(was_refused, Relaxed);
        }
    }
}

/// One pooled connection, held by one thread or, when the pool is small, by several.
pub(crate) struct Lease {
    pub(crate) connection: Connection,
    pub(crate) cluster_is_down: AtomicBool,
    pub(crate) has_silent_master: AtomicBool,
    since: Instant,
    pooled: Mutex<Option<PooledConnection>>,
    is_lost: AtomicBool,
    /// Whether it was given up for what Redis replied.
    was_refused: AtomicBool,
    /// Whether the one before was.
    is_another_try: AtomicBool,
    /// The start of the latest operation that was answered, in milliseconds of this lease.
    in_use_ms: AtomicU64,
}

impl Lease {
    /// Redis's `timeout` and firewalls close connections that have been unused for a time of this
    /// order. The first command then fails at once, and that is no news.
    const IDLE: Duration = Duration::from_secs(10);

    /// That Redis replies the same on the next connection is no news.
    const NEW: Duration = Duration::from_secs(1);

    pub(crate) fn new(pooled: PooledConnection) -> Self {
        Self {
            connection: pooled.connection(),
            cluster_is_down: AtomicBool::new(false),
            has_silent_master: AtomicBool::new(false),
            since: Instant::now(),
            pooled: Mutex::new(Some(pooled)),
            is_lost: AtomicBool::new(false),
            was_refused: AtomicBool::new(false),
            is_another_try: AtomicBool::new(false),
            in_use_ms: AtomicU64::new(0),
        }
    }

    /// On behalf of an operation that was started at this time.
    pub(crate) fn answered(&self, started: Instant) {
        let in_use = started.saturating_duration_since(self.since);
        self.in_use_ms.store(in_use.as_millis() as u64, Relaxed);
    }

    fn is_idle(&self) -> bool {
        let in_use = Duration::from_millis(self.in_use_ms.load(Relaxed));
        self.since.elapsed().saturating_sub(in_use) >= Self::IDLE
    }

    fn is_new(&self) -> bool {
        self.since.elapsed() < Self::NEW
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.load(Relaxed)
    }

    /// Takes the connection out of the pool for good, once, however many requests saw it break.
    ///
    /// Not if it is new and Redis itself has answered on it: another connection made now would
    /// lead to the same server, so that a long failover would mean a storm of connections.
    pub(crate) fn retire(&self, fault: &Fault) {
        if fault.is_reply() && self.since.elapsed() < LastConnect::RECENT {
            return;
        }
        // A cluster's client follows a failover by itself.
        if fault.is_lack_of_replicas() && self.connection.is_cluster() {
            return;
        }
        if !self.is_lost.swap(true, Relaxed) {
            self.was_refused.store(fault.is_reply(), Relaxed);
            if self.is_idle() && !fault.is_silence() {
                telemetry::events::idle_connection_closed(fault);
            } else if fault.is_reply() && self.is_another_try.load(Relaxed) && self.is_new() {
                telemetry::events::new_connection_given_up(fault);
            } else {
                telemetry::events::connection_lost(fault);
            }
            self.leave_pool();
        }
    }

    /// Makes room in the pool for a successor, and stays in use until there is one.
    pub(crate) fn leave_pool(&self) {
        if let Some(pooled) = lock(&self.pooled).take() {
            pooled.discard();
        }
    }
}

/// No code panics while it holds one of these locks, and none leaves its data half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
