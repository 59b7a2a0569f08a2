//! A connection that any number of commands can use at once: clones share it.

use std::collections::BTreeMap;

use deadpool_redis::redis::{
    Cmd, Pipeline, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cmd,
};
#[cfg(feature = "cluster")]
use deadpool_redis::{
    cluster::ClusterConnection,
    redis::{
        InfoDict, RedisError,
        cluster_routing::{
            Route, RoutingInfo,
            SingleNodeRoutingInfo::{self, Random, SpecificNode},
            SlotAddr,
        },
        from_redis_value,
    },
};
#[cfg(feature = "cluster")]
use futures_util::future::{select_ok, try_join_all};

use crate::error::Failure;
#[cfg(feature = "cluster")]
use crate::error::Fault;

#[derive(Clone)]
pub(crate) enum Connection {
    Server(MultiplexedConnection),
    /// One to each of the masters.
    #[cfg(feature = "cluster")]
    Cluster(ClusterConnection),
}

impl Connection {
    pub(crate) fn is_cluster(&self) -> bool {
        match self {
            Self::Server(_) => false,
            #[cfg(feature = "cluster")]
            Self::Cluster(_) => true,
        }
    }

    /// Which master has which slots, if this is a cluster, and one of its servers answers.
    pub(crate) async fn masters(&self) -> Option<Masters> {
        match self {
            Self::Server(_) => None,
            #[cfg(feature = "cluster")]
            Self::Cluster(cluster) => match ask_any(cluster, "CLUSTER SLOTS").await.ok()? {
                Value::Array(ranges) => ranges.iter().map(master).collect(),
                _ => None,
            },
        }
    }

    /// Asks for a sign of life: of any of the servers, when there are several.
    pub(crate) async fn ping(&mut self) -> Result<(), Failure> {
        match self {
            Self::Server(server) => Ok(cmd("PING").exec_async(server).await?),
            #[cfg(feature = "cluster")]
            Self::Cluster(cluster) => {
                // Whoever may not ask for it is told so here.
                ask(cluster, "CLUSTER MYID", Random).await?;
                if self.is_down().await? {
                    return Err(Failure::Transient(Fault::cluster_down()));
                }
                Ok(())
            }
        }
    }

    /// Whether a cluster serves no session at all, as far as one of its servers knows.
    pub(crate) async fn is_down(&self) -> RedisResult<bool> {
        match self {
            Self::Server(_) => Ok(false),
            #[cfg(feature = "cluster")]
            Self::Cluster(cluster) => {
                let info = ask_any(cluster, "CLUSTER INFO").await?;
                let info: InfoDict = from_redis_value(info)?;
                Ok(info.get::<String>("cluster_state").as_deref() == Some("fail"))
            }
        }
    }

    /// Whether each of these masters answers. By its name: redis-rs asks any other server when it
    /// has no connection to the one.
    pub(crate) async fn reaches(&self, masters: &Masters) -> RedisResult<bool> {
        match (self, masters) {
            (Self::Server(_), _) => Ok(true),
            #[cfg(feature = "cluster")]
            (Self::Cluster(cluster), masters) => {
                let slots: BTreeMap<_, _> = masters.iter().map(|(slot, id)| (id, *slot)).collect();
                let each = slots.into_iter().map(async |(id, slot)| {
                    let master = Route::new(slot, SlotAddr::Master);
                    let name = ask(cluster, "CLUSTER MYID", SpecificNode(master)).await?;
                    Ok::<_, RedisError>(from_redis_value::<String>(name)? == *id)
                });
                Ok(!try_join_all(each).await?.contains(&false))
            }
        }
    }
}

/// Any server will do, and some may be silent: so often chance does not pick only those. (redis-rs
/// asks all of them at once only when something else wakes it.)
#[cfg(feature = "cluster")]
async fn ask_any(cluster: &ClusterConnection, question: &str) -> RedisResult<Value> {
    let asked = (0..16).map(|_| Box::pin(ask(cluster, question, Random)));
    Ok(select_ok(asked).await?.0)
}

#[cfg(feature = "cluster")]
async fn ask(
    cluster: &ClusterConnection,
    question: &str,
    whom: SingleNodeRoutingInfo,
) -> RedisResult<Value> {
    let mut command = Cmd::new();
    command.arg(question.split(' ').collect::<Vec<_>>());
    let mut cluster = cluster.clone();
    let reply = cluster.route_command(command, RoutingInfo::SingleNode(whom));
    reply.await?.extract_error()
}

/// By the first slot of a range.
pub(crate) type Masters = BTreeMap<u16, String>;

/// Of one range in the reply to [`CLUSTER SLOTS`]: its first slot and the id of its master.
///
/// [`CLUSTER SLOTS`]: https://redis.io/docs/latest/commands/cluster-slots/
#[cfg(feature = "cluster")]
fn master(range: &Value) -> Option<(u16, String)> {
    let Value::Array(range) = range else {
        return None;
    };
    let [Value::Int(first), _, Value::Array(master), ..] = &range[..] else {
        return None;
    };
    let id = from_redis_value(master.get(2)?.clone()).ok()?;
    Some(((*first).try_into().ok()?, id))
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(server) => server.req_packed_command(command),
            #[cfg(feature = "cluster")]
            Self::Cluster(cluster) => cluster.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(server) => server.req_packed_commands(commands, offset, count),
            #[cfg(feature = "cluster")]
            Self::Cluster(cluster) => {
                if commands.is_transaction() {
                    return cluster.req_packed_commands(commands, offset, count);
                }
                // While a slot moves, a server lets in only the one command that follows `ASKING`,
                // so the rest of a pipeline would be sent to and fro until the move has ended.
                let cluster = &*cluster;
                let each = commands.cmd_iter().map(|command| {
                    let mut cluster = cluster.clone();
                    async move { cluster.req_packed_command(command).await }
                });
                Box::pin(try_join_all(each.collect::<Vec<_>>()))
            }
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(server) => server.get_db(),
            #[cfg(feature = "cluster")]
            Self::Cluster(cluster) => cluster.get_db(),
        }
    }
}
