//! Redis Cluster: several servers behind one connection, of which some may be silent.
//!
//! redis-rs would ask a silent master for ever, and keeps in memory what is not answered. So after
//! a command without an answer the connection knows its [`Health`], asks a silent master nothing
//! more, and gives way to another connection as soon as all masters answer there.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use deadpool_redis::{
    cluster::ClusterConnection,
    redis::{
        Arg, Cmd, InfoDict, RedisResult, Value,
        cluster_routing::{
            MultipleNodeRoutingInfo::AllNodes,
            Route,
            RoutingInfo::{MultiNode, SingleNode},
            SingleNodeRoutingInfo::{self, Random, SpecificNode},
            Slot, SlotAddr,
        },
        cmd, from_redis_value,
    },
};
use futures_util::{
    FutureExt as _,
    future::{join, join_all, select_ok},
};
use tokio::{task::JoinHandle, time::timeout};

use super::failure::Failure;
use crate::error::Fault;

pub(crate) struct ClusterLink {
    connection: ClusterConnection,
    health: Mutex<Health>,
    /// The task that looks after it, since a command was not answered.
    watch: Mutex<Option<JoinHandle<()>>>,
}

/// What is known of the servers.
pub(crate) enum Health {
    Fine,
    /// A master does not answer. Sessions in its slots have to wait for its replica.
    OneSilent(HashSet<Slot>),
    /// One of the servers says that the cluster serves nobody.
    Down,
    /// No server answers. Such a connection is given up.
    Lost,
}

impl ClusterLink {
    pub(crate) fn new(connection: ClusterConnection) -> Self {
        Self {
            connection,
            health: Mutex::new(Health::Fine),
            watch: Mutex::default(),
        }
    }

    pub(crate) async fn set_name(&self, name: Option<&str>) {
        if let Some(name) = name {
            let mut command = cmd("CLIENT");
            command.arg(&["SETNAME", name]);
            let all = MultiNode((AllNodes, None));
            // A name is not worth a connection.
            let _ = self.connection.clone().route_command(command, all).await;
        }
    }

    /// # Errors
    ///
    /// A server that is known not to answer is not asked: the request costs nothing while it waits.
    pub(crate) fn ask(&self, command: &Cmd) -> Result<ClusterConnection, Failure> {
        let slot = || key(command).map(Slot::for_key);
        match &*lock(&self.health) {
            Health::OneSilent(slots) if slot().is_some_and(|slot| slots.contains(&slot)) => {
                Err(Failure::Transient(Fault::no_answer()))
            }
            Health::Down => Err(Failure::Transient(Fault::cluster_down())),
            _ => Ok(self.connection.clone()),
        }
    }

    /// Whether one of the servers says that the cluster serves somebody.
    pub(crate) async fn is_up(&self) -> RedisResult<bool> {
        // Whoever may not ask for it is told so here.
        self.inquire("MYID", Random).await?;
        Ok(!says_down(self.inquire("INFO", Random).await?))
    }

    /// Starts to look after the connection, if nobody does.
    pub(crate) fn watch(&self, start: impl FnOnce() -> JoinHandle<()>) {
        let mut watch = lock(&self.watch);
        if watch.as_ref().is_none_or(JoinHandle::is_finished) {
            *watch = Some(start());
        }
    }

    pub(crate) fn set_health(&self, health: Health) {
        *lock(&self.health) = health;
    }

    /// What a fault means for those whose sessions are elsewhere, if anything.
    pub(crate) fn outage(&self, fault: Fault) -> Option<Fault> {
        match &*lock(&self.health) {
            Health::Down => Some(Fault::cluster_down()),
            _ => fault.reply().is_some().then_some(fault),
        }
    }

    /// Asks each master for its name: redis-rs asks any other server when it has no connection to
    /// the one.
    pub(crate) async fn diagnose(&self, limit: Duration) -> Health {
        let Some(Value::Array(ranges)) = self.inquire_anywhere("SLOTS", limit).await else {
            return Health::Lost;
        };
        let mut masters = BTreeMap::<_, Vec<u16>>::new();
        for (slots, id) in ranges.iter().filter_map(range) {
            masters.entry(id).or_default().extend(slots);
        }
        let greetings = masters.into_iter().map(async |(id, slots)| {
            let first = slots.first().copied().unwrap_or_default();
            let master = SpecificNode(Route::new(first, SlotAddr::Master));
            let name = timeout(limit, self.inquire("MYID", master)).await;
            let name = name
                .ok()
                .and_then(Result::ok)
                .map(from_redis_value::<String>);
            let is_it = matches!(name, Some(Ok(name)) if name == id);
            (!is_it).then_some(slots)
        });
        let info = self.inquire_anywhere("INFO", limit);
        let (info, silent) = join(info, join_all(greetings)).await;
        if info.is_some_and(says_down) {
            return Health::Down;
        }
        let silent = silent.into_iter().flatten().flatten();
        match silent.filter_map(Slot::new).collect::<HashSet<_>>() {
            none if none.is_empty() => Health::Fine,
            slots => Health::OneSilent(slots),
        }
    }

    /// Some may be silent: so often chance does not pick only those.
    async fn inquire_anywhere(&self, question: &str, limit: Duration) -> Option<Value> {
        let asked = (0..16).map(|_| self.inquire(question, Random).boxed());
        let answer = timeout(limit, select_ok(asked)).await.ok()?;
        Some(answer.ok()?.0)
    }

    async fn inquire(&self, question: &str, whom: SingleNodeRoutingInfo) -> RedisResult<Value> {
        let mut command = cmd("CLUSTER");
        command.arg(question);
        let mut cluster = self.connection.clone();
        let reply = cluster.route_command(command, SingleNode(whom)).await;
        reply?.extract_error()
    }
}

/// The key of a command of ours: its first argument, or the first key of a script.
fn key(command: &Cmd) -> Option<&[u8]> {
    let mut words = command.args_iter().map(|word| match word {
        Arg::Simple(word) => word,
        _ => b"",
    });
    match words.next()? {
        b"EVAL" | b"EVALSHA" => words.nth(2),
        _ => words.next(),
    }
}

/// Of the reply to [`CLUSTER INFO`](https://redis.io/docs/latest/commands/cluster-info/).
fn says_down(info: Value) -> bool {
    let info = from_redis_value::<InfoDict>(info);
    let state = info
        .ok()
        .and_then(|info| info.get::<String>("cluster_state"));
    state.as_deref() == Some("fail")
}

/// From the reply to [`CLUSTER SLOTS`](https://redis.io/docs/latest/commands/cluster-slots/): some
/// slots, and the id of their master.
fn range(range: &Value) -> Option<(std::ops::RangeInclusive<u16>, String)> {
    let Value::Array(range) = range else {
        return None;
    };
    let [
        Value::Int(first),
        Value::Int(last),
        Value::Array(master),
        ..,
    ] = &range[..]
    else {
        return None;
    };
    let id = from_redis_value(master.get(2)?.clone()).ok()?;
    Some(((*first).try_into().ok()?..=(*last).try_into().ok()?, id))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
