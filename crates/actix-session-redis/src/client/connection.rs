//! A connection that any number of commands can use at once.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use deadpool_redis::redis::{
    Cmd, FromRedisValue, RedisResult, Value, aio::MultiplexedConnection, cmd,
};
use futures_util::future::try_join_all;
use tokio::time::Instant;

#[cfg(feature = "cluster")]
use super::cluster::{ClusterLink, Health};
use super::failure::Failure;
use crate::error::Fault;

pub(crate) struct Connection {
    link: Link,
    made: Instant,
    /// When it is old enough to be replaced, if it may grow old.
    pub(crate) retires: Option<Instant>,
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

    pub(crate) fn new(link: Link, max_age: Option<Duration>) -> Self {
        let made = Instant::now();
        Self {
            link,
            made,
            // Connections that were made together do not all end together.
            retires: max_age.map(|age| made + age.mul_f64(rand::random_range(0.9..=1.0))),
            answers: AtomicU64::new(0),
        }
    }

    /// An application that uses the pool, too, may have left a connection in another database.
    ///
    /// What Redis refuses here is nothing that a request needs: without the right to select one,
    /// nobody has left it.
    pub(crate) async fn set_up(&self, database: i64, name: Option<&str>) -> Result<(), Failure> {
        #[cfg(feature = "cluster")]
        if let Link::Cluster(cluster) = &self.link {
            cluster.set_name(name).await;
            return Ok(());
        }
        let mut commands = vec![cmd("SELECT")];
        commands[0].arg(database);
        if let Some(name) = name {
            commands.push(cmd("CLIENT"));
            commands[1].arg(&["SETNAME", name]);
        }
        let replies =
            commands
                .iter()
                .map(async |command| match self.query::<Value>(command).await {
                    Err(Failure::Transient(fault)) => Err(Failure::Transient(fault)),
                    _ => Ok(()),
                });
        try_join_all(replies).await.map(drop)
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
        let outcome = answer.map_err(|error| Failure::of_command(error, command));
        if !matches!(&outcome, Err(Failure::Transient(fault)) if fault.reply().is_none()) {
            self.answers.fetch_add(1, Relaxed);
        }
        outcome.map_err(|failure| failure.on(self.is_cluster()))
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

    #[cfg(feature = "cluster")]
    pub(crate) fn cluster(&self) -> Option<&ClusterLink> {
        match &self.link {
            Link::Server(_) => None,
            Link::Cluster(cluster) => Some(cluster),
        }
    }

    #[cfg(feature = "cluster")]
    pub(crate) async fn diagnose(&self, limit: Duration) -> Health {
        match &self.link {
            Link::Server(_) => Health::Fine,
            Link::Cluster(cluster) => cluster.diagnose(limit).await,
        }
    }

    #[cfg(feature = "cluster")]
    pub(crate) fn set_health(&self, health: Health) {
        if let Link::Cluster(cluster) = &self.link {
            cluster.set_health(health);
        }
    }
}
