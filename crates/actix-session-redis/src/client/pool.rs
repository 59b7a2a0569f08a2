//! [`RedisPool`]: where connections come from, behind one small face.

use std::{fmt, time::Duration};

#[cfg(feature = "cluster")]
use deadpool_redis::cluster;
#[cfg(feature = "sentinel")]
use deadpool_redis::sentinel;
use deadpool_redis::{
    Manager, Pool, PoolError, Runtime, Timeouts,
    redis::{AsyncConnectionConfig, IntoConnectionInfo as _, io::tcp::TcpSettings},
};

use crate::{client::connection::Connection, error::Error};

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
/// number of its threads.
#[derive(Clone)]
pub struct RedisPool(Topology);

#[derive(Clone)]
enum Topology {
    Standalone(Pool),
    #[cfg(feature = "sentinel")]
    Sentinel(sentinel::Pool),
    #[cfg(feature = "cluster")]
    Cluster(cluster::Pool),
}

impl RedisPool {
    /// A pool of standalone Redis connections, twice as many as there are CPU cores.
    ///
    /// The URL is `redis://[user][:password@]host[:port][/db]` for TCP, `rediss://…` for TLS
    /// (feature `rustls` or `native-tls`), and `redis+unix:///path[?db=N&user=U&pass=P]` for a Unix
    /// socket, as the [`redis`](deadpool_redis::redis#connection-parameters) crate reads them. Does
    /// no I/O.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`] when the URL cannot be understood.
    pub fn from_url(url: impl AsRef<str>) -> Result<Self, Error> {
        // The lease puts a limit to every connect and every command; a second, fixed one here
        // would only contradict the deadline that the builder sets.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let invalid = |reason: &dyn fmt::Display| Error::InvalidUrl {
            reason: reason.to_string(),
        };
        // Other requests' commands are under way on the same connection, and by Nagle's algorithm a
        // small one would wait until Redis has acknowledged them: for a whole round trip.
        let undelayed = TcpSettings::default().set_nodelay(true);
        let url = url.as_ref().into_connection_info();
        let url = url.map(|url| url.set_tcp_settings(undelayed));
        let manager = url.and_then(|url| Manager::new_with_config(url, config));
        let manager = manager.map_err(|error| invalid(&error))?;
        let pool = Pool::builder(manager).runtime(Runtime::Tokio1).build();
        pool.map(Self::from).map_err(|error| invalid(&error))
    }

    /// A connection that is free right now, or a new one if the pool has room for it.
    pub(crate) async fn get_now(&self) -> Result<PooledConnection, PoolError> {
        self.get(Some(Duration::ZERO)).await
    }

    /// The same, after waiting in line for as long as it takes.
    pub(crate) async fn get_in_line(&self) -> Result<PooledConnection, PoolError> {
        self.get(None).await
    }

    async fn get(&self, wait: Option<Duration>) -> Result<PooledConnection, PoolError> {
        #[cfg(feature = "rustls")]
        crate::client::tls::choose_a_crypto_provider();
        // Whatever timeouts the pool has for the application's own use, ours are the lease's.
        let timeouts = Timeouts {
            wait,
            ..Timeouts::new()
        };
        Ok(PooledConnection(match &self.0 {
            Topology::Standalone(pool) => Pooled::Standalone(pool.timeout_get(&timeouts).await?),
            #[cfg(feature = "sentinel")]
            Topology::Sentinel(pool) => Pooled::Sentinel(pool.timeout_get(&timeouts).await?),
            #[cfg(feature = "cluster")]
            Topology::Cluster(pool) => Pooled::Cluster(pool.timeout_get(&timeouts).await?),
        }))
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
        let (topology, status) = match &self.0 {
            Topology::Standalone(pool) => ("Standalone", pool.status()),
            #[cfg(feature = "sentinel")]
            Topology::Sentinel(pool) => ("Sentinel", pool.status()),
            #[cfg(feature = "cluster")]
            Topology::Cluster(pool) => ("Cluster", pool.status()),
        };
        f.debug_tuple("RedisPool")
            .field(&topology)
            .field(&status)
            .finish()
    }
}

/// A connection and the place in the pool that it occupies.
pub(crate) struct PooledConnection(Pooled);

enum Pooled {
    Standalone(deadpool_redis::Connection),
    #[cfg(feature = "sentinel")]
    Sentinel(sentinel::Connection),
    #[cfg(feature = "cluster")]
    Cluster(cluster::Connection),
}

impl PooledConnection {
    /// A pool of the application's may have its connections give up after redis-rs's half a
    /// second. Here the operation decides, which does not count the time in which its thread is
    /// blocked, so they never give up. (Those to a cluster do not by themselves.)
    pub(crate) fn connection(&self) -> Connection {
        let mut server = match &self.0 {
            Pooled::Standalone(pooled) => (**pooled).clone(),
            #[cfg(feature = "sentinel")]
            Pooled::Sentinel(pooled) => (**pooled).clone(),
            #[cfg(feature = "cluster")]
            Pooled::Cluster(pooled) => return Connection::Cluster((**pooled).clone()),
        };
        server.set_response_timeout(Duration::MAX);
        Connection::Server(server)
    }

    /// Takes the connection out of the pool for good, so that nobody is handed it again, and
    /// makes room for another.
    pub(crate) fn discard(self) {
        match self.0 {
            Pooled::Standalone(pooled) => drop(deadpool_redis::Connection::take(pooled)),
            #[cfg(feature = "sentinel")]
            Pooled::Sentinel(pooled) => drop(sentinel::Connection::take(pooled)),
            #[cfg(feature = "cluster")]
            Pooled::Cluster(pooled) => drop(cluster::Connection::take(pooled)),
        }
    }
}
