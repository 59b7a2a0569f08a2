//! [`RedisPool`]: where connections come from, as the application says.

use std::{fmt, time::Duration};

#[cfg(feature = "cluster")]
use deadpool_redis::cluster;
#[cfg(feature = "sentinel")]
use deadpool_redis::sentinel;
use deadpool_redis::{
    Connection, Pool, PoolError, Status, Timeouts, redis::aio::MultiplexedConnection,
};

use crate::{error::Error, topology::Topology};

/// A pool of Redis connections, as
/// [`RedisSessionStore::new`](crate::RedisSessionStore::new) accepts it.
///
/// Made from a URL, or with `From` one of deadpool-redis's pools: the standalone [`Pool`], the one
/// of `deadpool_redis::sentinel` (feature `sentinel`), or that of `deadpool_redis::cluster`
/// (feature `cluster`). A pool of Sentinel's must ask for the master, and one of a cluster must
/// not read from replicas: a replica may not have the latest write of a session yet.
///
/// Every thread that has used the store keeps one connection (in a cluster: one to every server)
/// until the store is dropped, even if the thread ends before; what is left is free for the
/// application. A pool that is smaller than the number of threads is fine: the threads that come
/// late share a connection. An application that also uses the pool itself makes it larger than the
/// number of its threads. What it does there on a clone that it keeps, such as `SELECT`, happens to
/// the store as well.
#[derive(Clone)]
pub struct RedisPool(Topology);

impl RedisPool {
    /// A pool of Redis connections, twice as many as there are CPU cores, to what the URL says:
    ///
    /// | URL | what it is |
    /// | --- | --- |
    /// | `redis://[user][:password@]host[:port][/db]` | a server |
    /// | `redis+unix:///path[?db=N&user=U&pass=P]` | a server on a Unix socket |
    /// | `redis-cluster://[user][:password@]host[:port][,host[:port]…]` | a Redis Cluster: some of its nodes, which tell of all others (feature `cluster`) |
    /// | `redis-sentinel://[user][:password@]host[:port][,host[:port]…][/db]?master=NAME` | the master that these Sentinels know by this name (feature `sentinel`). User, password and database are the master's; those of the Sentinels are `&sentinel_user=U&sentinel_password=P` |
    ///
    /// With `rediss` in the place of `redis`, by TLS (feature `rustls` or `native-tls`). A port that is not
    /// named is 6379, that of a Sentinel 26379. The rest is as the
    /// [`redis`](deadpool_redis::redis#connection-parameters) crate reads it. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`] when the URL cannot be understood, has a parameter that is none of those in the
    /// table (of a Unix socket, a Cluster or Sentinels), or needs a feature that is off.
    pub fn from_url(url: impl AsRef<str>) -> Result<Self, Error> {
        Topology::from_url(url.as_ref()).map(Self)
    }

    /// A connection that is free, or a new one if the pool has room for it, after waiting in line
    /// for as long as it takes; and the place in the pool that it occupies.
    pub(crate) async fn get(&self) -> Result<(Pooled, Place), PoolError> {
        #[cfg(feature = "rustls")]
        choose_a_crypto_provider();
        // Whatever timeouts the pool has for the application's own use, ours are the client's. With
        // any of its own, a pool needs to know its runtime.
        let timeouts = Timeouts::new();
        Ok(match &self.0 {
            Topology::Standalone(pool) => {
                let pooled = pool.timeout_get(&timeouts).await?;
                let server = never_giving_up((*pooled).clone());
                let leave = || drop(Connection::take(pooled));
                (server, Place::left_by(leave))
            }
            #[cfg(feature = "sentinel")]
            Topology::Sentinel(pool) => {
                let pooled = pool.timeout_get(&timeouts).await?;
                let server = never_giving_up((*pooled).clone());
                let leave = || drop(sentinel::Connection::take(pooled));
                (server, Place::left_by(leave))
            }
            #[cfg(feature = "cluster")]
            Topology::Cluster(pool) => {
                let pooled = pool.timeout_get(&timeouts).await?;
                let cluster = Pooled::Cluster((*pooled).clone());
                let leave = || drop(cluster::Connection::take(pooled));
                (cluster, Place::left_by(leave))
            }
        })
    }

    /// Whether the next connection has to wait in line.
    pub(crate) fn is_full(&self) -> bool {
        let (_, status) = self.status();
        status.available == 0 && status.size >= status.max_size
    }

    /// Whether more connections are wanted, or already used, than there may be.
    pub(crate) fn is_exhausted(&self) -> bool {
        let (_, status) = self.status();
        status.size + status.waiting > status.max_size
    }

    pub(crate) fn is_cluster(&self) -> bool {
        match self.0 {
            #[cfg(feature = "cluster")]
            Topology::Cluster(_) => true,
            _ => false,
        }
    }

    /// How long a connect may take, where an operation may take as long as `deadline`.
    pub(crate) fn time_to_connect(&self, deadline: Duration) -> Duration {
        match &self.0 {
            // A half, so that there is time for another try.
            Topology::Standalone(_) => deadline / 2,
            // These ask several servers one after the other, and give each a second.
            #[cfg(any(feature = "sentinel", feature = "cluster"))]
            _ => deadline.max(Duration::from_secs(5)),
        }
    }

    fn status(&self) -> (&'static str, Status) {
        match &self.0 {
            Topology::Standalone(pool) => ("Standalone", pool.status()),
            #[cfg(feature = "sentinel")]
            Topology::Sentinel(pool) => ("Sentinel", pool.status()),
            #[cfg(feature = "cluster")]
            Topology::Cluster(pool) => ("Cluster", pool.status()),
        }
    }
}

impl From<Pool> for RedisPool {
    fn from(pool: Pool) -> Self {
        Self(Topology::Standalone(pool))
    }
}

#[cfg(feature = "sentinel")]
impl From<sentinel::Pool> for RedisPool {
    fn from(pool: sentinel::Pool) -> Self {
        Self(Topology::Sentinel(pool))
    }
}

#[cfg(feature = "cluster")]
impl From<cluster::Pool> for RedisPool {
    fn from(pool: cluster::Pool) -> Self {
        Self(Topology::Cluster(pool))
    }
}

impl fmt::Debug for RedisPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (topology, status) = self.status();
        f.debug_tuple("RedisPool")
            .field(&topology)
            .field(&status)
            .finish()
    }
}

/// A connection from a pool. Its clones all send on the same one.
pub(crate) enum Pooled {
    Server(MultiplexedConnection),
    #[cfg(feature = "cluster")]
    Cluster(cluster::ClusterConnection),
}

/// Makes room in the pool for another connection when it is dropped. The one that had it is out of
/// the pool for good: nobody is handed it again.
pub(crate) struct Place(Option<Box<dyn FnOnce() + Send>>);

impl Place {
    fn left_by(leave: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(leave)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(leave) = self.0.take() {
            leave();
        }
    }
}

/// A pool of the application's may have its connections give up after redis-rs's half a second.
/// Here the operation decides, which does not count the time in which its thread is blocked.
/// (Those to a cluster do not give up by themselves.)
fn never_giving_up(mut server: MultiplexedConnection) -> Pooled {
    server.set_response_timeout(Duration::MAX);
    Pooled::Server(server)
}

/// rustls panics before its first connection when it finds none, or several to choose from. One
/// that the application has installed stays.
#[cfg(feature = "rustls")]
fn choose_a_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have been faster; then there is one as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
