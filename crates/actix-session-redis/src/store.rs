use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use actix_web::cookie::time::Duration;

use crate::{
    builder::RedisSessionStoreBuilder,
    client::lease::Leases,
    client::operation::Operation,
    client::pool::RedisPool,
    error::Error,
    middleware::request_scope,
    session::codec::{self, State},
    session::entry::{self, Entry},
    session::keyspace::{Keyspace, draw_id, draw_session_key, is_session_key},
    session::merge::MergeRules,
    session::script::{self, Ended},
    session::stamp::stamped,
    telemetry,
    telemetry::outcome::Outcome,
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
/// - [`Error::Unavailable`] when Redis gives no answer before the deadline, and whatever a request
///   writes that was loaded as anonymous
///   [during an outage](RedisSessionStoreBuilder::anonymous_during_outage);
/// - [`Error::Refused`] when Redis declines the command;
/// - [`Error::Unreadable`] (`load` only, as [`LoadError::Deserialization`]);
/// - [`Error::StateTooLarge`] (`save`, `update`) and [`Error::InvalidTtl`] (those and
///   `update_ttl`), before anything is sent;
/// - [`Error::MergePanicked`] and [`Error::Contended`] (`update` inside
///   [`ConsistentSessions`](crate::ConsistentSessions)).
#[derive(Clone, Debug)]
pub struct RedisSessionStore {
    pub(crate) leases: Arc<Leases>,
    pub(crate) keyspace: Arc<Keyspace>,
    pub(crate) max_state_bytes: usize,
    pub(crate) anonymous_during_outage: bool,
    pub(crate) merge_rules: Arc<MergeRules>,
    /// Whether sessions are prolonged here without being written. Only then it pays to ask for
    /// their TTL when they are loaded.
    pub(crate) refreshes: Arc<AtomicBool>,
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
    /// The pool is that of [`RedisPool::from_url`]; `builder(RedisPool::from_url(url)?)` is the
    /// same with options. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`] when the URL cannot be understood.
    pub fn from_url(url: impl AsRef<str>) -> Result<Self, Error> {
        RedisPool::from_url(url).map(Self::new)
    }

    /// A store on a connection pool of yours, with options.
    pub fn builder(pool: impl Into<RedisPool>) -> RedisSessionStoreBuilder {
        RedisSessionStoreBuilder::new(pool.into())
    }

    /// Asks Redis for a sign of life: for readiness checks. In a cluster, any of the servers may give
    /// it, and it fails when that server says that the cluster serves nobody.
    ///
    /// It goes the way that the requests of the calling thread go, so it waits for the
    /// [`deadline`](RedisSessionStoreBuilder::deadline) at most, and during an outage it fails at
    /// once while another request is already probing.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] and [`Error::Refused`], as for every operation.
    pub async fn ping(&self) -> Result<(), Error> {
        let redis = self.operation("ping");
        let pong = redis.run(async |mut redis| redis.ping().await);
        redis.observe(pong).await
    }

    /// Starts the clock of one operation.
    fn operation(&self, name: &'static str) -> Operation<'_> {
        Operation::start(name, &self.leases)
    }

    pub(crate) fn entry(&self, state: &State, ttl: &Duration) -> Result<Entry, Error> {
        Entry::new(stamped(codec::encode(state, self.max_state_bytes)?), ttl)
    }

    /// Whether the request goes on although its session could not be loaded.
    fn go_on_as_anonymous(&self, error: &Error) -> bool {
        self.anonymous_during_outage
            && matches!(error, Error::Unavailable { .. })
            && request_scope::go_on_as_anonymous(&self.keyspace, error)
    }

    /// Not if the request goes on as anonymous: it would overwrite, or end, a session that it has
    /// never seen.
    fn may_write(&self) -> Result<(), Error> {
        request_scope::outage(&self.keyspace).map_or(Ok(()), Err)
    }
}

impl SessionStore for RedisSessionStore {
    async fn load(&self, session_key: &SessionKey) -> Result<Option<State>, LoadError> {
        if !is_session_key(session_key) {
            return Ok(None);
        }
        let redis = self.operation("load");
        let loaded = redis.observe(async {
            let redis_key = self.keyspace.session(session_key);
            let with_ttl = request_scope::is_open() && self.refreshes.load(Relaxed);
            let read = redis
                .run(async |mut redis| entry::read(&mut redis, &redis_key, with_ttl).await)
                .await;
            let (body, ttl_left_ms) = match read {
                Err(error) if self.go_on_as_anonymous(&error) => {
                    redis.turns_out(Outcome::of(&error));
                    // Not `None`: to the middleware that is a visitor without a session. It would
                    // set a new cookie for what the request writes, and answer a logout as if
                    // there had been one.
                    return Ok(Some(State::new()));
                }
                read => read?,
            };
            let Some(body) = body else {
                redis.turns_out(Outcome::Missing);
                return Ok(None);
            };
            let state = codec::decode(&body)?;
            request_scope::remember(&self.keyspace, session_key, body, ttl_left_ms);
            Ok(Some(state))
        });
        loaded.await.map_err(into_load_error)
    }

    async fn save(&self, state: State, ttl: &Duration) -> Result<SessionKey, SaveError> {
        let redis = self.operation("save");
        let saved = redis.observe(async {
            self.may_write()?;
            if request_scope::session_has_ended() {
                // Another request has ended the session that this one renews.
                redis.drops_write();
                return Ok(draw_session_key());
            }
            let state = self.with_late_changes(state)?;
            let entry = self.entry(&state, ttl)?;
            redis
                .run(async |mut redis| entry.create(&mut redis, &self.keyspace).await)
                .await
        });
        saved.await.map_err(into_save_error)
    }

    async fn update(
        &self,
        session_key: SessionKey,
        state: State,
        ttl: &Duration,
    ) -> Result<SessionKey, UpdateError> {
        let redis = self.operation("update");
        let updated = redis.observe(async {
            self.may_write()?;
            let written = match request_scope::base(&self.keyspace, &session_key) {
                Some(base) => self.merge(&redis, &session_key, &base, &state, ttl).await?,
                None => self.replace(&redis, &session_key, &state, ttl).await?,
            };
            if written {
                return Ok(None);
            }
            Box::pin(self.save_expired(&redis, &session_key, &state, ttl)).await
        });
        let new_session_key = updated.await.map_err(into_update_error)?;
        Ok(new_session_key.unwrap_or(session_key))
    }

    async fn update_ttl(&self, session_key: &SessionKey, ttl: &Duration) -> anyhow::Result<()> {
        if self.may_write().is_err() {
            // The request has only read, as an anonymous visitor may.
            return Ok(());
        }
        let redis = self.operation("update_ttl");
        let refreshed = redis.observe(async {
            if !self.refresh(&redis, session_key, ttl).await? {
                redis.turns_out(Outcome::Missing);
                // A cookie would name a session that is gone, and may replace that of its
                // successor.
                request_scope::leave_cookie();
            }
            Ok(())
        });
        refreshed.await.map_err(logged)
    }

    async fn delete(&self, session_key: &SessionKey) -> anyhow::Result<()> {
        let redis = self.operation("delete");
        let deleted = redis.observe(async {
            self.may_write()?;
            let redis_key = self.keyspace.session(session_key);
            let marker = self.keyspace.ended(session_key);
            let who = draw_id();
            let ended = redis
                .run(async |mut redis| {
                    script::end(&mut redis, &redis_key, &marker, &who, ENDED_MARKER_MS).await
                })
                .await?;
            match ended {
                Ended::Now(last_state) => {
                    request_scope::session_ended_with(&self.keyspace, session_key, last_state);
                }
                Ended::BySomebodyElse => {
                    redis.turns_out(Outcome::Ended);
                    request_scope::end_session();
                }
            }
            Ok(())
        });
        deleted.await.map_err(logged)
    }
}

fn into_load_error(error: Error) -> LoadError {
    match error {
        Error::Unreadable { .. } => LoadError::Deserialization(error.into()),
        _ => LoadError::Other(logged(error)),
    }
}

fn into_save_error(error: Error) -> SaveError {
    SaveError::Other(logged(error))
}

fn into_update_error(error: Error) -> UpdateError {
    UpdateError::Other(logged(error))
}

/// `SessionMiddleware` turns every error into an empty 500 and tells nobody which. (An outage is
/// logged when it begins and when it ends, and what is unreadable by the middleware.)
fn logged(error: Error) -> anyhow::Error {
    if !matches!(error, Error::Unavailable { .. }) {
        telemetry::events::failed(&error);
    }
    error.into()
}
