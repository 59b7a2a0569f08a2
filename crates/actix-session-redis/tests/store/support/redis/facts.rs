//! What the server knows: facts for the tests, from its side.

use std::collections::BTreeMap;

use actix_session_redis::deadpool_redis::redis::{self, FromRedisValue, InfoDict};

use super::TestRedis;
use crate::support::{sealing, sessions::State};

/// How often each command was asked for, refused ones included.
pub(crate) type Commands = BTreeMap<String, u64>;

/// For comparison with what [`TestRedis::commands_during`] counted.
pub(crate) fn commands<const N: usize>(counts: [(&str, u64); N]) -> Commands {
    counts.map(|(name, n)| (name.to_owned(), n)).into()
}

/// What the application has stored in the session with this Redis key, if it is one, and these are its
/// fields.
pub(crate) fn state_in(redis_key: &str, fields: BTreeMap<Vec<u8>, Vec<u8>>) -> Option<State> {
    let is_session = fields.contains_key(&b"\xFFborn"[..]);
    let fields = fields
        .into_iter()
        .filter(|(field, _)| !field.starts_with(b"\xFF"));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let json = |field: &[u8], value: &[u8]| {
        let json = sealing::open(redis_key, field, value);
        text(json.unwrap_or_else(|| panic!("nobody knows the session key of {redis_key}")))
    };
    is_session.then(|| {
        fields
            .map(|(field, value)| (text(field.clone()), json(&field, &value)))
            .collect()
    })
}

impl TestRedis {
    /// Runs a command whose arguments hold no spaces.
    pub(crate) fn run<T: FromRedisValue>(&self, command: &str) -> T {
        self.server.run(command)
    }

    pub(crate) fn query<T: FromRedisValue>(&self, command: &redis::Cmd) -> T {
        self.server.try_query(command).unwrap()
    }

    pub(crate) fn learn(&self, script: &str) {
        self.query::<()>(redis::cmd("SCRIPT").arg("LOAD").arg(script));
    }

    pub(crate) fn put(&self, key: &str, value: &[u8]) {
        self.query::<()>(redis::cmd("SET").arg(key).arg(value));
    }

    /// As a store writes them that knows the session.
    pub(crate) fn put_in_session(&self, key: &str, fields: &[(&[u8], &[u8])]) {
        for (field, value) in fields {
            self.put_fields(key, &[(field, &sealing::seal(key, field, value))]);
        }
    }

    /// As a hash.
    pub(crate) fn put_fields(&self, key: &str, fields: &[(&[u8], &[u8])]) {
        self.query::<()>(redis::cmd("HSET").arg(key).arg(fields));
    }

    /// What the application has stored in a session, if there is one.
    pub(crate) fn state(&self, key: &str) -> Option<State> {
        state_in(key, self.run(&format!("HGETALL {key}")))
    }

    /// Value and time to live as one, to see that nobody has touched either.
    pub(crate) fn dump(&self, key: &str) -> (Vec<u8>, i64) {
        (
            self.run(&format!("DUMP {key}")),
            self.run(&format!("PEXPIRETIME {key}")),
        )
    }

    /// All Redis keys of database 0, in order.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.run("KEYS *");
        keys.sort();
        keys
    }

    /// The Redis keys of sessions: all but what is kept beside those that have ended.
    pub(crate) fn sessions(&self) -> Vec<String> {
        let mut keys = self.keys();
        keys.retain(|key| !key.contains('{'));
        keys
    }

    /// The Redis key of the only session.
    pub(crate) fn only_session(&self) -> String {
        let sessions = self.sessions();
        assert_eq!(sessions.len(), 1, "one session in {sessions:?}");
        sessions.concat()
    }

    /// Milliseconds; -1 for ever, -2 no such key.
    pub(crate) fn pttl(&self, key: &str) -> i64 {
        self.run(&format!("PTTL {key}"))
    }

    /// Takes the rest of its life from the session: what time does, without the wait.
    pub(crate) fn expire_now(&self, key: &str) {
        assert_eq!(self.run::<i64>(&format!("PEXPIRE {key} -1")), 1);
    }

    /// What the work asked Redis for.
    pub(crate) async fn commands_during<T>(&self, work: impl Future<Output = T>) -> (T, Commands) {
        let before = self.command_counts();
        let output = work.await;
        let mut counts = self.command_counts();
        for (name, n) in &mut counts {
            *n -= before.get(name).unwrap_or(&0);
        }
        counts.retain(|_, &mut n| n > 0);
        (output, counts)
    }

    pub(crate) fn command_count(&self, name: &str) -> u64 {
        self.command_counts().get(name).copied().unwrap_or(0)
    }

    /// The names of the commands that it has answered with an error.
    pub(crate) fn refused_commands(&self) -> Commands {
        let mut counts = self.sums_of(["rejected_calls", "failed_calls"]);
        counts.retain(|_, &mut n| n > 0);
        counts
    }

    fn command_counts(&self) -> Commands {
        self.sums_of(["calls", "rejected_calls"])
    }

    /// Of the statistics of each command, but of `INFO`, which asks for this.
    fn sums_of(&self, fields: [&str; 2]) -> Commands {
        let stats: InfoDict = self.run("INFO commandstats");
        let names = stats.keys().filter_map(|key| key.strip_prefix("cmdstat_"));
        let count = |name: &str| -> u64 {
            let stats: String = stats.get(&format!("cmdstat_{name}")).unwrap();
            let numbers = stats.split(',').filter_map(|stat| stat.split_once('='));
            let those = numbers.filter(|(field, _)| fields.contains(field));
            those.map(|(_, n)| n.parse::<u64>().unwrap()).sum()
        };
        names
            .filter(|&name| name != "info")
            .map(|name| (name.to_owned(), count(name)))
            .collect()
    }

    /// How often it has replied with this error code.
    pub(crate) fn error_count(&self, code: &str) -> u64 {
        let errors: InfoDict = self.run("INFO errorstats");
        let stats: Option<String> = errors.get(&format!("errorstat_{code}"));
        stats.map_or(0, |stats| {
            stats.strip_prefix("count=").unwrap().parse().unwrap()
        })
    }

    pub(super) fn info<T: FromRedisValue>(&self, section: &str, field: &str) -> T {
        let info: InfoDict = self.run(&format!("INFO {section}"));
        info.get(field).unwrap()
    }

    /// Connections that are open now, ours for these questions not counted.
    pub(crate) fn client_count(&self) -> usize {
        let clients: String = self.run("CLIENT LIST TYPE normal");
        clients.lines().count() - 1
    }

    /// Connections that were made since the server's start.
    pub(crate) fn connections_made(&self) -> u64 {
        self.info("stats", "total_connections_received")
    }

    /// Closes all connections but ours for these questions.
    pub(crate) fn kill_clients(&self) {
        self.run::<u64>("CLIENT KILL TYPE normal");
    }
}
