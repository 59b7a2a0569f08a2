//! [`RedisPool`]: where connections come from, behind one small face.

use std::{fmt, time::Duration};

use deadpool_redis::{
    Manager, Pool, PoolError, Runtime, Timeouts,
    redis::{AsyncConnectionConfig, aio::MultiplexedConnection},
};

use crate::error::Error;

/// A connection that any number of commands can use at once: clones share it.
pub(crate) type Connection = MultiplexedConnection;

/// A pool of Redis connections, as
/// [`RedisSessionStore::new`](crate::RedisSessionStore::new) accepts it.
///
/// A thread that has used the store keeps its connection until the store is dropped, even if the
/// thread ends before. So an application that also uses the pool itself makes it larger than the
/// number of its threads.
///
/// Made from a URL, or with `From` a deadpool-redis [`Pool`]. Every worker thread keeps one connection of it for
/// as long as it works; what is left is free for the application. A pool that is smaller than the
/// number of threads is fine: the threads that come late share a connection.
#[derive(Clone)]
pub struct RedisPool(Pool);

impl RedisPool {
    /// A pool of standalone Redis connections, twice as many as there are CPU cores.
    ///
    /// The URL is `redis://[user][:password@]host[:port][/db]` for TCP and
    /// `redis+unix:///path[?db=N&user=U&pass=P]` for a Unix socket, as the
    /// [`redis`](deadpool_redis::redis#connection-parameters) crate reads them. Does no I/O.
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
        let manager =
            Manager::new_with_config(url.as_ref(), config).map_err(|error| invalid(&error))?;
        let pool = Pool::builder(manager).runtime(Runtime::Tokio1).build();
        pool.map(Self).map_err(|error| invalid(&error))
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
        // Whatever timeouts the pool has for the application's own use, ours are the lease's.
        let timeouts = Timeouts {
            wait,
            ..Timeouts::new()
        };
        self.0.timeout_get(&timeouts).await.map(PooledConnection)
    }
}

impl From<Pool> for RedisPool {
    fn from(pool: Pool) -> Self {
        Self(pool)
    }
}

impl fmt::Debug for RedisPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisPool").field(&self.0.status()).finish()
    }
}

/// A connection and the place in the pool that it occupies.
pub(crate) struct PooledConnection(deadpool_redis::Connection);

impl PooledConnection {
    /// A pool of the application's may have its connections give up after redis-rs's half a
    /// second, or never. Here the lease decides, so they must not give up before it does.
    pub(crate) fn connection(&self, deadline: Duration) -> Connection {
        let mut connection = (*self.0).clone();
        connection.set_response_timeout(deadline);
        connection
    }

    /// Takes the connection out of the pool for good, so that nobody is handed it again, and
    /// makes room for another.
    pub(crate) fn discard(self) {
        drop(deadpool_redis::Connection::take(self.0));
    }
}
