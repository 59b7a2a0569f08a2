use std::sync::Arc;

use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use actix_web::cookie::time::Duration;

use crate::{
    client::{Client, Operation},
    error::Error,
    middleware::{RequestScope, RequestSession, cookie_asked_for},
    session::{Effect, SessionId, Sessions, State, Terms, is_session_key},
    telemetry::{events, outcome::Outcome},
};

/// Keeps the sessions of [`SessionMiddleware`](actix_session::SessionMiddleware) in Redis.
///
/// Make one per process, before `HttpServer::new`, and clone it into the app factory: clones are
/// cheap and share the connections.
///
/// ```no_run
/// use actix_session::SessionMiddleware;
/// use actix_session_redis::{ConsistentSessions, RedisSessionStore};
/// use actix_web::{App, HttpServer, cookie::Key};
///
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisSessionStore::from_url("redis://127.0.0.1:6379")?;
/// let key = Key::generate(); // in production: the same secret for every instance
/// HttpServer::new(move || {
///     let sessions = SessionMiddleware::new(store.clone(), key.clone());
///     App::new().wrap(ConsistentSessions::new(sessions))
/// })
/// .bind(("127.0.0.1", 8080))?
/// .run()
/// .await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Every operation of [`SessionStore`] fails with an [`Error`] that can be downcast from the
/// [`anyhow::Error`] which the trait asks for:
///
/// - [`Error::InvalidOption`] when the store was built with an option that cannot work;
/// - [`Error::Unavailable`] when Redis gives no answer before the deadline, and whatever a request
///   writes that was loaded as anonymous
///   [during an outage](crate::RedisSessionStoreBuilder::anonymous_during_outage);
/// - [`Error::Refused`] when Redis declines the command;
/// - [`Error::Unreadable`] (`update` and `modify`, when something else than a session is there; `load`
///   answers `None` to that);
/// - [`Error::UnknownSealKey`], [`Error::Unsealed`] and [`Error::BrokenSeal`] (all that read a session)
///   when it cannot be opened;
/// - [`Error::StateTooLarge`] (`save`, `update`) and [`Error::InvalidTtl`] (those and
///   `update_ttl`), before anything is sent;
/// - [`Error::MergePanicked`] and [`Error::Contended`] (`update` inside
///   [`ConsistentSessions`](crate::ConsistentSessions));
/// - [`Error::SessionLimit`], [`Error::Overtaken`], [`Error::InvalidLifetime`] and [`Error::Gone`] (`save` and
///   `update` of a user's session).
#[derive(Clone, Debug)]
pub struct RedisSessionStore {
    pub(crate) client: Arc<Client>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) anonymous_during_outage: bool,
}

impl RedisSessionStore {
    /// Asks Redis for a sign of life: for an application that starts, and should not without Redis
    /// or with an option that cannot work. Whether sessions can be written, [`check`](Self::check)
    /// says. In a cluster, any of the servers may give the sign, and it fails when that server says
    /// that the cluster serves nobody.
    ///
    /// It goes the way that the requests of the calling thread go, so it waits for the
    /// [`deadline`](crate::RedisSessionStoreBuilder::deadline) at most, and fails at once while Redis is
    /// known to be away.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`], [`Error::Refused`] and [`Error::InvalidOption`], as for every
    /// operation.
    pub async fn ping(&self) -> Result<(), Error> {
        let op = self.client.operation("ping");
        let pong = self
            .client
            .run(&op, |redis| async move { redis.ping().await });
        op.of(pong).await
    }

    /// Proves that sessions can be read and written: for readiness checks.
    ///
    /// It does what requests do, in one round trip, under a Redis key of its own below the
    /// [prefix](crate::RedisSessionStoreBuilder::key_prefix), which lives for a second: it reads, writes
    /// with an expiry, and runs a script. So it fails for rights that are missing, for a server
    /// that is a replica, full, or cannot write to its disk, and for disabled commands and
    /// scripts. In a cluster it is one master that is asked, always the same.
    ///
    /// Like [`ping`](Self::ping) it waits for the deadline at most and fails at once while Redis is
    /// known to be away. Unlike a request, it does not wait for a Redis that replies that it
    /// cannot answer now (`READONLY`, `LOADING`, …).
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`], [`Error::Refused`] and [`Error::InvalidOption`], as for every
    /// operation.
    pub async fn check(&self) -> Result<(), Error> {
        let op = self.client.operation("check");
        op.of(self.sessions.check(&op)).await
    }

    /// One atomic change of a session from outside of its requests: from a job, a WebSocket or an
    /// admin page. Returns what `change` has returned.
    ///
    /// `change` gets the state, field name to JSON text, and is called again if anything in that
    /// state has changed before it could be stored. The session lives as long as it would have
    /// without. A request that is under way keeps its own changes, and this one: see
    /// [`ConsistentSessions`](crate::ConsistentSessions).
    ///
    /// ```
    /// # use actix_session_redis::{CurrentSession, Error, RedisSessionStore};
    /// # async fn example(store: RedisSessionStore, session: CurrentSession) -> Result<(), Error> {
    /// if let Some(session_key) = session.key() {
    ///     let discount = store.modify(session_key, |state| {
    ///         state.insert("discount".to_owned(), "10".to_owned())
    ///     });
    ///     discount.await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] when there is no such session; [`Error::Unreadable`] when something else is
    /// there, or when it [cannot be opened](RedisSessionStore#errors);
    /// [`Error::Contended`] when others kept changing it; [`Error::StateTooLarge`];
    /// [`Error::SessionLimit`] when it makes the session another user's; and
    /// [`Error::Unavailable`], [`Error::Refused`] and [`Error::InvalidOption`], as for every
    /// operation.
    pub async fn modify<T: Send>(
        &self,
        session_key: &SessionKey,
        change: impl FnMut(&mut State) -> T + Send,
    ) -> Result<T, Error> {
        let op = self.client.operation("modify");
        let modified = async {
            let names = self.sessions.names(session_key);
            let modified = self.sessions.record(&op, &names).modify(change).await?;
            modified.ok_or(Error::Gone)
        };
        op.of(modified).await
    }

