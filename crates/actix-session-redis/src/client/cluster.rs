//! Redis Cluster: several servers behind one connection, of which some may be silent.
//!
//! redis-rs would ask a silent master for ever, and keeps in memory what is not answered. So after
//! a command without an answer the connection is looked after: it knows its [`Health`], asks a
//! silent master nothing more, and gives way to a connection on which all masters answer.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use deadpool_redis::{
    cluster::ClusterConnection,
    redis::{
        Arg, Cmd, FromRedisValue, InfoDict, Pipeline, RedisError, RedisFuture, RedisResult, Value,
        aio::ConnectionLike,
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
    future::{
        BoxFuture, Either, Fuse, FusedFuture as _, Shared, join, join_all, select, select_ok,
        try_join_all,
    },
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    backoff::Backoff,
    connection::Connection,
    failure::Failure,
    pool::Place,
    slot::{Connector, Lease},
};
use crate::{error::Fault, telemetry::events::Log};

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
    /// No server answers.
    Lost,
}

impl ClusterLink {
    fn set_health(&self, health: Health) {
        *lock(&self.health) = health;
    }

    pub(crate) fn new(connection: ClusterConnection) -> Self {
        Self {
            connection,
            health: Mutex::new(Health::Fine),
            watch: Mutex::default(),
        }
    }

    /// A name is not worth a connection.
    pub(crate) async fn set_name(&self, name: &str) {
        let mut command = cmd("CLIENT");
        command.arg(&["SETNAME", name]);
        let all = MultiNode((AllNodes, None));
        let _ = self.connection.clone().route_command(command, all).await;
    }

    pub(crate) async fn query<T: FromRedisValue>(
        &self,
        command: &Cmd,
    ) -> Result<RedisResult<T>, Failure> {
        self.may_be_asked(command)?;
        Ok(command.query_async(&mut self.connection.clone()).await)
    }

    pub(crate) async fn query_all<T: FromRedisValue>(
        &self,
        commands: &Pipeline,
    ) -> Result<RedisResult<T>, Failure> {
        commands
            .cmd_iter()
            .try_for_each(|it| self.may_be_asked(it))?;
        let mut connection = SideBySide(self.connection.clone());
        Ok(commands.query_async(&mut connection).await)
    }

    /// A server that is known not to answer is not asked: the request costs nothing while it waits.
    fn may_be_asked(&self, command: &Cmd) -> Result<(), Failure> {
        let slot = || key(command).map(Slot::for_key);
        match &*lock(&self.health) {
            Health::OneSilent(slots) if slot().is_some_and(|slot| slots.contains(&slot)) => {
                Err(Failure::Transient(Fault::no_answer()))
            }
            Health::Down => Err(Failure::Transient(Fault::cluster_down())),
            _ => Ok(()),
        }
    }

    pub(crate) async fn ping(&self) -> Result<(), Failure> {
        // Whoever may not ask for it is told so here.
        let pinged = match self.ask("MYID", Random).await {
            Ok(_) => self.ask("INFO", Random).await.map(says_down),
            Err(error) => Err(error),
        };
        match pinged.map_err(|error| Failure::of_command(error, |_| "CLUSTER".to_owned()))? {
            true => Err(Failure::Transient(Fault::cluster_down())),
            false => Ok(()),
        }
    }

    /// What a fault means for those whose sessions are elsewhere, if anything.
    pub(crate) fn outage(&self, fault: Fault) -> Option<Fault> {
        match &*lock(&self.health) {
            Health::Fine | Health::OneSilent(_) => fault.reply().is_some().then_some(fault),
            Health::Down => Some(Fault::cluster_down()),
            Health::Lost => Some(fault),
        }
    }

