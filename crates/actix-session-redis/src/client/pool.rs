//! Makes connections: gets them out of a [`RedisPool`] and sets them up.

use std::{pin::pin, sync::Arc, time::Duration};

#[cfg(feature = "cluster")]
use deadpool_redis::cluster;
#[cfg(feature = "sentinel")]
use deadpool_redis::sentinel;
use deadpool_redis::{PoolError, Timeouts, redis::aio::MultiplexedConnection};

#[cfg(feature = "cluster")]
use super::cluster::ClusterLink;
use super::{
    connection::{Connection, Link},
    deadline::Deadline,
    failure::Failure,
};
use crate::{
    error::{Fault, Kind},
    pool::{RedisPool, Topology},
    telemetry::events::Log,
};

/// Makes connections.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) pool: RedisPool,
    pub(crate) deadline: Duration,
    pub(crate) client_name: Option<String>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) log: Log,
}

impl Connector {
    pub(crate) async fn connect(&self) -> Result<(Arc<Connection>, Place), Failure> {
        // In line at the pool, Redis has not been asked yet.
        let in_line = self.deadline * u32::from(self.pool.is_full());
        let limit = in_line + self.pool.time_to_connect(self.deadline);
        let connected = pin!(async {
            let (link, place) = self.pool.get().await?;
            let connection = Connection::new(link);
            connection.set_up(self.client_name.as_deref()).await?;
            Log::connection_made();
            Ok((Arc::new(connection), place))
        });
        let connected = Deadline::new(limit).wait(limit, connected).await;
        connected.unwrap_or_else(|| Err(Failure::Transient(self.why_no_connection())))
    }

    /// What those who wait for a connection wait for.
    pub(crate) fn why_no_connection(&self) -> Fault {
        match self.pool.is_full() {
            true => Fault(Kind::NoConnectionFree),
            false => Fault::no_answer(),
        }
    }
}

impl RedisPool {
    /// A connection that is free, or a new one if the pool has room for it, after waiting in line
    /// for as long as it takes; and the place in the pool that it occupies.
    pub(crate) async fn get(&self) -> Result<(Link, Place), PoolError> {
        #[cfg(feature = "rustls")]
        crate::pool::choose_a_crypto_provider();
        // Whatever timeouts the pool has for the application's own use, ours are the client's. With
        // any of its own, a pool needs to know its runtime.
        let timeouts = Timeouts::new();
        Ok(match &self.0 {
            Topology::Standalone(pool) => {
                let pooled = pool.timeout_get(&timeouts).await?;
                let link = never_giving_up((*pooled).clone());
                (
                    link,
                    Place::left_by(|| drop(deadpool_redis::Connection::take(pooled))),
                )
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
