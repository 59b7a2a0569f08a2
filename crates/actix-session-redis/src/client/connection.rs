//! A connection that any number of commands can use at once, and how it is made.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use deadpool_redis::redis::{
    Cmd, FromRedisValue, Pipeline, RedisResult, Value,
    aio::{ConnectionLike as _, MultiplexedConnection},
    cmd,
};
use tokio::time::Instant;

#[cfg(feature = "cluster")]
use super::cluster::ClusterLink;
use super::{deadline::Deadline, failure::Failure};
use crate::{
    error::{Fault, Kind},
    lock::lock,
    pool::{Place, Pooled, RedisPool},
    telemetry::{events, log::Log},
};

/// Makes connections: gets them out of the pool and sets them up.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) pool: RedisPool,
    pub(crate) deadline: Duration,
    pub(crate) client_name: Option<String>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) log: Log,
}

impl Connector {
    pub(crate) async fn connect(&self) -> Result<Arc<Connection>, Failure> {
        // In line at the pool, Redis has not been asked yet.
        let in_line = self.deadline * u32::from(self.pool.is_full());
        let limit = in_line + self.pool.time_to_connect(self.deadline);
        let connected = pin!(async {
            let (pooled, place) = self.pool.get().await?;
            let connection = Connection::new(pooled, place, self);
            connection.set_up(self.client_name.as_deref()).await?;
            events::connection_made();
            Ok(Arc::new(connection))
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

pub(crate) struct Connection {
    link: Link,
    /// None once it is given up, or another connection is to take over.
    place: Mutex<Option<Place>>,
    made: Instant,
    /// When it is old enough for another to take over, if it may grow old.
    retires: Option<Instant>,
    /// After so long without any answer, it is silent.
    silent_after: Duration,
    /// How many there were so far: while there are more, it is not silent.
    answers: AtomicU64,
}

enum Link {
    Server(MultiplexedConnection),
    #[cfg(feature = "cluster")]
    Cluster(ClusterLink),
}

impl Connection {
    fn new(pooled: Pooled, place: Place, connector: &Connector) -> Self {
        let made = Instant::now();
        // Connections that were made together do not all end together.
        let retires = |age: Duration| made + age.mul_f64(rand::random_range(0.9..=1.0));
        let (link, eighths) = match pooled {
            Pooled::Server(server) => (Link::Server(server), 3),
            #[cfg(feature = "cluster")]
            Pooled::Cluster(cluster) => (Link::Cluster(ClusterLink::new(cluster)), 2),
        };
        Self {
            link,
            place: Mutex::new(Some(place)),
            made,
            retires: connector.max_age.map(retires),
            silent_after: connector.deadline / 8 * eighths,
            answers: AtomicU64::new(0),
        }
    }

    /// An application that uses the pool, too, may have left a connection in another database. What
    /// Redis refuses here is nothing that a request needs: without the right to select one, nobody
    /// has left it.
    async fn set_up(&self, name: Option<&str>) -> Result<(), Failure> {
        let select = match &self.link {
            Link::Server(server) => Some(cmd("SELECT").arg(server.get_db()).to_owned()),
            #[cfg(feature = "cluster")]
            Link::Cluster(_) => None,
        };
        for command in select.into_iter().chain(name.map(Cmd::client_setname)) {
            match self.query::<Value>(&command).await {
                // Of the servers of a cluster, some may not be there.
                Err(failure @ Failure::Transient(_)) if !self.is_cluster() => return Err(failure),
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        let answer = match &self.link {
            Link::Server(server) => command.query_async(&mut server.clone()).await,
            #[cfg(feature = "cluster")]
            Link::Cluster(cluster) => command.query_async(&mut cluster.ask(command)?).await,
        };
        self.classify(answer, command)
    }

    /// Sends commands that are carried out together, or not at all, and waits for the reply to `EXEC`:
    /// what each of them returns. To one server only: a cluster gets scripts.
    ///
    /// Not as redis-rs makes a transaction: that panics in its driver, if it was compiled to notice
    /// overflows, when `MULTI` itself is refused.
    pub(crate) async fn transaction(&self, commands: Vec<Cmd>) -> Result<Value, Failure> {
        let mut pipeline = Pipeline::with_capacity(commands.len() + 2);
        pipeline.add_command(cmd("MULTI"));
        for command in commands {
            pipeline.add_command(command);
        }
        pipeline.add_command(cmd("EXEC")).ignore_errors();
        let replies = match &self.link {
            Link::Server(server) => pipeline.query_async(&mut server.clone()).await,
            #[cfg(feature = "cluster")]
            Link::Cluster(_) => unreachable!("redis-rs does not follow a slot that moves with one"),
        };
        let replies: Vec<Value> = self.classify(replies, &cmd("EXEC"))?;
        let mut last = Value::Nil;
        for (command, reply) in pipeline.cmd_iter().zip(replies) {
            last = self.classify(reply.extract_error(), command)?;
        }
        Ok(last)
    }

    fn classify<T>(&self, answer: RedisResult<T>, command: &Cmd) -> Result<T, Failure> {
        let in_cluster = self.is_cluster();
        let outcome = answer.map_err(|error| Failure::of_command(error, command, in_cluster));
        if !matches!(&outcome, Err(Failure::Transient(fault)) if fault.reply().is_none()) {
            self.answers.fetch_add(1, Relaxed);
        }
        outcome
    }

    /// Asks for a sign of life: of any of the servers, when there are several.
    pub(crate) async fn ping(&self) -> Result<(), Failure> {
        match &self.link {
            Link::Server(_) => self.query(&cmd("PING")).await,
            #[cfg(feature = "cluster")]
            Link::Cluster(cluster) => match self.classify(cluster.is_up().await, &cmd("PING"))? {
                true => Ok(()),
                false => Err(Failure::Transient(Fault::cluster_down())),
            },
        }
    }

    /// Waits for the answer for as long as others get theirs: a large reply may come on a slow line.
    /// When nothing at all was answered for a while, there is time left to ask again elsewhere.
    /// `None`: the deadline has passed before.
    pub(crate) async fn listen<T>(
        &self,
        deadline: &Deadline,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Option<Result<T, Failure>> {
        let mut answer = pin!(answer);
        loop {
            let answers = self.answers.load(Relaxed);
            let outcome = deadline.wait(self.silent_after, answer.as_mut()).await;
            // Of a cluster, one server is asked, and that others answer says nothing of that one.
            let is_silent = self.is_cluster() || self.answers.load(Relaxed) == answers;
            if outcome.is_some() || deadline.left().is_zero() {
                return outcome;
            } else if is_silent {
                return Some(Err(Failure::no_answer()));
            }
        }
    }

    pub(crate) fn is_old(&self) -> bool {
        self.retires.is_some_and(|then| Instant::now() >= then)
    }

    /// It stays with those who use it, and its place in the pool is free.
    pub(crate) fn leave_pool(&self) {
        *lock(&self.place) = None;
    }

    /// Whether another connection may do better than the one that this happened on.
    pub(crate) fn is_given_up_for(&self, fault: &Fault) -> bool {
        match fault.reply() {
            // One server's silence is looked into.
            None => !(self.is_cluster() && fault.is_silence()),
            // A cluster's client follows a failover by itself.
            Some(_) if self.is_cluster() => false,
            // Another one that is made too soon leads to the same server, and is told the same.
            Some(_) => self.made.elapsed() >= Duration::from_millis(100),
        }
    }

    pub(crate) fn is_cluster(&self) -> bool {
        !matches!(self.link, Link::Server(_))
    }

    /// Whether all servers answer on the other connection; an error if none does.
    pub(crate) async fn look(&self, other: &Self) -> Result<bool, Fault> {
        match (&self.link, &other.link) {
            #[cfg(feature = "cluster")]
            (Link::Cluster(this), Link::Cluster(other)) => {
                this.look(other, self.silent_after).await
            }
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
