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
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    error::{Error, Failure, Fault},
    outage::{Admission, Gate},
    pool::{Connection, PooledConnection, RedisPool},
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
    search: sync::Mutex<()>,
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

    /// Runs `command`, and runs it again on another connection when the one it had is lost, until
    /// the deadline. A try whose reply was lost may have been carried out: `command` must be safe
    /// to repeat.
    pub(crate) async fn run<T>(
        &self,
        command: impl AsyncFn(Connection) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        let until = started + self.deadline;
        let unavailable = |fault| Error::Unavailable {
            waited: started.elapsed(),
            fault,
        };

        let thread = self.threads.get_or_default();
        let admission = thread.gate.admit().map_err(unavailable)?;
        let mut backoff = Backoff::default();
        loop {
            let answer = match self.try_once(thread, &admission, until, &command).await {
                Ok(reply) => Ok(reply),
                Err(Failure::Final(error)) => Err(error),
                Err(Failure::Lost(fault)) => {
                    if let Some(outage) = admission.revoked() {
                        return Err(unavailable(outage));
                    }
                    if backoff.pause(until).await {
                        continue;
                    }
                    admission.gave_up(&fault);
                    return Err(unavailable(fault));
                }
            };
            admission.answered();
            return answer;
        }
    }

    async fn try_once<T>(
        &self,
        thread: &ThreadLease,
        admission: &Admission<'_>,
        until: Instant,
        command: &impl AsyncFn(Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let lease = self.lease(thread, admission, until).await?;
        // A quarter: when no answer comes, there is time left to ask again elsewhere.
        let outcome = timeout_at(self.share(4, until), command(lease.connection.clone()))
            .await
            .unwrap_or(Err(Failure::Lost(Fault::no_answer())));
        if let Err(Failure::Lost(fault)) = &outcome {
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
        until: Instant,
    ) -> Result<Arc<Lease>, Failure> {
        if let Some(lease) = thread.usable() {
            return Ok(lease);
        }
        let _searching = timeout_at(until, thread.search.lock())
            .await
            .map_err(|_| Failure::Lost(Fault::no_answer()))?;
        if let Some(lease) = thread.usable() {
            return Ok(lease);
        }
        if let Some(outage) = admission.revoked() {
            return Err(Failure::Lost(outage));
        }

        let mut backoff = Backoff::default();
        loop {
            match self.search(until).await {
                Ok(lease) => {
                    thread.keep(&lease);
                    self.leased.notify_waiters();
                    return Ok(lease);
                }
                Err(Failure::Lost(fault)) => {
                    if !backoff.pause(until).await {
                        // Before the next in line may search: it would do so in vain.
                        admission.gave_up(&fault);
                        return Err(Failure::Lost(fault));
                    }
                }
                Err(refused) => return Err(refused),
            }
        }
    }

    /// A connection of the thread's own while the pool has one, else a share in another thread's.
    async fn search(&self, until: Instant) -> Result<Arc<Lease>, Failure> {
        let leased_elsewhere = self.leased.notified();
        // A half: connecting takes more round trips than a command does.
        let failure = match timeout_at(self.share(2, until), self.pool.get_now()).await {
            Ok(Ok(pooled)) => return Ok(Lease::new(pooled)),
            Ok(Err(error)) => Failure::from(error),
            Err(_) => Failure::Lost(Fault::no_answer()),
        };
        if !failure.is_pool_exhausted() {
            return Err(failure);
        }
        if let Some(lease) = self.least_shared() {
            return Ok(lease);
        }
        tokio::select! {
            pooled = self.pool.get_in_line() => Ok(Lease::new(pooled?)),
            () = leased_elsewhere => self.least_shared().ok_or(failure),
            () = sleep_until(until) => Err(failure),
        }
    }

    fn least_shared(&self) -> Option<Arc<Lease>> {
        self.threads
            .iter()
            .filter_map(ThreadLease::usable)
            .min_by_key(Arc::strong_count)
    }

    fn share(&self, part: u32, until: Instant) -> Instant {
        until.min(Instant::now() + self.deadline / part)
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
    /// Empty once the connection is lost.
    pooled: Mutex<Option<PooledConnection>>,
}

impl Lease {
    fn new(pooled: PooledConnection) -> Arc<Self> {
        Arc::new(Self {
            connection: pooled.connection(),
            pooled: Mutex::new(Some(pooled)),
        })
    }

    fn is_lost(&self) -> bool {
        lock(&self.pooled).is_none()
    }

    /// Takes the connection out of the pool for good, once, however many requests saw it break.
    fn retire(&self, fault: &Fault) {
        if let Some(pooled) = lock(&self.pooled).take() {
            tracing::warn!(%fault, "lost a Redis connection");
            pooled.discard();
        }
    }
}

/// Pauses between tries: none before the second, then from 10 ms doubling up to 100 ms. Each is
/// cut by a random part of up to a half, so that workers that broke together return one by one.
#[derive(Default)]
struct Backoff(Duration);

impl Backoff {
    const SHORTEST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_millis(100);

    /// Returns `false`, at once, when the pause would last past `until`.
    async fn pause(&mut self, until: Instant) -> bool {
        let end = Instant::now() + self.0.mul_f64(rand::random_range(0.5..=1.0));
        self.0 = (self.0 * 2).clamp(Self::SHORTEST, Self::LONGEST);
        let in_time = end < until;
        if in_time {
            sleep_until(end).await;
        }
        in_time
    }
}

/// No code panics while it holds one of these locks, and none leaves its data half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
