//! A Redis server of the test's own.

mod facts;

use std::{cell::RefCell, fs, process::Stdio, time::Duration};

use actix_session_redis::{
    RedisSessionStore, RedisSessionStoreBuilder,
    deadpool_redis::{
        Config, Pool, Runtime,
        redis::{self, Client, ConnectionAddr, RedisResult},
    },
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use redis_fixtures::ReservedPort;
use redis_test::server::RedisServer;
use tempfile::TempDir;

pub(crate) use self::facts::{Commands, commands, state_in};
use super::{eventually, rights, sealing};

pub(crate) struct TestRedis {
    running: RefCell<Option<Running>>,
    address: ConnectionAddr,
    arguments: Vec<String>,
    /// Its own, and that of its cluster bus if it is a node of a cluster.
    reserved_ports: Vec<ReservedPort>,
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
        redis
            .arguments
            .extend(arguments.iter().map(|&a| a.to_owned()));
        if let Some(port) = ReservedPort::for_cluster_bus(arguments) {
            let number = port.address().port().to_string();
            redis
                .arguments
                .extend(["--cluster-port".to_owned(), number]);
            redis.reserved_ports.push(port);
        }
        redis.start_again().await;
        redis
    }

    pub(crate) async fn start_on_unix_socket() -> Self {
        let data = TempDir::new().unwrap();
        let address = ConnectionAddr::Unix(data.path().join("redis.sock"));
        let redis = Self::at(address, Vec::new(), data);
        redis.start_again().await;
        redis
    }

    /// It has its address; [`start_again`](Self::start_again) starts it.
    pub(crate) fn not_started() -> Self {
        let port = ReservedPort::any();
        let address = port.address();
        let address = ConnectionAddr::Tcp(address.ip().to_string(), address.port());
        Self::at(address, vec![port], TempDir::new().unwrap())
    }

    fn at(address: ConnectionAddr, reserved_ports: Vec<ReservedPort>, data: TempDir) -> Self {
        Self {
            running: RefCell::new(None),
            address,
            arguments: rights::arguments(""),
            reserved_ports,
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

    /// For stores.
    pub(crate) fn store_url(&self) -> String {
        self.url_as(&rights::credentials())
    }

    /// With `user:password@`, or empty.
    pub(crate) fn url_as(&self, credentials: &str) -> String {
        match &self.address {
            ConnectionAddr::Unix(path) => {
                let credentials = credentials.trim_end_matches('@').split_once(':');
                let query =
                    credentials.map(|(user, password)| format!("?user={user}&pass={password}"));
                format!(
                    "redis+unix://{}{}",
                    path.display(),
                    query.unwrap_or_default()
                )
            }
            tcp => format!("redis://{credentials}{tcp}"),
        }
    }

    pub(crate) fn tcp_address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn pool(&self) -> Pool {
        pool_at(&self.store_url())
    }

    pub(crate) fn pool_of(&self, size: usize) -> Pool {
        pool_of(size, &self.store_url())
    }

    pub(crate) fn store(&self) -> RedisSessionStore {
        sealing::options(self.pool()).build()
    }

    pub(crate) fn store_with(
        &self,
        options: impl FnOnce(RedisSessionStoreBuilder) -> RedisSessionStoreBuilder,
    ) -> RedisSessionStore {
        options(sealing::options(self.pool())).build()
    }

    /// With options that do not go together with sealing.
    pub(crate) fn unsealed_store_with(
        &self,
        options: impl FnOnce(RedisSessionStoreBuilder) -> RedisSessionStoreBuilder,
    ) -> RedisSessionStore {
        options(RedisSessionStore::builder(self.pool())).build()
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
