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
    bulletin::Bulletin,
    connection::{Connection, Masters},
    error::{Failure, Fault},
    outage::Gate,
    patience::Patience,
    pool::{PooledConnection, RedisPool},
    search::LastSearch,
    telemetry,
};

pub(crate) struct Leases {
    pub(crate) pool: RedisPool,
    pub(crate) deadline: Duration,
    threads: ThreadLocal<Arc<ThreadLease>>,
    /// Tells those who wait in line at an exhausted pool that there is a lease to share.
    pub(crate) leased: Notify,
    bulletin: Arc<Bulletin>,
}

pub(crate) struct ThreadLease {
    current: Mutex<Option<Arc<Lease>>>,
    pub(crate) search: sync::Mutex<LastSearch>,
    pub(crate) gate: Gate,
}

impl Leases {
    pub(crate) fn new(pool: RedisPool, deadline: Duration) -> Self {
        Self {
            pool,
            deadline,
            threads: ThreadLocal::new(),
            leased: Notify::new(),
            bulletin: Arc::new(Bulletin::new(deadline)),
        }
    }

    pub(crate) fn of_this_thread(&self) -> &Arc<ThreadLease> {
        self.threads.get_or(|| {
            Arc::new(ThreadLease {
                current: Mutex::default(),
                search: sync::Mutex::default(),
                gate: Gate::new(Arc::clone(&self.bulletin)),
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

    /// Looks after the connection to a cluster in which a command was not answered.
    ///
    /// Its client would ask a silent master for ever, over the same connection. So another one
    /// takes its place once others have taken over, or if all masters answer to that one. Not
    /// else: it would try to reach the silent one again and again, and keep everybody waiting
    /// meanwhile. With the old one, those who need the other masters do not notice.
    pub(crate) fn look_after(
        self: &Arc<Self>,
        thread: &Arc<ThreadLease>,
        lease: &Arc<Lease>,
    ) -> JoinHandle<Result<(), Failure>> {
        let (leases, thread) = (Arc::clone(self), Arc::clone(thread));
        let lease = Arc::clone(lease);
        tokio::spawn(async move {
            let masters = leases.masters(&lease.connection).await;
            if masters.is_none() {
                lease.retire(&Fault::no_answer());
                return Ok(());
            }
            let is_down = leases.is_down(&lease.connection).await;
            lease.is_down.store(is_down, Relaxed);
            if is_down && masters == lease.masters {
                return Ok(());
            }
            lease.leave_pool();
            match leases.connected().await {
                // Another thread that shared the old connection was faster.
                Err(failure) if failure.is_pool_exhausted() => {
                    let mut others = leases.threads.iter().filter_map(|it| it.usable());
                    let is_newer = |it: &Arc<_>| !Arc::ptr_eq(it, &lease) && it.masters == masters;
                    if let Some(successor) = others.find(is_newer) {
                        thread.keep(&successor);
                    }
                    Ok(())
                }
                Err(failure) => Err(failure),
                Ok(pooled) => {
                    let successor = leases.lease_on(pooled).await;
                    if leases.is_better(&successor, &lease).await {
                        leases.give(&thread, &successor);
                    } else {
                        successor.leave_pool();
                    }
                    Ok(())
                }
            }
        })
    }

    async fn connect_for(&self, thread: &ThreadLease) -> Result<(), Failure> {
        let pooled = self.connected().await?;
        self.lease(pooled, thread).await;
        Ok(())
    }

    async fn connected(&self) -> Result<PooledConnection, Failure> {
        let limit = self.pool.time_to_connect(self.deadline);
        let connected = pin!(self.pool.get_now());
        match Patience::new(limit).wait(limit, connected).await {
            None => Err(Failure::Lost(Fault::no_answer())),
            Some(pooled) => Ok(pooled?),
        }
    }

    pub(crate) async fn lease(&self, pooled: PooledConnection, thread: &ThreadLease) -> Arc<Lease> {
        let lease = self.lease_on(pooled).await;
        self.give(thread, &lease);
        lease
    }

    fn give(&self, thread: &ThreadLease, lease: &Arc<Lease>) {
        thread.keep(lease);
        self.leased.notify_waiters();
    }

    async fn lease_on(&self, pooled: PooledConnection) -> Arc<Lease> {
        let mut lease = Lease::new(pooled);
        lease.masters = self.masters(&lease.connection).await;
        Arc::new(lease)
    }

    async fn masters(&self, connection: &Connection) -> Option<Masters> {
        self.soon(connection.masters()).await.flatten()
    }

    async fn is_down(&self, connection: &Connection) -> bool {
        matches!(self.soon(connection.is_down()).await, Some(Ok(true)))
    }

    async fn is_better(&self, successor: &Lease, lease: &Lease) -> bool {
        let Some(masters) = &successor.masters else {
            return false;
        };
        let have_others_taken_over = successor.masters != lease.masters;
        have_others_taken_over
            || self.soon(successor.connection.reaches(masters)).await == Some(true)
    }

    /// What is answered as soon as any command should be.
    async fn soon<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let limit = self.deadline / 4;
        Patience::new(limit).wait(limit, pin!(answer)).await
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
            let is_down = lease.is_down.load(Relaxed);
            return is_down.then(Fault::cluster_down);
        }
        Some(fault.clone())
    }

    pub(crate) fn holds(&self, lease: &Arc<Lease>) -> bool {
        self.usable().is_some_and(|it| Arc::ptr_eq(&it, lease))
    }

    pub(crate) fn keep(&self, lease: &Arc<Lease>) {
        let former = lock(&self.current).replace(Arc::clone(lease));
        if former.is_some() {
            telemetry::connection_replaced();
        }
    }
}

/// One pooled connection, held by one thread or, when the pool is small, by several.
pub(crate) struct Lease {
    pub(crate) connection: Connection,
    /// Those that a cluster had when this was made.
    masters: Option<Masters>,
    /// Whether a cluster was found to serve no session at all.
    is_down: AtomicBool,
    since: Instant,
    pooled: Mutex<Option<PooledConnection>>,
    is_lost: AtomicBool,
    /// The start of the latest operation that was answered, in milliseconds of this lease.
    in_use_ms: AtomicU64,
}

impl Lease {
    /// Redis's `timeout` and firewalls close connections that have been unused for a time of this
    /// order. The first command then fails at once, and that is no news.
    const IDLE: Duration = Duration::from_secs(10);

    fn new(pooled: PooledConnection) -> Self {
        Self {
            connection: pooled.connection(),
            masters: None,
            is_down: AtomicBool::new(false),
            since: Instant::now(),
            pooled: Mutex::new(Some(pooled)),
            is_lost: AtomicBool::new(false),
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

    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.load(Relaxed)
    }

    /// Takes the connection out of the pool for good, once, however many requests saw it break.
    ///
    /// Not if it is new and Redis itself has answered on it: another connection made now would
    /// lead to the same server, so that a long failover would mean a storm of connections.
    pub(crate) fn retire(&self, fault: &Fault) {
        if fault.is_reply() && self.since.elapsed() < LastSearch::RECENT {
            return;
        }
        if !self.is_lost.swap(true, Relaxed) {
            if self.is_idle() && !fault.is_silence() {
                telemetry::idle_connection_closed(fault);
            } else {
                telemetry::connection_lost(fault);
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
