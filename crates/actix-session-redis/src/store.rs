use std::sync::{Arc, Once};

use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use actix_web::cookie::time::Duration;

use crate::{
    client::{Client, Operation},
    error::Error,
    middleware::{CookieFate, CurrentKey, Loaded, LoadedSession, RequestScope, cookie_asked_for},
    session::{
        Effect, Found, Names, Renewal, Sessions, Snapshot, State, Terms, draw_session_key,
        is_session_key,
    },
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
    /// Whether it has been said that there are two session middlewares.
    pub(crate) nested: Arc<Once>,
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
            let modified = self.sessions.modify(&op, &names, change).await?;
            modified.ok_or(Error::Gone)
        };
        op.of(modified).await
    }

    async fn load_in(
        &self,
        op: &Operation<'_>,
        session_key: &SessionKey,
    ) -> Result<Option<State>, Error> {
        if !is_session_key(session_key) {
            return Ok(None);
        }
        let scope = RequestScope::of_middleware(&self.sessions);
        let names = self.sessions.names(session_key);
        match self.find(op, &names, scope.is_some()).await {
            Ok(Found::Session(snapshot)) => Ok(Some(match scope {
                Some(scope) => {
                    self.warn_if(scope.is_nested);
                    remember(&scope, session_key, names, snapshot)
                }
                None => snapshot.state,
            })),
            Ok(Found::Nothing) => Ok(None),
            Ok(Found::Tombstone { age }) => {
                if let Some(scope) = scope {
                    scope.has_loaded(Loaded::Ended { late: age < LATE });
                }
                // Not `None`: the middleware would forget the key, and a logout could not end what
                // has taken the place of this session.
                Ok(Some(State::new()))
            }
            Err(error) => match scope {
                Some(scope) if is_outage(&error) => {
                    op.observation.turns_out(Outcome::of(&error));
                    scope.set_cookie(CookieFate::Stays);
                    let is_anonymous = self.anonymous_during_outage;
                    scope.has_loaded(Loaded::Unavailable {
                        error,
                        is_anonymous,
                    });
                    Ok(Some(State::new()))
                }
                _ => Err(error),
            },
        }
    }

    async fn find(
        &self,
        op: &Operation<'_>,
        names: &Names,
        in_scope: bool,
    ) -> Result<Found, Error> {
        let found = match in_scope {
            true => self.sessions.find(op, names).await,
            false => {
                let found = self.sessions.read(op, names).await;
                found.map(|found| found.map_or(Found::Nothing, Found::Session))
            }
        };
        match &found {
            Ok(Found::Session(_)) => {}
            Ok(Found::Tombstone { .. }) => op.observation.turns_out(Outcome::Ended),
            Ok(Found::Nothing) => op.observation.turns_out(Outcome::Missing),
            Err(Error::Unreadable { reason }) => {
                events::unreadable(&names.id, reason);
                op.observation.turns_out(Outcome::Unreadable);
                return Ok(Found::Nothing);
            }
            Err(_) => {}
        }
        found
    }

    async fn save_in(
        &self,
        op: &Operation<'_>,
        state: &State,
        ttl: &Duration,
    ) -> Result<SessionKey, Error> {
        let Some(scope) = RequestScope::of_middleware(&self.sessions) else {
            let created = self.sessions.create(op, state, Terms::only(ttl));
            return created.await?.ok_or(Error::Gone);
        };
        self.warn_if(scope.is_nested);
        let wishes = scope.wishes();
        let terms = wishes.terms(ttl);
        let saved = match scope.loaded() {
            Loaded::Unavailable { error, .. } => Err(error),
            Loaded::Session(loaded) if scope.renews() => {
                let LoadedSession {
                    names, snapshot, ..
                } = &*loaded;
                if self.sessions.is_login(snapshot, state, terms) {
                    scope.logs_in();
                }
                self.sessions.renew(op, names, snapshot, state, terms).await
            }
            // It has come too late, and brings nothing of its own.
            Loaded::Ended { late: true } if state.is_empty() => Ok(Renewal::Undone),
            _ => {
                let created = self.sessions.create(op, state, terms).await;
                created.map(|created| created.map_or(Renewal::Undone, Renewal::Done))
            }
        };
        match saved {
            Ok(Renewal::Done(session_key)) => Ok(session_key),
            Ok(Renewal::Undone) => {
                drop_write(op, &scope);
                Ok(draw_session_key())
            }
            Ok(Renewal::InDoubt(session_key, error)) => {
                leave_to_middleware(op, &scope, error)?;
                // The old session may be there or not: the new one is.
                scope.set_cookie(CookieFate::Goes);
                Ok(session_key)
            }
            Err(error) => leave_to_middleware(op, &scope, error).map(|()| draw_session_key()),
        }
    }

    /// The session key if it has become another one.
    async fn update_in(
        &self,
        op: &Operation<'_>,
        session_key: &SessionKey,
        state: &State,
        ttl: &Duration,
    ) -> Result<Option<SessionKey>, Error> {
        let names = self.sessions.names(session_key);
        let Some(scope) = RequestScope::of_middleware(&self.sessions) else {
            self.warn_if(RequestScope::is_around(&self.sessions, &names.id));
            let terms = Terms::only(ttl);
            if self.sessions.replace(op, &names, state, terms).await? == Effect::Gone {
                events::write_dropped();
                op.observation.turns_out(Outcome::Ended);
            }
            return Ok(None);
        };
        let wishes = scope.wishes();
        let terms = wishes.terms(ttl);
        let written = match scope.loaded_as(&names.id) {
            Loaded::Session(loaded) => {
                // The same names, with what reading has made of them.
                let LoadedSession {
                    names, snapshot, ..
                } = &*loaded;
                self.sessions
                    .update(op, names, snapshot, state, terms)
                    .await
            }
            Loaded::Ended { late: true } => Ok(Effect::Gone),
            Loaded::Ended { late: false } => {
                let created = self.sessions.create(op, state, terms).await;
                return match created {
                    Ok(Some(session_key)) => Ok(Some(session_key)),
                    Ok(None) => {
                        drop_write(op, &scope);
                        Ok(None)
                    }
                    Err(error) => leave_to_middleware(op, &scope, error).map(|()| None),
                };
            }
            Loaded::Unavailable { error, .. } => Err(error),
            Loaded::Nothing => self.sessions.replace(op, &names, state, terms).await,
        };
        match written {
            Ok(Effect::Done) => scope.set_cookie(CookieFate::Repeats),
            // Whoever set the TTL a moment ago has set the cookie as well.
            Ok(Effect::Fresh) => scope.set_cookie(CookieFate::Stays),
            Ok(Effect::Gone) => drop_write(op, &scope),
            Err(error) => leave_to_middleware(op, &scope, error)?,
        }
        Ok(None)
    }

    async fn update_ttl_in(
        &self,
        op: &Operation<'_>,
        session_key: &SessionKey,
        ttl: &Duration,
    ) -> Result<(), Error> {
        let names = self.sessions.names(session_key);
        let scope = RequestScope::of_middleware(&self.sessions);
        let loaded = scope.as_ref().map(|scope| scope.loaded_as(&names.id));
        let snapshot = match &loaded {
            Some(Loaded::Session(loaded)) => Some(&loaded.snapshot),
            Some(Loaded::Nothing) | None => None,
            // There is nothing to prolong, and the request has only read.
            Some(Loaded::Ended { .. } | Loaded::Unavailable { .. }) => {
                scope.inspect(|scope| scope.set_cookie(CookieFate::Stays));
                return Ok(());
            }
        };
        let wishes = scope.as_ref().map(|scope| scope.wishes());
        let terms = wishes
            .as_ref()
            .map_or(Terms::only(ttl), |wishes| wishes.terms(ttl));
        let refreshed = self.sessions.refresh(op, &names, snapshot, terms).await;
        if let Ok(Effect::Gone) = refreshed {
            op.observation.turns_out(Outcome::Missing);
        }
        match (scope, refreshed) {
            (None, refreshed) => refreshed.map(drop),
            (Some(_), Ok(Effect::Done)) => Ok(()),
            (Some(scope), Ok(_)) => {
                scope.set_cookie(CookieFate::Stays);
                Ok(())
            }
            (Some(scope), Err(error)) => leave_to_middleware(op, &scope, error),
        }
    }

    async fn delete_in(&self, op: &Operation<'_>, session_key: &SessionKey) -> Result<(), Error> {
        let names = self.sessions.names(session_key);
        let scope = RequestScope::of_middleware(&self.sessions);
        let ended = match &scope {
            // `save` follows, and ends it when the new one is there.
            Some(scope) if scope.renews() => return Ok(()),
            Some(scope) => match scope.loaded() {
                Loaded::Unavailable { error, .. } => Err(error),
                Loaded::Session(loaded) => {
                    self.sessions.end(op, &names, Some(&loaded.snapshot)).await
                }
                _ => self.sessions.end(op, &names, None).await,
            },
            None => self.sessions.end(op, &names, None).await,
        };
        if let Ok(false) = ended {
            op.observation.turns_out(Outcome::Ended);
        }
        match (scope, ended) {
            (None, ended) => ended.map(drop),
            (Some(_), Ok(true)) => Ok(()),
            (Some(scope), Ok(false)) => {
                scope.set_cookie(CookieFate::Stays);
                Ok(())
            }
            (Some(scope), Err(error)) => leave_to_middleware(op, &scope, error),
        }
    }

    /// Of two session middlewares around one handler, the outer one takes what the inner one has
    /// left of the session: nothing.
    fn warn_if(&self, is_nested: bool) {
        if is_nested {
            self.nested.call_once(events::nested);
        }
    }
}

