use actix_session::{SessionMiddleware, storage::SessionKey};
use actix_session_redis::{
    ConsistentSessions, KeyRing, RedisPool, RedisSessionStore, RedisSessionStoreBuilder, SessionId,
};
use actix_web::{
    Error,
    body::MessageBody,
    cookie::time::Duration,
    dev::{ServiceRequest, ServiceResponse, Transform},
};
use session_store_conformance::{Application, Garbage, Harness};
use testbed::Server;

use crate::redis;

/// Our store, alone.
pub(crate) struct Ours {
    store: RedisSessionStore,
    server: Server,
}

impl Ours {
    pub(crate) fn plain() -> Self {
        Self::with(|options| options)
    }

    pub(crate) fn sealed() -> Self {
        let keys = KeyRing::new([b"the key of tests, never of users"]).unwrap();
        Self::with(|options| options.seal(keys))
    }

    fn with(options: impl FnOnce(RedisSessionStoreBuilder) -> RedisSessionStoreBuilder) -> Self {
        let server = Server::start();
        let pool = RedisPool::from_url(server.url()).unwrap();
        let store = options(RedisSessionStore::builder(pool)).build();
        Self { store, server }
    }
}

impl Harness for Ours {
    type Store = RedisSessionStore;

    fn store(&self) -> RedisSessionStore {
        self.store.clone()
    }

    fn shortest_ttl(&self) -> Duration {
        Duration::milliseconds(200)
    }

    async fn overwrite(&self, session_key: &SessionKey, garbage: Garbage<'_>) -> bool {
        let name = format!("session:{}", SessionId::of(session_key));
        redis::overwrite(&self.server, &name, garbage)
    }

    async fn contents(&self) -> Option<Vec<u8>> {
        Some(redis::contents(&self.server))
    }
}

/// The same, inside of our middleware.
pub(crate) struct Consistent(pub(crate) Ours);

impl Harness for Consistent {
    type Store = RedisSessionStore;

    fn store(&self) -> RedisSessionStore {
        self.0.store()
    }

    fn middleware(
        &self,
        sessions: SessionMiddleware<RedisSessionStore>,
    ) -> impl Transform<
        Application,
        ServiceRequest,
        Response = ServiceResponse<impl MessageBody + 'static>,
        Error = Error,
        InitError = (),
    > + 'static {
        ConsistentSessions::new(sessions)
    }

    fn shortest_ttl(&self) -> Duration {
        self.0.shortest_ttl()
    }

    async fn overwrite(&self, session_key: &SessionKey, garbage: Garbage<'_>) -> bool {
        self.0.overwrite(session_key, garbage).await
    }

    async fn contents(&self) -> Option<Vec<u8>> {
        self.0.contents().await
    }
}
