//! Gets connections out of a [`RedisPool`].

use std::time::Duration;

#[cfg(feature = "cluster")]
use deadpool_redis::cluster;
#[cfg(feature = "sentinel")]
use deadpool_redis::sentinel;
use deadpool_redis::{Connection, PoolError, Timeouts, redis::aio::MultiplexedConnection};

#[cfg(feature = "cluster")]
use super::cluster::ClusterLink;
use super::connection::Link;
use crate::pool::{RedisPool, Topology};

impl RedisPool {
    /// A connection that is free, or a new one if the pool has room for it, after waiting in line
    /// for as long as it takes; and the place in the pool that it occupies.
    pub(crate) async fn get(&self) -> Result<(Link, Place), PoolError> {
        #[cfg(feature = "rustls")]
        choose_a_crypto_provider();
        // Whatever timeouts the pool has for the application's own use, ours are the client's. With
        // any of its own, a pool needs to know its runtime.
        let timeouts = Timeouts::new();
        Ok(match &self.0 {
            Topology::Standalone(pool) => {
                let pooled = pool.timeout_get(&timeouts).await?;
                let link = never_giving_up((*pooled).clone());
                (link, Place::left_by(|| drop(Connection::take(pooled))))
            }
            #[cfg(feature = "sentinel")]
            Topology::Sentinel(pool) => {
                let pooled = pool.timeout_get(&timeouts).await?;
                let link = never_giving_up((*pooled).clone());
                let leave = || drop(sentinel::Connection::take(pooled));
                (link, Place::left_by(leave))
            }
            #[cfg(feature = "cluster")]
            Topology::Cluster(pool) => {
                let pooled = pool.timeout_get(&timeouts).await?;
                let link = Link::Cluster(ClusterLink::new((*pooled).clone()));
                let leave = || drop(cluster::Connection::take(pooled));
                (link, Place::left_by(leave))
            }
        })
    }

    /// Whether the next one has to wait in line.
    pub(crate) fn is_full(&self) -> bool {
        let (_, status) = self.status();
        status.available == 0 && status.size >= status.max_size
    }

    /// Whether more connections are wanted, or already used, than there may be.
    pub(crate) fn is_exhausted(&self) -> bool {
        let (_, status) = self.status();
        status.size + status.waiting > status.max_size
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
fn never_giving_up(mut server: MultiplexedConnection) -> Link {
    server.set_response_timeout(Duration::MAX);
    Link::Server(server)
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
