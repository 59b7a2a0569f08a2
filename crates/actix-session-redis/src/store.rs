use std::sync::Arc;

use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use actix_web::cookie::time::Duration;

use crate::{
    client::{Client, Operation},
    error::Error,
    middleware::request_scope::{self, Renewed},
    session::{Effect, Ended, Sessions, State, draw_session_key, is_session_key},
    telemetry::{events, outcome::Outcome},
};

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
/// - [`Error::InvalidOption`] when the store was built with an option that cannot work;
/// - [`Error::Unavailable`] when Redis gives no answer before the deadline, and whatever a request
///   writes that was loaded as anonymous
///   [during an outage](crate::RedisSessionStoreBuilder::anonymous_during_outage);
/// - [`Error::Refused`] when Redis declines the command;
/// - [`Error::Unreadable`] (`load` only, as [`LoadError::Deserialization`]);
/// - [`Error::StateTooLarge`] (`save`, `update`) and [`Error::InvalidTtl`] (those and
///   `update_ttl`), before anything is sent;
/// - [`Error::MergePanicked`] and [`Error::Contended`] (`update` inside
///   [`ConsistentSessions`](crate::ConsistentSessions)).
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
        op.observation.of(pong).await
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
        op.observation.of(self.sessions.check(&op)).await
    }

    /// Whether the request goes on although its session could not be loaded.
    fn go_on_as_anonymous(&self, error: &Error) -> bool {
        self.anonymous_during_outage
            && matches!(error, Error::Unavailable { .. })
            && request_scope::go_on_as_anonymous(&self.sessions, error)
    }

    /// Not if the request goes on as anonymous: it would overwrite, or end, a session that it has
    /// never seen.
    fn may_write(&self) -> Result<(), Error> {
        request_scope::outage(&self.sessions).map_or(Ok(()), Err)
    }

    async fn load_in(
        &self,
        op: &Operation<'_>,
        session_key: &SessionKey,
    ) -> Result<Option<State>, Error> {
        let is_snapshot = request_scope::is_open();
        let read = match self.sessions.read(op, session_key, is_snapshot).await {
            Err(error) if self.go_on_as_anonymous(&error) => {
                op.observation.turns_out(Outcome::of(&error));
                // Not `None`: to the middleware that is a visitor without a session. It would
                // set a new cookie for what the request writes, and answer a logout as if
                // there had been one.
                return Ok(Some(State::new()));
            }
            read => read?,
        };
        let Some(snapshot) = read else {
            op.observation.turns_out(Outcome::Missing);
            return Ok(None);
        };
        let state = snapshot.state()?;
        request_scope::remember(&self.sessions, session_key, snapshot);
        Ok(Some(state))
    }

    async fn save_in(
        &self,
        op: &Operation<'_>,
        state: State,
        ttl: &Duration,
    ) -> Result<SessionKey, Error> {
        self.may_write()?;
        if request_scope::session_has_ended() {
            // Another request has ended the session that this one renews.
            drops_write(op);
            return Ok(draw_session_key());
        }
        let state = match request_scope::take_renewed() {
            Some(Renewed { snapshot, theirs }) => {
                self.sessions.with_late_changes(state, &snapshot, &theirs)?
            }
            None => state,
        };
        self.sessions.create(op, &state, ttl).await
    }

    /// The session key if it has become another one.
    async fn update_in(
        &self,
        op: &Operation<'_>,
        session_key: &SessionKey,
        state: &State,
        ttl: &Duration,
    ) -> Result<Option<SessionKey>, Error> {
        self.may_write()?;
        let sessions = &self.sessions;
        let written = match request_scope::snapshot(sessions, session_key) {
            Some(snapshot) => {
                let merged = sessions.merge(op, session_key, &snapshot, state, ttl);
                merged.await?
            }
            None => sessions.replace(op, session_key, state, ttl).await?,
        };
        match written {
            Effect::Done => return Ok(None),
            Effect::Fresh => {
                // Whoever set the TTL a moment ago has set the cookie as well.
                request_scope::leave_cookie();
                return Ok(None);
            }
            Effect::Gone => {}
        }
        let saved = Box::pin(sessions.save_expired(op, session_key, state, ttl)).await?;
        if saved.is_none() {
            drops_write(op);
            request_scope::end_session();
        }
        Ok(saved)
    }

    async fn update_ttl_in(
        &self,
        op: &Operation<'_>,
        session_key: &SessionKey,
        ttl: &Duration,
    ) -> Result<(), Error> {
        let snapshot = request_scope::snapshot(&self.sessions, session_key);
        let refreshed = self
            .sessions
            .refresh(op, session_key, snapshot.as_deref(), ttl);
        match refreshed.await? {
            Effect::Done => return Ok(()),
            Effect::Fresh => {}
            Effect::Gone => op.observation.turns_out(Outcome::Missing),
        }
        // Of a session that is gone, a cookie may replace that of its successor.
        request_scope::leave_cookie();
        Ok(())
    }

    async fn delete_in(&self, op: &Operation<'_>, session_key: &SessionKey) -> Result<(), Error> {
        self.may_write()?;
        match self.sessions.end(op, session_key).await? {
            Ended::Now(last_state) => {
                request_scope::session_ended_with(&self.sessions, session_key, last_state);
            }
            Ended::BySomebodyElse => {
                op.observation.turns_out(Outcome::Ended);
                request_scope::end_session();
            }
        }
        Ok(())
    }
}

impl SessionStore for RedisSessionStore {
    async fn load(&self, session_key: &SessionKey) -> Result<Option<State>, LoadError> {
        if !is_session_key(session_key) {
            return Ok(None);
        }
        let op = self.client.operation("load");
        let loaded = op.observation.of(self.load_in(&op, session_key)).await;
        loaded.map_err(into_load_error)
    }

    async fn save(&self, state: State, ttl: &Duration) -> Result<SessionKey, SaveError> {
        let op = self.client.operation("save");
        let saved = op.observation.of(self.save_in(&op, state, ttl)).await;
        saved.map_err(|error| SaveError::Other(error.into()))
    }

    async fn update(
        &self,
        session_key: SessionKey,
        state: State,
        ttl: &Duration,
    ) -> Result<SessionKey, UpdateError> {
        let op = self.client.operation("update");
        let updated = self.update_in(&op, &session_key, &state, ttl);
        match op.observation.of(updated).await {
            Ok(new_session_key) => Ok(new_session_key.unwrap_or(session_key)),
            Err(error) => Err(UpdateError::Other(error.into())),
        }
    }

    async fn update_ttl(&self, session_key: &SessionKey, ttl: &Duration) -> anyhow::Result<()> {
        if self.may_write().is_err() {
            // The request has only read, as an anonymous visitor may.
            return Ok(());
        }
        let op = self.client.operation("update_ttl");
        let updated = self.update_ttl_in(&op, session_key, ttl);
        Ok(op.observation.of(updated).await?)
    }

    async fn delete(&self, session_key: &SessionKey) -> anyhow::Result<()> {
        let op = self.client.operation("delete");
        Ok(op.observation.of(self.delete_in(&op, session_key)).await?)
    }
}

/// Its session has ended, so there is nothing to write to.
fn drops_write(op: &Operation<'_>) {
    events::write_dropped();
    op.observation.turns_out(Outcome::Ended);
}

fn into_load_error(error: Error) -> LoadError {
    match error {
        Error::Unreadable { .. } => LoadError::Deserialization(error.into()),
        _ => LoadError::Other(error.into()),
    }
}
