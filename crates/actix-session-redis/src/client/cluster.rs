//! Redis Cluster: several servers behind one connection, of which some may be silent.
//!
//! redis-rs would ask a silent master for ever, and keeps in memory what is not answered. So after
//! a command without an answer the connection knows its [`Health`], asks a silent master nothing
//! more, and gives way to another connection as soon as all masters answer there.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
    time::Duration,
};

use deadpool_redis::{
    cluster::ClusterConnection,
    redis::{
        Cmd, FromRedisValue, InfoDict, RedisResult, Value,
        cluster_routing::{
            Route,
            RoutingInfo::SingleNode,
            SingleNodeRoutingInfo::{self, Random, SpecificNode},
            Slot, SlotAddr,
        },
        cmd, from_redis_value,
    },
};
use futures_util::{
    FutureExt as _,
    future::{join_all, select_ok, try_join},
};
use tokio::time::timeout;

use super::failure::{Failure, word};
use crate::{error::Fault, lock::lock};

pub(crate) struct ClusterLink {
    connection: ClusterConnection,
    health: Mutex<Health>,
}

/// What is known of the servers.
enum Health {
    Fine,
    /// Sessions in the slots of a master that does not answer have to wait for its replica.
    SomeSilent(HashSet<Slot>),
    /// One of the servers says that the cluster serves nobody.
    Down,
}

impl ClusterLink {
    pub(crate) fn new(connection: ClusterConnection) -> Self {
        let health = Mutex::new(Health::Fine);
        Self { connection, health }
    }

    /// A server that is known not to answer is not asked: the request costs nothing while it waits.
    pub(crate) fn ask(&self, command: &Cmd) -> Result<ClusterConnection, Failure> {
        let is_silent = |slots: &HashSet<Slot>| slots.contains(&Slot::for_key(key(command)));
        match &*lock(&self.health) {
            Health::SomeSilent(slots) if is_silent(slots) => Err(Failure::no_answer()),
            Health::Down => Err(Failure::Transient(Fault::cluster_down())),
            _ => Ok(self.connection.clone()),
        }
    }

    /// Whether one of the servers says that the cluster serves somebody.
    pub(crate) async fn is_up(&self) -> RedisResult<bool> {
        // Whoever may not ask for it is told so here.
        self.inquire::<String>("MYID", Random).await?;
        let info = self.inquire("INFO", Random).await?;
        Ok(!says_down(&info))
    }

    /// What a fault means for those whose sessions are elsewhere, if anything.
    pub(crate) fn outage_by(&self, fault: &Fault) -> Option<Fault> {
        match &*lock(&self.health) {
            Health::Down => Some(Fault::cluster_down()),
            _ => fault.reply().map(|_| fault.clone()),
        }
    }

    /// Whether all masters answer on the other connection, which takes with it what is not answered
    /// there. What is seen holds for this one, too.
    pub(crate) async fn look(&self, other: &Self, limit: Duration) -> Result<bool, Fault> {
        let health = other.diagnose(limit).await.ok_or_else(Fault::no_answer)?;
        let is_fine = matches!(health, Health::Fine);
        *lock(&self.health) = health;
        Ok(is_fine)
    }

    async fn diagnose(&self, limit: Duration) -> Option<Health> {
        let answers = try_join(self.ask_around("INFO"), self.ask_around("SLOTS"));
        let (info, ranges): (_, Vec<Vec<Value>>) = timeout(limit, answers).await.ok()?.ok()?;
        if says_down(&info) {
            return Some(Health::Down);
        }
        let mut masters = HashMap::<_, Vec<_>>::new();
        for (slots, id) in ranges.iter().filter_map(|range| parse(range)) {
            masters.entry(id).or_default().extend(slots);
        }
        let silent = masters.into_iter().map(async |(id, slots)| {
            // By its name: redis-rs asks any other server when it has no connection to this one.
            let master = SpecificNode(Route::with_slot(*slots.first()?, SlotAddr::Master));
            let name = timeout(limit, self.inquire("MYID", master)).await;
            let answers = name.is_ok_and(|name| name.is_ok_and(|name: String| name == id));
            (!answers).then_some(slots)
        });
        let silent = join_all(silent).await.into_iter().flatten();
        let silent = HashSet::<Slot>::from_iter(silent.flatten());
        Some(match silent.is_empty() {
            true => Health::Fine,
            false => Health::SomeSilent(silent),
        })
    }

    /// Some may be silent: so often chance does not pick only those. (If all were asked, redis-rs
    /// would first repair its connections to those that are gone.)
    async fn ask_around<T: FromRedisValue>(&self, question: &str) -> RedisResult<T> {
        let asked = (0..16).map(|_| self.inquire(question, Random).boxed());
        Ok(select_ok(asked).await?.0)
    }

    async fn inquire<T: FromRedisValue>(
        &self,
        question: &str,
        whom: SingleNodeRoutingInfo,
    ) -> RedisResult<T> {
        let command = cmd("CLUSTER").arg(question).to_owned();
        let mut connection = self.connection.clone();
        let reply = connection.route_command(command, SingleNode(whom)).await?;
        Ok(from_redis_value(reply.extract_error()?)?)
    }
}

/// The key of a command of ours: its first argument, or the first key of a script.
fn key(command: &Cmd) -> &[u8] {
    match word(command, 0) {
        b"EVAL" | b"EVALSHA" => word(command, 3),
        _ => word(command, 1),
    }
}

/// Of the reply to [`CLUSTER INFO`](https://redis.io/docs/latest/commands/cluster-info/).
fn says_down(info: &InfoDict) -> bool {
    info.get::<String>("cluster_state").as_deref() == Some("fail")
}

/// From the reply to [`CLUSTER SLOTS`](https://redis.io/docs/latest/commands/cluster-slots/): some
/// slots, and the id of their master.
fn parse(range: &[Value]) -> Option<(impl Iterator<Item = Slot>, String)> {
    let &[Value::Int(first), Value::Int(last), ref master, ..] = range else {
        return None;
    };
    let id = from_redis_value(master.as_sequence()?.get(2)?.clone()).ok()?;
    let slots = (first..=last).filter_map(|slot| Slot::new(slot.try_into().ok()?));
    Some((slots, id))
}