    async fn ask(&self, question: &str, whom: SingleNodeRoutingInfo) -> RedisResult<Value> {
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

/// While a slot moves, a server lets in only the one command that follows `ASKING`, so the rest of
/// a pipeline would be sent to and fro until the move has ended. One by one, all get through.
struct SideBySide(ClusterConnection);

impl ConnectionLike for SideBySide {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        self.0.req_packed_command(command)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        _offset: usize,
        _count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let each = commands.cmd_iter().map(|command| {
            let mut cluster = self.0.clone();
            async move {
                let reply = cluster.req_packed_command(command).await;
                reply.or_else(|error| as_reply(&error).ok_or(error))
            }
        });
        Box::pin(try_join_all(each.collect::<Vec<_>>()))
    }

    fn get_db(&self) -> i64 {
        self.0.get_db()
    }
}

/// An error that a server has replied with, in the place of the reply: whoever reads the replies
/// knows then which command it belongs to.
fn as_reply(error: &RedisError) -> Option<Value> {
    let errors = error.clone().into_server_errors()?;
    let (_, error) = errors.first()?;
    Some(Value::ServerError(error.clone()))
}

/// Has the connection looked after from now on, if it is one to a cluster.
pub(crate) fn look_after(connector: &Arc<Connector>, lease: &Lease, log: &Arc<Log>) -> bool {
    let Some(cluster) = lease.connection.cluster() else {
        return false;
    };
    let mut watch = lock(&cluster.watch);
    if watch.as_ref().is_none_or(JoinHandle::is_finished) {
        let (connector, log) = (Arc::clone(connector), Arc::clone(log));
        *watch = Some(tokio::spawn(until_well(connector, lease.clone(), log)));
    }
    true
}

/// So often another connection is tried while the masters are the same: if it is not the connection
/// that is silent but the server, others do not reach it either.
const SUCCESSOR_EVERY: Duration = Duration::from_secs(1);

async fn until_well(connector: Arc<Connector>, lease: Lease, log: Arc<Log>) {
    let mut backoff = Backoff::default();
    let mut checkup = Checkup::new(&lease.connection, &connector);
    let mut successor = pin!(Fuse::terminated());
    let mut tried: Option<(Instant, Masters)> = None;
    while lease.is_current() {
        let health = checkup.diagnose().await;
        let is_silent = matches!(health, Health::OneSilent(_));
        match health {
            Health::Lost => return lease.give_up(&Fault::no_answer(), &log),
            Health::Fine => return checkup.link().set_health(health),
            Health::OneSilent(_) | Health::Down => checkup.link().set_health(health),
        }
        let is_due = tried.as_ref().is_none_or(|(when, masters)| {
            when.elapsed() >= SUCCESSOR_EVERY || *masters != checkup.masters
        });
        if is_silent && is_due && successor.is_terminated() {
            lease.leave_pool();
            tried = Some((Instant::now(), checkup.masters.clone()));
            successor.set(better(&connector).fuse());
        }
        let pause = sleep(backoff.next());
        if let Either::Left((Some(better), _)) = select(successor.as_mut(), pin!(pause)).await {
            lease.replace(better);
        }
    }
}

/// Another connection, if all masters answer there.
async fn better(connector: &Connector) -> Option<(Arc<Connection>, Place)> {
    let (connection, place) = connector.connect().await.ok()?;
    let health = Checkup::new(&connection, connector).diagnose().await;
    matches!(health, Health::Fine).then_some((connection, place))
}

/// The slots of each master, by its id.
type Masters = BTreeMap<String, Vec<(u16, u16)>>;

/// Asks each master for its name, and waits for as long as it takes: what is asked twice would be
/// kept twice in memory.
struct Checkup {
    connection: Arc<Connection>,
    /// For an answer that any server gives at once.
    patience: Duration,
    masters: Masters,
    unanswered: Mutex<BTreeMap<String, Shared<BoxFuture<'static, bool>>>>,
    silent: BTreeSet<String>,
}

impl Checkup {
    fn new(connection: &Arc<Connection>, connector: &Connector) -> Self {
        Self {
            connection: Arc::clone(connection),
            patience: connector.deadline / 4,
            masters: Masters::new(),
            unanswered: Mutex::default(),
            silent: BTreeSet::new(),
        }
    }

