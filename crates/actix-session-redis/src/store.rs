use std::sync::Arc;

use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use actix_web::cookie::time::Duration;
use deadpool_redis::redis::{AsyncCommands, SetExpiry, SetOptions, pipe};

use crate::{
    builder::RedisSessionStoreBuilder,
    codec::{self, State},
    entry::{self, Entry},
    error::Error,
    keyspace::Keyspace,
    lease::Leases,
    pool::RedisPool,
};

/// How long Redis remembers that a session has ended: longer than any request that was running
/// at that moment.
const ENDED_MARKER_MS: u64 = 5 * 60 * 1000;

/// Keeps the sessions of [`SessionMiddleware`](actix_session::SessionMiddleware) in Redis.
///
/// Make one per process, before `HttpServer::new`, and clone it into the app factory: clones are
/// cheap and share the connections.
///
/// ```no_run
/// use actix_session::SessionMiddleware;
/// use actix_session_redis::RedisSessionStore;
/// use actix_web::{App, HttpServer, cookie::Key};
///
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisSessionStore::from_url("redis://127.0.0.1:6379")?;
/// let key = Key::generate(); // in production: the same secret for every instance
/// HttpServer::new(move || App::new().wrap(SessionMiddleware::new(store.clone(), key.clone())))
///     .bind(("127.0.0.1", 8080))?
///     .run()
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Every operation of [`SessionStore`] fails with an [`Error`] that can be downcast from the
/// [`anyhow::Error`] which the trait asks for:
///
/// - [`Error::Unavailable`] when Redis gives no answer before the deadline;
/// - [`Error::Refused`] when Redis declines the command;
/// - [`Error::Unreadable`] (`load` only, as [`LoadError::Deserialization`]);
/// - [`Error::StateTooLarge`] and [`Error::InvalidTtl`] (`save`, `update`, `update_ttl`), before
///   anything is sent.
#[derive(Clone, Debug)]
pub struct RedisSessionStore {
    pub(crate) leases: Arc<Leases>,
    pub(crate) keyspace: Arc<Keyspace>,
    pub(crate) max_state_bytes: usize,
}

impl RedisSessionStore {
    /// A store on a connection pool of yours, with every option at its default.
    ///
    /// Does no I/O and cannot fail: connections are made when the first request needs them.
    pub fn new(pool: impl Into<RedisPool>) -> Self {
        Self::builder(pool).build()
    }

    /// A store with a pool of its own, with every option at its default.
    ///
    /// The URL is `redis://[user][:password@]host[:port][/db]` for TCP and
    /// `redis+unix:///path[?db=N&user=U&pass=P]` for a Unix socket, as the
    /// [`redis`](deadpool_redis::redis#connection-parameters) crate reads them. The pool holds
    /// twice as many connections as there are CPU cores. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`] when the URL cannot be understood.
    pub fn from_url(url: impl AsRef<str>) -> Result<Self, Error> {
        RedisPool::from_url(url.as_ref()).map(Self::new)
    }

    /// A store on a connection pool of yours, with options.
    pub fn builder(pool: impl Into<RedisPool>) -> RedisSessionStoreBuilder {
        RedisSessionStoreBuilder::new(pool.into())
    }

    /// Asks Redis for a sign of life: for readiness checks.
    ///
    /// It goes the way that the requests of the calling thread go, so it waits for the
    /// [`deadline`](RedisSessionStoreBuilder::deadline) at most, and during an outage it fails at
    /// once while another request is already probing.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] and [`Error::Refused`], as for every operation.
    pub async fn ping(&self) -> Result<(), Error> {
        self.leases
            .run(async |mut redis| Ok(redis.ping().await?))
            .await
    }

    fn entry(&self, state: &State, ttl: &Duration) -> Result<Entry, Error> {
        Entry::new(codec::encode(state, self.max_state_bytes)?, ttl)
    }
}

impl SessionStore for RedisSessionStore {
    async fn load(&self, session_key: &SessionKey) -> Result<Option<State>, LoadError> {
        let redis_key = self.keyspace.session(session_key);
        let body: Option<Vec<u8>> = self
            .leases
            .run(async |mut redis| Ok(redis.get(&redis_key).await?))
            .await
            .map_err(into_load_error)?;
        body.map(|body| codec::decode(&body))
            .transpose()
            .map_err(into_load_error)
    }

    async fn save(&self, state: State, ttl: &Duration) -> Result<SessionKey, SaveError> {
        let entry = self.entry(&state, ttl).map_err(into_save_error)?;
        self.leases
            .run(async |mut redis| entry.create(&mut redis, &self.keyspace).await)
            .await
            .map_err(into_save_error)
    }

    async fn update(
        &self,
        session_key: SessionKey,
        state: State,
        ttl: &Duration,
    ) -> Result<SessionKey, UpdateError> {
        let entry = self.entry(&state, ttl).map_err(into_update_error)?;
        let redis_key = self.keyspace.session(&session_key);
        let new_session_key = self
            .leases
            .run(async |mut redis| {
                if entry.replace(&mut redis, &redis_key).await? {
                    return Ok(None);
                }
                let ended = self.keyspace.ended(&session_key);
                if redis.exists(&ended).await? {
                    tracing::debug!("dropped a write to a session that has ended");
                    return Ok(None);
                }
                // It expired while the request ran: its state goes on under a new session key.
                // Unless another request ends it just now; that one cannot know the new key.
                let new_session_key = entry.create(&mut redis, &self.keyspace).await?;
                if redis.exists(&ended).await? {
                    let () = redis.del(self.keyspace.session(&new_session_key)).await?;
                    return Ok(None);
                }
                Ok(Some(new_session_key))
            })
            .await
            .map_err(into_update_error)?;
        Ok(new_session_key.unwrap_or(session_key))
    }

    async fn update_ttl(&self, session_key: &SessionKey, ttl: &Duration) -> anyhow::Result<()> {
        let ttl_ms = entry::ttl_ms(ttl)?;
        let redis_key = self.keyspace.session(session_key);
        self.leases
            .run(async |mut redis| Ok(redis.pexpire::<_, ()>(&redis_key, ttl_ms).await?))
            .await?;
        Ok(())
    }

    async fn delete(&self, session_key: &SessionKey) -> anyhow::Result<()> {
        // The marker first: a session that is gone without one would be taken for expired.
        let mut end = pipe();
        end.set_options(
            self.keyspace.ended(session_key),
            "",
            SetOptions::default().with_expiration(SetExpiry::PX(ENDED_MARKER_MS)),
        )
        .del(self.keyspace.session(session_key));
        self.leases
            .run(async |mut redis| Ok(end.exec_async(&mut redis).await?))
            .await?;
        Ok(())
    }
}

fn into_load_error(error: Error) -> LoadError {
    match error {
        Error::Unreadable { .. } => LoadError::Deserialization(error.into()),
        _ => LoadError::Other(error.into()),
    }
}

fn into_save_error(error: Error) -> SaveError {
    SaveError::Other(error.into())
}

fn into_update_error(error: Error) -> UpdateError {
    UpdateError::Other(error.into())
}
