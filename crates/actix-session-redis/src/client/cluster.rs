//! Redis Cluster: several servers behind one connection, of which some may be silent.
//!
//! redis-rs would ask a silent master for ever, and keeps in memory what is not answered. So after
//! a command without an answer the connection is looked after: it knows its [`Health`], asks a
//! silent master nothing more, and gives way to a connection on which all masters answer.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use deadpool_redis::{
    cluster::ClusterConnection,
    redis::{
        Arg, Cmd, FromRedisValue, InfoDict, Pipeline, RedisError, RedisFuture, RedisResult, Value,
        aio::ConnectionLike,
        cluster_routing::{
            MultipleNodeRoutingInfo, Route, RoutingInfo,
            SingleNodeRoutingInfo::{self, Random, SpecificNode},
            Slot, SlotAddr,
        },
        from_redis_value,
    },
};
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared, join_all, select_ok, try_join_all},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{
    backoff::Backoff,
    connection::Connection,
    failure::Failure,
    slot::{Connector, Lease},
};
use crate::{
    error::{Fault, Kind},
    telemetry::events::Log,
};

pub(crate) struct ClusterLink {
    connection: ClusterConnection,
    health: Mutex<Health>,
    /// The task that looks after it, since a command was not answered.
    watch: Mutex<Option<JoinHandle<()>>>,
}

/// What is known of the servers.
#[derive(Debug, Default)]
pub(crate) enum Health {
    #[default]
    Fine,
    /// A master does not answer. Sessions in its slots have to wait for its replica.
    OneSilent(HashSet<Slot>),
    /// One of the servers says that the cluster serves nobody.
    Down,
    /// No server answers.
    Lost,
}

impl ClusterLink {
    pub(crate) fn new(connection: ClusterConnection) -> Self {
        Self {
            connection,
            health: Mutex::default(),
            watch: Mutex::default(),
        }
    }

    pub(crate) async fn set_up(&self, client_name: Option<&str>) -> Result<(), Failure> {
        if let Some(name) = client_name {
            let mut command = Cmd::new();
            command.arg(&["CLIENT", "SETNAME", name]);
            let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllNodes, None));
            // A name is not worth a connection.
            let _ = self.connection.clone().route_command(command, all).await;
        }
        Ok(())
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
        for command in commands.cmd_iter() {
            self.may_be_asked(command)?;
        }
        let mut connection = SideBySide(self.connection.clone());
        Ok(commands.query_async(&mut connection).await)
    }

    /// A server that is known not to answer is not asked: the request costs nothing while it waits.
    fn may_be_asked(&self, command: &Cmd) -> Result<(), Failure> {
        match &*lock(&self.health) {
            Health::OneSilent(slots)
                if key(command).is_some_and(|key| slots.contains(&Slot::for_key(key))) =>
            {
                Err(Failure::Transient(Fault::no_answer()))
            }
            Health::Down => Err(Failure::Transient(cluster_down())),
            _ => Ok(()),
        }
    }

    pub(crate) async fn ping(&self) -> Result<(), Failure> {
        let refused = |error| Failure::of_command(error, |_| "CLUSTER".to_owned()).of_cluster();
        // Whoever may not ask for it is told so here.
        self.ask("CLUSTER MYID", Random).await.map_err(refused)?;
        match self.is_down(Random).await.map_err(refused)? {
            true => Err(Failure::Transient(cluster_down())),
            false => Ok(()),
        }
    }

    /// What a fault means for those whose sessions are elsewhere, if anything.
    pub(crate) fn outage(&self, fault: Fault) -> Option<Fault> {
        match &*lock(&self.health) {
            Health::Fine | Health::OneSilent(_) => fault.reply().is_some().then_some(fault),
            Health::Down => Some(cluster_down()),
            Health::Lost => Some(fault),
        }
    }

    async fn is_down(&self, whom: SingleNodeRoutingInfo) -> RedisResult<bool> {
        let info: InfoDict = from_redis_value(self.ask("CLUSTER INFO", whom).await?)?;
        Ok(info.get::<String>("cluster_state").as_deref() == Some("fail"))
    }

    async fn ask(&self, question: &str, whom: SingleNodeRoutingInfo) -> RedisResult<Value> {
        let mut command = Cmd::new();
        command.arg(question.split(' ').collect::<Vec<_>>());
        let mut cluster = self.connection.clone();
        let reply = cluster.route_command(command, RoutingInfo::SingleNode(whom));
        reply.await?.extract_error()
    }
}

fn cluster_down() -> Fault {
    Fault(Kind::Reply("CLUSTERDOWN".to_owned()))
}