    /// If it is the session middleware of a request that asks.
    fn request_session<'a>(&'a self, op: &'a Operation<'a>) -> Option<RequestSession<'a>> {
        RequestSession::of_middleware(&self.sessions, op)
    }

    /// Whatever the requests of the session do.
    async fn replace_by_hand(
        &self,
        op: &Operation<'_>,
        session_key: &SessionKey,
        state: &State,
        ttl: &Duration,
    ) -> Result<(), Error> {
        let names = self.sessions.names(session_key);
        let around = RequestScope::session_of(&self.sessions);
        if around.is_some_and(|around| around.names.id == names.id) {
            op.observation.log.there_is_another_middleware();
        }
        let session = self.sessions.record(op, &names);
        if session.replace(state, Terms::only(ttl)).await? == Effect::Gone {
            events::write_dropped();
            op.observation.turns_out(Outcome::Ended);
        }
        Ok(())
    }
}

/// Each asks for the session of a request, or by hand for any.
impl SessionStore for RedisSessionStore {
    async fn load(&self, session_key: &SessionKey) -> Result<Option<State>, LoadError> {
        let op = &self.client.operation("load");
        let loaded = async {
            if !is_session_key(session_key) {
                return Ok(None);
            }
            let loaded = match self.request_session(op) {
                Some(session) => {
                    session
                        .load(session_key, self.anonymous_during_outage)
                        .await
                }
                None => {
                    let names = self.sessions.names(session_key);
                    let found = self.sessions.record(op, &names).read(false).await;
                    found.map(|found| found.map(|snapshot| snapshot.state))
                }
            };
            match &loaded {
                Ok(Some(_)) => {}
                Ok(None) => op.observation.turns_out(Outcome::Missing),
                Err(Error::Unreadable { reason }) => {
                    events::unreadable(&SessionId::of(session_key), reason);
                    op.observation.turns_out(Outcome::Unreadable);
                    return Ok(None);
                }
                Err(_) => {}
            }
            loaded
        };
        let loaded = op.of(loaded).await;
        loaded.map_err(|error| LoadError::Other(error.into()))
    }

    async fn save(&self, state: State, ttl: &Duration) -> Result<SessionKey, SaveError> {
        // The middleware wants no session, but the cookie of one.
        if let Some(session_key) = cookie_asked_for() {
            return Ok(session_key);
        }
        let op = &self.client.operation("save");
        let saved = async {
            match self.request_session(op) {
                Some(session) => session.save(&state, ttl).await,
                None => {
                    let created = self.sessions.create(op, &state, Terms::only(ttl));
                    created.await?.ok_or(Error::Gone)
                }
            }
        };
        let saved = op.of(saved).await;
        saved.map_err(|error| SaveError::Other(error.into()))
    }

    async fn update(
        &self,
        session_key: SessionKey,
        state: State,
        ttl: &Duration,
    ) -> Result<SessionKey, UpdateError> {
        let op = &self.client.operation("update");
        let updated = async {
            match self.request_session(op) {
                Some(session) => session.update(&session_key, &state, ttl).await,
                None => {
                    let replaced = self.replace_by_hand(op, &session_key, &state, ttl);
                    replaced.await.map(|()| None)
                }
            }
        };
        match op.of(updated).await {
            Ok(new_session_key) => Ok(new_session_key.unwrap_or(session_key)),
            Err(error) => Err(UpdateError::Other(error.into())),
        }
    }

    async fn update_ttl(&self, session_key: &SessionKey, ttl: &Duration) -> anyhow::Result<()> {
        let op = &self.client.operation("update_ttl");
        let refreshed = async {
            match self.request_session(op) {
                Some(session) => session.refresh(session_key, ttl).await,
                None => {
                    let names = self.sessions.names(session_key);
                    let session = self.sessions.record(op, &names);
                    if session.refresh(None, Terms::only(ttl)).await? == Effect::Gone {
                        op.observation.turns_out(Outcome::Missing);
                    }
                    Ok(())
                }
            }
        };
        Ok(op.of(refreshed).await?)
    }

    async fn delete(&self, session_key: &SessionKey) -> anyhow::Result<()> {
        let op = &self.client.operation("delete");
        let ended = async {
            match self.request_session(op) {
                Some(session) => session.end(session_key).await,
                None => {
                    let names = self.sessions.names(session_key);
                    if !self.sessions.record(op, &names).end(None).await? {
                        op.observation.turns_out(Outcome::Ended);
                    }
                    Ok(())
                }
            }
        };
        Ok(op.of(ended).await?)
    }
}
