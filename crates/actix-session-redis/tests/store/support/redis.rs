//! A Redis server of the test's own.

mod facts;

use actix_session_redis::{
    RedisSessionStore, RedisSessionStoreBuilder,
    deadpool_redis::{Config, Pool, Runtime},
};
use testbed::Server;

pub(crate) use self::facts::{Commands, commands, state_in};
use super::{eventually, rights, sealing};

pub(crate) struct TestRedis {
    server: Server,
    is_on_unix_socket: bool,
}

impl TestRedis {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With command line arguments for the server.
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let redis = Self::with(arguments);
        redis.start_again().await;
        redis
    }

    pub(crate) async fn start_on_unix_socket() -> Self {
        let mut redis = Self::start().await;
        redis.is_on_unix_socket = true;
        redis
    }

    /// It has its address; [`start_again`](Self::start_again) starts it.
    pub(crate) fn not_started() -> Self {
        Self::with(&[])
    }

    /// It forgets everything when it ends, unless it is told otherwise.
    fn with(arguments: &[&str]) -> Self {
        let arguments = [&["--appendonly", "no"], arguments].concat();
        Self {
            server: rights::start(Server::not_started, &arguments, ""),
            is_on_unix_socket: false,
        }
    }

    // The server's life.

    /// At the same address, with the same data. Whoever waits for it on this thread goes on.
    pub(crate) async fn start_again(&self) {
        self.server.launch();
        eventually("redis-server answers", || self.server.answers()).await;
    }

    /// As `systemctl stop` does.
    pub(crate) fn stop(&self) {
        self.server.stop();
    }

    /// As a crash does.
    pub(crate) fn kill(&self) {
        self.server.kill();
    }

    /// Connections stay open, and nothing is answered.
    pub(crate) fn pause(&self) {
        self.server.pause();
    }

    pub(crate) fn resume(&self) {
        self.server.resume();
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
        if self.is_on_unix_socket {
            self.server.unix_url()
        } else {
            format!("redis://{credentials}{}", self.tcp_address())
        }
    }

    pub(crate) fn tcp_address(&self) -> String {
        self.server.address().to_string()
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

pub(crate) fn pool_at(url: &str) -> Pool {
    let config = Config::from_url(url);
    config.create_pool(Some(Runtime::Tokio1)).unwrap()
}

pub(crate) fn pool_of(size: usize, url: &str) -> Pool {
    let pool = Config::from_url(url).builder().unwrap();
    let pool = pool.max_size(size).runtime(Runtime::Tokio1);
    pool.build().unwrap()
}
