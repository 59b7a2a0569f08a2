//! A Redis server of the test's own, and what it knows.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::Stdio,
    time::Duration,
};

use actix_session_redis::{
    RedisSessionStore, RedisSessionStoreBuilder,
    deadpool_redis::{
        Config, Pool, Runtime,
        redis::{self, Client, ConnectionAddr, FromRedisValue, InfoDict, RedisResult},
    },
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use redis_test::server::RedisServer;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use super::eventually;

/// How often each command was asked for, refused ones included.
pub(crate) type Commands = BTreeMap<String, u64>;

/// For comparison with what [`TestRedis::commands_during`] counted.
pub(crate) fn commands<const N: usize>(counts: [(&str, u64); N]) -> Commands {
    counts.map(|(name, n)| (name.to_owned(), n)).into()
}

pub(crate) struct TestRedis {
    running: RefCell<Option<Running>>,
    address: ConnectionAddr,
    arguments: Vec<String>,
    /// Bound but not listening: nobody else is given the port, and the server can listen on it.
    _reserved_port: Option<Socket>,
    data: TempDir,
}

struct Running {
    server: RedisServer,
    control: redis::Connection,
}

impl TestRedis {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With command line arguments for the server.
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let mut redis = Self::not_started();
        redis.arguments = arguments.iter().map(|&a| a.to_owned()).collect();
        redis.start_again().await;
        redis
    }

    pub(crate) async fn start_on_unix_socket() -> Self {
        let data = TempDir::new().unwrap();
        let address = ConnectionAddr::Unix(data.path().join("redis.sock"));
        let redis = Self::at(address, None, data);
        redis.start_again().await;
        redis
    }

    /// It has its address; [`start_again`](Self::start_again) starts it.
    pub(crate) fn not_started() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any_port.into()).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        let address = ConnectionAddr::Tcp(Ipv4Addr::LOCALHOST.to_string(), port);
        Self::at(address, Some(socket), TempDir::new().unwrap())
    }

    fn at(address: ConnectionAddr, reserved_port: Option<Socket>, data: TempDir) -> Self {
        Self {
            running: RefCell::new(None),
            address,
            arguments: Vec::new(),
            _reserved_port: reserved_port,
            data,
        }
    }

    // The server's life.

    /// At the same address, with the same data.
    pub(crate) async fn start_again(&self) {
        let mut server = RedisServer::new_with_addr_tls_modules_and_spawner(
            self.address.clone(),
            None,
            None,
            false,
            None,
            &[],
            |command| {
                command
                    .arg("--dir")
                    .arg(self.data.path())
                    .args(&self.arguments)
                    .stdout(Stdio::null())
                    .stderr(Stdio::inherit())
                    .spawn()
                    .expect("redis-server is installed")
            },
        );
        let mut control = None;
        eventually("redis-server answers", || {
            if let Some(status) = server.process.try_wait().unwrap() {
                panic!("redis-server exited with {status}\n{}", log_of(&server));
            }
            control = self.connect().ok();
            control.is_some()
        })
        .await;
        let pid = server.process.id();
        *self.running.borrow_mut() = control.map(|control| Running { server, control });
        assert_eq!(self.info::<u32>("server", "process_id"), pid);
    }

    fn connect(&self) -> RedisResult<redis::Connection> {
        let mut connection = Client::open(self.url())?.get_connection()?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        redis::cmd("PING").exec(&mut connection)?;
        Ok(connection)
    }

    /// As `systemctl stop` does.
    pub(crate) fn stop(&self) {
        self.signal(Signal::SIGTERM);
        let mut running = self.running.take().unwrap();
        running.server.process.wait().unwrap();
    }

    /// As a crash does.
    pub(crate) fn kill(&self) {
        drop(self.running.take().expect("it is running"));
    }

    /// Connections stay open, and nothing is answered.
    pub(crate) fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let running = self.running.borrow();
        let pid = running.as_ref().unwrap().server.process.id();
        kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }

    // The way in.

    pub(crate) fn url(&self) -> String {
        self.url_as("")
    }

    /// With `user:password@`.
    pub(crate) fn url_as(&self, credentials: &str) -> String {
        match &self.address {
            ConnectionAddr::Unix(path) => format!("redis+unix://{}", path.display()),
            tcp => format!("redis://{credentials}{tcp}"),
        }
    }

    pub(crate) fn tcp_address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn pool(&self) -> Pool {
        pool_at(&self.url())
    }

    pub(crate) fn pool_of(&self, size: usize) -> Pool {
        pool_of(size, &self.url())
    }

    pub(crate) fn store(&self) -> RedisSessionStore {
        RedisSessionStore::new(self.pool())
    }

    pub(crate) fn store_with(
        &self,
        options: impl FnOnce(RedisSessionStoreBuilder) -> RedisSessionStoreBuilder,
    ) -> RedisSessionStore {
        options(RedisSessionStore::builder(self.pool())).build()
    }

    // What the server knows.

    /// Runs a command whose arguments hold no spaces.
    pub(crate) fn run<T: FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        command.arg(words.collect::<Vec<_>>());
        self.query(&command)
    }

    fn query<T: FromRedisValue>(&self, command: &redis::Cmd) -> T {
        let mut running = self.running.borrow_mut();
        let control = &mut running.as_mut().expect("it is running").control;
        command.query(control).unwrap()
    }

    pub(crate) fn put(&self, key: &str, value: &[u8]) {
        self.query::<()>(redis::cmd("SET").arg(key).arg(value));
    }

    pub(crate) fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.run(&format!("GET {key}"))
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

    /// The Redis keys that hold session states: all but the markers of ended sessions and the
    /// receipts of writes.
    pub(crate) fn sessions(&self) -> Vec<String> {
        let mut keys = self.keys();
        keys.retain(|key| !key.contains("ended:") && !is_receipt(key));
        keys
    }

    pub(crate) fn receipts(&self) -> Vec<String> {
        let mut keys = self.keys();
        keys.retain(|key| is_receipt(key));
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

    /// All but `INFO`, which asks for this.
    fn command_counts(&self) -> Commands {
        let stats: InfoDict = self.run("INFO commandstats");
        let names = stats.keys().filter_map(|key| key.strip_prefix("cmdstat_"));
        let count = |name: &str| {
            let stats: String = stats.get(&format!("cmdstat_{name}")).unwrap();
            let number_of = |field: &str| -> u64 {
                let mut fields = stats.split(',').filter_map(|stat| stat.split_once('='));
                fields
                    .find(|(name, _)| *name == field)
                    .unwrap()
                    .1
                    .parse()
                    .unwrap()
            };
            number_of("calls") + number_of("rejected_calls")
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

    fn info<T: FromRedisValue>(&self, section: &str, field: &str) -> T {
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

impl Drop for TestRedis {
    fn drop(&mut self) {
        if let Some(running) = self.running.get_mut()
            && std::thread::panicking()
        {
            eprintln!("{}", log_of(&running.server));
        }
    }
}

fn is_receipt(key: &str) -> bool {
    key.contains("written:{")
}

pub(crate) fn pool_at(url: &str) -> Pool {
    let config = Config::from_url(url);
    config.create_pool(Some(Runtime::Tokio1)).unwrap()
}

pub(crate) fn pool_of(size: usize, url: &str) -> Pool {
    let pool = Config::from_url(url).builder().unwrap();
    let pool = pool.max_size(size).runtime(Runtime::Tokio1);
    pool.build().unwrap()
}

fn log_of(server: &RedisServer) -> String {
    let log = fs::read_to_string(&server.log_file).unwrap_or_default();
    format!("log of redis-server at {}:\n{log}", server.client_addr())
}
