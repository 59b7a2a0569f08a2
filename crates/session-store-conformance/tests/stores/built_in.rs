use actix_session::storage::{RedisSessionStore, SessionKey};
use built_in_deadpool_redis::{Config, Runtime};
use session_store_conformance::{Garbage, Harness};
use testbed::Server;

use crate::redis;

/// The store in Redis that is built into actix-session.
pub(crate) struct BuiltIn {
    store: RedisSessionStore,
    server: Server,
}

impl BuiltIn {
    pub(crate) async fn single() -> Self {
        let server = Server::start();
        let store = RedisSessionStore::new(server.url()).await.unwrap();
        Self { store, server }
    }

    pub(crate) async fn pooled() -> Self {
        let server = Server::start();
        let pool = Config::from_url(server.url()).create_pool(Some(Runtime::Tokio1));
        let store = RedisSessionStore::new_pooled(pool.unwrap()).await.unwrap();
        Self { store, server }
    }
}

impl Harness for BuiltIn {
    type Store = RedisSessionStore;

    fn store(&self) -> RedisSessionStore {
        self.store.clone()
    }

    async fn overwrite(&self, session_key: &SessionKey, garbage: Garbage<'_>) -> bool {
        redis::overwrite(&self.server, session_key.as_ref(), garbage)
    }

    async fn contents(&self) -> Option<Vec<u8>> {
        Some(redis::contents(&self.server))
    }
}
