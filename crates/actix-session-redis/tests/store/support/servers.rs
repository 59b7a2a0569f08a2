//! One server or a cluster: what a test drives with its requests by turns.

use std::{collections::BTreeMap, rc::Rc, slice, time::Duration};

#[cfg(feature = "cluster")]
use actix_session_redis::deadpool_redis::{Runtime, cluster::Config};
use actix_session_redis::{
    RedisSessionStore, RedisSessionStoreBuilder,
    deadpool_redis::redis::{self, FromRedisValue},
};
#[cfg(feature = "cluster")]
use testbed::Cluster;
use testbed::Server;

use super::{
    proxy::{ClusterProxies, Command, Fate, Proxy},
    redis::{pool_at, state_in},
    rights, sealing,
    sessions::State,
};

/// What the requests talk to.
pub(crate) enum Servers {
    One(Box<Server>),
    #[cfg(feature = "cluster")]
    Cluster(Cluster),
}

/// A Redis key.
pub(crate) struct Entry {
    pub(crate) pttl: i64,
    /// If it is a session.
    pub(crate) state: Option<State>,
}

impl Servers {
    pub(crate) fn one() -> Self {
        let server = rights::start(Server::start_with, &["--appendonly", "no"], "");
        Self::One(server.into())
    }

    #[cfg(feature = "cluster")]
    pub(crate) fn cluster() -> Self {
        // However busy the machine is, no node takes another one for dead.
        let arguments = ["--cluster-node-timeout", "60000"];
        let start = Cluster::start_masters_with;
        Self::Cluster(rights::start_cluster(start, &arguments))
    }

    pub(crate) fn all(&self) -> &[Server] {
        match self {
            Self::One(server) => slice::from_ref(&**server),
            #[cfg(feature = "cluster")]
            Self::Cluster(cluster) => cluster.nodes(),
        }
    }

    // The way in.

    /// Asks `fate` about every command before a server gets it.
    pub(crate) async fn behind_proxies(
        &self,
        fate: impl FnMut(&Command) -> Fate + Clone + 'static,
    ) -> (Vec<Proxy>, RedisSessionStoreBuilder) {
        let (mut proxies, cluster) = (Vec::new(), Rc::<ClusterProxies>::default());
        for server in self.all() {
            let (address, fate) = (server.address(), fate.clone());
            let (server, of_proxy) = (address.to_string(), Rc::clone(&cluster));
            let proxy = Proxy::before_server(server, of_proxy, fate).await;
            let mut ports = cluster.ports.borrow_mut();
            ports.insert(address.port(), proxy.port());
            proxies.push(proxy);
        }
        let urls = proxies.iter().map(|proxy| proxy.store_url());
        let options = self.options_at(urls.collect());
        (proxies, options)
    }

    pub(crate) fn store(&self) -> RedisSessionStore {
        self.builder().build()
    }

    /// The way in without proxies.
    pub(crate) fn builder(&self) -> RedisSessionStoreBuilder {
        let urls = self.all().iter().map(|server| rights::url(&server.url()));
        self.options_at(urls.collect())
    }

    fn options_at(&self, urls: Vec<String>) -> RedisSessionStoreBuilder {
        match self {
            Self::One(_) => sealing::options(pool_at(&urls[0])),
            #[cfg(feature = "cluster")]
            Self::Cluster(_) => {
                let pool = Config::from_urls(urls).create_pool(Some(Runtime::Tokio1));
                sealing::options(pool.unwrap())
            }
        }
    }

    // What they hold.

    /// Runs a command on the server that its key belongs to: the others refuse it.
    pub(crate) fn run<T: FromRedisValue>(&self, command: &str) -> T {
        let mut replies = self.all().iter().map(|server| server.try_run(command));
        let reply = replies.find_map(Result::ok);
        reply.unwrap_or_else(|| panic!("no server carries out {command}"))
    }

    pub(crate) fn learn(&self, script: &str) {
        for server in self.all() {
            let load = redis::cmd("SCRIPT").arg("LOAD").arg(script).take();
            server.try_query::<()>(&load).unwrap();
        }
    }

    /// Another master gets the slot of this key, with all that is in it.
    pub(crate) fn move_slot_of(&self, key: &str) {
        match self {
            Self::One(_) => panic!("one server has no slots to move, not even that of {key}"),
            #[cfg(feature = "cluster")]
            Self::Cluster(cluster) => {
                let slot = cluster.slot_of_key(key);
                let (source, masters) = (cluster.node_of_slot(slot), cluster.masters());
                let target = masters.iter().find(|&&it| it != source).unwrap();
                let slot = cluster.begin_move(slot, target);
                slot.move_keys();
                slot.finish();
            }
        }
    }

    pub(crate) fn forget_all_keys(&self) {
        for server in self.all() {
            server.run::<()>("FLUSHALL");
        }
    }

    /// What time does to all keys, without the wait.
    pub(crate) fn let_pass(&self, time: Duration) {
        let passed = i64::try_from(time.as_millis()).unwrap();
        for (server, key) in self.keys() {
            let left: i64 = server.run(&format!("PTTL {key}"));
            // Without a TTL, it stays for ever.
            if left >= 0 {
                server.run::<()>(&format!("PEXPIRE {key} {}", left - passed));
            }
        }
    }

    /// Each with the server that has it.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&Server, String)> {
        let keys = |server: &Server| server.run::<Vec<String>>("KEYS *");
        let servers = self.all().iter();
        servers.flat_map(move |server| keys(server).into_iter().map(move |key| (server, key)))
    }

    pub(crate) fn entries(&self) -> BTreeMap<String, Entry> {
        let entry = |(server, key): (&Server, String)| {
            let pttl = server.run(&format!("PTTL {key}"));
            // Sessions are hashes, and what is kept beside them has the session's name in braces.
            let is_beside = key.contains('{');
            let state = (!is_beside).then(|| server.run(&format!("HGETALL {key}")));
            let state = state.and_then(|fields| state_in(&key, fields));
            (key, Entry { pttl, state })
        };
        self.keys().map(entry).collect()
    }
}