    fn link(&self) -> &ClusterLink {
        let link = self.connection.cluster();
        link.expect("only connections to a cluster are looked after")
    }

    async fn diagnose(&mut self) -> Health {
        let Some(Value::Array(ranges)) = self.ask_anyone("SLOTS").await else {
            return Health::Lost;
        };
        self.masters = masters(&ranges).unwrap_or_default();
        lock(&self.unanswered).retain(|id, _| self.masters.contains_key(id));
        let (info, silent) = join(self.ask_anyone("INFO"), self.greet_all()).await;
        if info.is_some_and(says_down) {
            return Health::Down;
        }
        self.silent = silent;
        if self.silent.is_empty() {
            return Health::Fine;
        }
        let silent = self.silent.iter().filter_map(|id| self.masters.get(id));
        let slots = silent.flatten().flat_map(|(first, last)| *first..=*last);
        Health::OneSilent(slots.filter_map(Slot::new).collect())
    }

    /// Of the masters that have answered before any one; else whomever chance picks, so often that
    /// it does not pick only silent ones.
    fn anyone_alive(&self) -> (usize, SingleNodeRoutingInfo) {
        let mut masters = self.masters.iter();
        let alive = masters.find(|(id, _)| !self.silent.is_empty() && !self.silent.contains(*id));
        alive.map_or((16, Random), |(_, slots)| (1, master_of(slots)))
    }

    async fn ask_anyone(&self, question: &str) -> Option<Value> {
        let (times, whom) = self.anyone_alive();
        let asked = (0..times).map(|_| self.link().ask(question, whom.clone()).boxed());
        let answer = timeout(self.patience, select_ok(asked)).await;
        Some(answer.ok()?.ok()?.0)
    }

    /// Returns those that do not answer.
    async fn greet_all(&self) -> BTreeSet<String> {
        let cluster = &self.link().connection;
        let answers = self.masters.iter().map(async |(id, slots)| {
            let greeting = || greet(cluster.clone(), master_of(slots), id.clone());
            let answer = lock(&self.unanswered)
                .entry(id.clone())
                .or_insert_with(|| greeting().boxed().shared())
                .clone();
            // Whom nobody has heard of for so long is only asked whether it has answered by now.
            let patience = match self.silent.contains(id) {
                true => Duration::from_millis(10),
                false => self.patience,
            };
            let is_itself = timeout(patience, answer).await.ok();
            if is_itself.is_some() {
                lock(&self.unanswered).remove(id);
            }
            // Another server may have answered in its place.
            (is_itself != Some(true)).then(|| id.clone())
        });
        join_all(answers).await.into_iter().flatten().collect()
    }
}

/// Of the reply to `CLUSTER INFO`.
fn says_down(info: Value) -> bool {
    let info = from_redis_value::<InfoDict>(info);
    let state = info
        .ok()
        .and_then(|info| info.get::<String>("cluster_state"));
    state.as_deref() == Some("fail")
}

/// Whether this master answers: by its name, since redis-rs asks any other server when it has no
/// connection to the one.
async fn greet(connection: ClusterConnection, whom: SingleNodeRoutingInfo, id: String) -> bool {
    let name = ClusterLink::new(connection).ask("MYID", whom).await;
    name.is_ok_and(|name| from_redis_value::<String>(name).is_ok_and(|name| name == id))
}

fn master_of(slots: &[(u16, u16)]) -> SingleNodeRoutingInfo {
    let first = slots.first().map_or(0, |(first, _)| *first);
    SpecificNode(Route::new(first, SlotAddr::Master))
}

/// From the reply to [`CLUSTER SLOTS`]: of each range its first and last slot, and its master.
///
/// [`CLUSTER SLOTS`]: https://redis.io/docs/latest/commands/cluster-slots/
fn masters(ranges: &[Value]) -> Option<Masters> {
    let mut masters = Masters::new();
    for range in ranges {
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
        let slots = ((*first).try_into().ok()?, (*last).try_into().ok()?);
        masters.entry(id).or_default().push(slots);
    }
    Some(masters)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
