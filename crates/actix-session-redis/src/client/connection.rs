//! A connection that any number of commands can use at once.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use deadpool_redis::redis::{
    Cmd, FromRedisValue, RedisResult, Value,
    aio::{ConnectionLike as _, MultiplexedConnection},
    cmd,
};
use tokio::time::Instant;

#[cfg(feature = "cluster")]
use super::cluster::ClusterLink;
use super::failure::Failure;
use crate::error::Fault;

pub(crate) struct Connection {
    link: Link,
    made: Instant,
    /// How many commands have been answered: a connection that goes on answering is not silent,
    /// however long one of them has to wait.
    answers: AtomicU64,
}

pub(crate) enum Link {
    Server(MultiplexedConnection),
    #[cfg(feature = "cluster")]
    Cluster(ClusterLink),
}

impl Connection {
    /// Another connection that is made so soon would lead to the same server, and be told the same.
    const NEW: Duration = Duration::from_millis(100);

    pub(crate) fn new(link: Link) -> Self {
        Self {
            link,
            made: Instant::now(),
            answers: AtomicU64::new(0),
        }
    }

    /// An application that uses the pool, too, may have left a connection in another database.
    ///
    /// What Redis refuses here is nothing that a request needs: without the right to select one,
    /// nobody has left it.
    pub(crate) async fn set_up(&self, name: Option<&str>) -> Result<(), Failure> {
        let select = match &self.link {
            Link::Server(server) => Some(cmd("SELECT").arg(server.get_db()).to_owned()),
            #[cfg(feature = "cluster")]
            Link::Cluster(_) => None,
        };
        for command in select.into_iter().chain(name.map(Cmd::client_setname)) {
            let reply = self.query::<Value>(&command).await;
            // Of the servers of a cluster, some may not be there.
            if let Err(failure @ Failure::Transient(_)) = reply
                && !self.is_cluster()
            {
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Sends a command, and waits for its reply.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        let answer = match &self.link {
            Link::Server(server) => command.query_async(&mut server.clone()).await,
            #[cfg(feature = "cluster")]
            Link::Cluster(cluster) => command.query_async(&mut cluster.ask(command)?).await,
        };
        self.understand(answer, command)
    }

    fn understand<T>(&self, answer: RedisResult<T>, command: &Cmd) -> Result<T, Failure> {
        let failed = |error| Failure::of_command(error, command, self.is_cluster());
        let outcome = answer.map_err(failed);
        if !matches!(&outcome, Err(Failure::Transient(fault)) if fault.reply().is_none()) {
            self.answers.fetch_add(1, Relaxed);
        }
        outcome
    }

    /// Asks for a sign of life: of any of the servers, when there are several.
    pub(crate) async fn ping(&self) -> Result<(), Failure> {
        let command = cmd("PING");
        match &self.link {
            Link::Server(_) => self.query(&command).await,
            #[cfg(feature = "cluster")]
            Link::Cluster(cluster) => match self.understand(cluster.is_up().await, &command)? {
                true => Ok(()),
                false => Err(Failure::Transient(Fault::cluster_down())),
            },
        }
    }

    /// How many commands have been answered so far.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Relaxed)
    }

    /// Whether another connection may do better than the one that this happened on.
    pub(crate) fn is_given_up_for(&self, fault: &Fault) -> bool {
        match fault.reply() {
            // One server's silence is looked into.
            None => !(self.is_cluster() && fault.is_silence()),
            // A cluster's client follows a failover by itself.
            Some("NOREPLICAS" | "CLUSTERDOWN") if self.is_cluster() => false,
            Some(_) => self.made.elapsed() >= Self::NEW,
        }
    }

    pub(crate) fn is_cluster(&self) -> bool {
        !matches!(self.link, Link::Server(_))
    }

    /// Whether all servers answer on the other connection: what is seen there holds here, too.
    ///
    /// # Errors
    ///
    /// None of them does.
    #[cfg_attr(not(feature = "cluster"), expect(unused_variables))]
    pub(crate) async fn look(&self, other: &Self, limit: Duration) -> Result<bool, Fault> {
        match (&self.link, &other.link) {
            #[cfg(feature = "cluster")]
            (Link::Cluster(this), Link::Cluster(other)) => this.look(other, limit).await,
            _ => Ok(true),
        }
    }

    /// What a fault that lasts means for all others, if anything.
    pub(crate) fn outage_by(&self, fault: &Fault) -> Option<Fault> {
        match &self.link {
            Link::Server(_) => Some(fault.clone()),
            #[cfg(feature = "cluster")]
            Link::Cluster(cluster) => cluster.outage_by(fault),
        }
    }
}