/// A browser that sends a request within so long after a session has ended may not know yet.
const LATE: std::time::Duration = std::time::Duration::from_secs(10);

impl SessionStore for RedisSessionStore {
    async fn load(&self, session_key: &SessionKey) -> Result<Option<State>, LoadError> {
        let op = self.client.operation("load");
        let loaded = op.of(self.load_in(&op, session_key)).await;
        loaded.map_err(|error| LoadError::Other(error.into()))
    }

    async fn save(&self, state: State, ttl: &Duration) -> Result<SessionKey, SaveError> {
        // The middleware wants no session, but the cookie of one.
        if let Some(session_key) = cookie_asked_for() {
            return Ok(session_key);
        }
        let op = self.client.operation("save");
        let saved = op.of(self.save_in(&op, &state, ttl)).await;
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
        match op.of(updated).await {
            Ok(new_session_key) => Ok(new_session_key.unwrap_or(session_key)),
            Err(error) => Err(UpdateError::Other(error.into())),
        }
    }

    async fn update_ttl(&self, session_key: &SessionKey, ttl: &Duration) -> anyhow::Result<()> {
        let op = self.client.operation("update_ttl");
        let updated = self.update_ttl_in(&op, session_key, ttl);
        Ok(op.of(updated).await?)
    }

    async fn delete(&self, session_key: &SessionKey) -> anyhow::Result<()> {
        let op = self.client.operation("delete");
        Ok(op.of(self.delete_in(&op, session_key)).await?)
    }
}

/// The state as it was loaded; what stays in the scope is a copy, whose fields do not show it.
fn remember(
    scope: &RequestScope,
    session_key: &SessionKey,
    names: Names,
    mut snapshot: Snapshot,
) -> State {
    let copy = snapshot.state.clone();
    let state = std::mem::replace(&mut snapshot.state, copy);
    let session_key = CurrentKey::copy(session_key);
    scope.has_loaded(Loaded::Session(Arc::new(LoadedSession {
        session_key,
        names,
        snapshot,
    })));
    state
}

/// Its session is gone, so there is nothing to write to, and the browser may have a better cookie.
fn drop_write(op: &Operation<'_>, scope: &RequestScope) {
    events::write_dropped();
    op.observation.turns_out(Outcome::Ended);
    scope.set_cookie(CookieFate::Stays);
}

/// The middleware answers in the place of an error that actix-session would make a 500 of.
fn leave_to_middleware(
    op: &Operation<'_>,
    scope: &RequestScope,
    error: Error,
) -> Result<(), Error> {
    if !is_outage(&error) && !error.is_refused_login() {
        return Err(error);
    }
    op.observation.turns_out(Outcome::of(&error));
    scope.fail(error);
    Ok(())
}

fn is_outage(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. })
}