/// The key of a command of ours: its first argument, or the first key of a script.
fn key(command: &Cmd) -> Option<&[u8]> {
    let mut words = command.args_iter().map(|word| match word {
        Arg::Simple(word) => word,
        _ => b"",
    });
    match words.next()? {
        b"EVAL" | b"EVALSHA" => words.nth(2),
        b"CLIENT" | b"CLUSTER" | b"PING" => None,
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
        let cluster = &self.0;
        let each = commands.cmd_iter().map(|command| {
            let mut cluster = cluster.clone();
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
        let watching = Watch {
            connector: Arc::clone(connector),
            lease: lease.clone(),
            log: Arc::clone(log),
        };
        *watch = Some(tokio::spawn(watching.until_well()));
    }
    true
}

struct Watch {
    connector: Arc<Connector>,
    lease: Lease,
    log: Arc<Log>,
}

impl Watch {
    /// So often another connection is tried while the masters are the same: if it is not the
    /// connection that is silent but the server, others do not reach it either.
    const SUCCESSOR_EVERY: Duration = Duration::from_secs(2);

    async fn until_well(self) {
        let mut backoff = Backoff::default();
        let mut checkup = Checkup::new(&self.lease.connection, self.connector.deadline / 4);
        let mut tried: Option<(Instant, Masters)> = None;
        while self.lease.is_current() {
            let health = checkup.diagnose().await;
            let is_silent = matches!(health, Health::OneSilent(_));
            let is_over = matches!(health, Health::Fine | Health::Lost);
            if matches!(health, Health::Lost) {
                self.lease.give_up(&Fault::no_answer(), &self.log);
            }
            *lock(&checkup.link().health) = health;
            if is_over {
                return;
            }
            let is_due = tried.as_ref().is_none_or(|(when, masters)| {
                when.elapsed() >= Self::SUCCESSOR_EVERY || *masters != checkup.masters
            });
            if is_silent && is_due {
                tried = Some((Instant::now(), checkup.masters.clone()));
                self.replace_if_better().await;
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn replace_if_better(&self) {
        self.lease.leave_pool();
        if let Ok((connection, place)) = self.connector.connect().await {
            let mut checkup = Checkup::new(&connection, self.connector.deadline / 4);
            if matches!(checkup.diagnose().await, Health::Fine) {
                self.lease.replace(connection, place);
            } else {
                place.discard();
            }
        }
    }
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
    unanswered: BTreeMap<String, Shared<BoxFuture<'static, bool>>>,
}

impl Checkup {
    fn new(connection: &Arc<Connection>, patience: Duration) -> Self {
        Self {
            connection: Arc::clone(connection),
            patience,
            masters: Masters::new(),
            unanswered: BTreeMap::new(),
        }
    }

    fn link(&self) -> &ClusterLink {
        let link = self.connection.cluster();
        link.expect("only connections to a cluster are looked after")
    }

    async fn diagnose(&mut self) -> Health {
        let Some(masters) = self.ask_for_masters().await else {
            return Health::Lost;
        };
        self.masters = masters;
        self.unanswered
            .retain(|id, _| self.masters.contains_key(id));
        let is_down = timeout(self.patience, self.link().is_down(self.anyone_alive()));
        if let Ok(Ok(true)) = is_down.await {
            return Health::Down;
        }
        self.greet_all().await;
        if self.unanswered.is_empty() {
            return Health::Fine;
        }
        let silent = self.unanswered.keys().filter_map(|id| self.masters.get(id));
        let slots = silent.flatten().flat_map(|(first, last)| *first..=*last);
        Health::OneSilent(slots.filter_map(Slot::new).collect())
    }

    /// Which master has which slots, if any server answers.
    async fn ask_for_masters(&self) -> Option<Masters> {
        // Who has answered before is asked alone; else some may be silent, so often chance does not
        // pick only those.
        let times = if self.masters.is_empty() { 16 } else { 1 };
        let whom = || self.anyone_alive();
        let asked = (0..times).map(|_| self.link().ask("CLUSTER SLOTS", whom()).boxed());
        let reply = timeout(self.patience, select_ok(asked)).await.ok()?;
        match reply.ok()?.0 {
            Value::Array(ranges) => masters(&ranges),
            _ => None,
        }
    }

    fn anyone_alive(&self) -> SingleNodeRoutingInfo {
        let mut alive = self.masters.iter();
        let alive = alive.find(|(id, _)| !self.unanswered.contains_key(*id));
        alive.map_or(Random, |(_, slots)| master_of(slots))
    }

    async fn greet_all(&mut self) {
        let cluster = self.link().connection.clone();
        for (id, slots) in &self.masters {
            let greeting = || greet(cluster.clone(), master_of(slots), id.clone());
            let unanswered = self.unanswered.entry(id.clone());
            unanswered.or_insert_with(|| greeting().boxed().shared());
        }
        let patience = self.patience;
        let answers = join_all(self.unanswered.iter().map(async |(id, answer)| {
            let is_itself = timeout(patience, answer.clone()).await;
            (id.clone(), is_itself)
        }));
        for (id, is_itself) in answers.await {
            match is_itself {
                Ok(true) => drop(self.unanswered.remove(&id)),
                // Another server has answered in its place: it is asked anew next time.
                Ok(false) => {
                    let slots = self.masters.get(&id).map_or(&[][..], Vec::as_slice);
                    let greeting = greet(cluster.clone(), master_of(slots), id.clone());
                    self.unanswered.insert(id, greeting.boxed().shared());
                }
                Err(_) => {}
            }
        }
    }
}

/// Whether this master answers: by its name, since redis-rs asks any other server when it has no
/// connection to the one.
async fn greet(connection: ClusterConnection, whom: SingleNodeRoutingInfo, id: String) -> bool {
    let link = ClusterLink::new(connection);
    let name = link.ask("CLUSTER MYID", whom).await;
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
