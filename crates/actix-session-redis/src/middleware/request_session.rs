//! What the session middleware asks of its store for one request: by what that request has loaded, and with
//! what it means for its response.

use std::{mem::replace, sync::Arc, time::Duration};

use actix_session::storage::SessionKey;
use actix_web::cookie::time;

use super::{
    current_key::CurrentKey,
    request_scope::{CookieFate, Loaded, LoadedSession, RequestScope},
};
use crate::{
    client::Operation,
    error::Error,
    session::{Effect, Found, Names, Renewal, Sessions, Snapshot, State, Terms, draw_session_key},
    telemetry::{events, outcome::Outcome},
};

/// A browser that sends a request within so long after a session has ended may not know yet. (Rule 5 of the
/// promises says so, and `docs/users.md`.)
const LATE_REQUESTS: Duration = Duration::from_secs(10);

/// The session of one request.
pub(crate) struct RequestSession<'a> {
    sessions: &'a Sessions,
    op: &'a Operation<'a>,
    scope: Arc<RequestScope>,
}

impl<'a> RequestSession<'a> {
    /// None if it is no session middleware of this store that asks, or none inside of
    /// [`ConsistentSessions`](crate::ConsistentSessions).
    pub(crate) fn of_middleware(
        sessions: &'a Arc<Sessions>,
        op: &'a Operation<'a>,
    ) -> Option<Self> {
        let scope = RequestScope::of_middleware(sessions)?;
        if scope.is_nested {
            op.observation.log.there_is_another_middleware();
        }
        Some(Self {
            sessions,
            op,
            scope,
        })
    }

    /// `is_anonymous`: in an outage, the application runs without the session.
    pub(crate) async fn load(
        &self,
        session_key: &SessionKey,
        is_anonymous: bool,
    ) -> Result<Option<State>, Error> {
        let names = self.sessions.names(session_key);
        let loaded = match self.sessions.record(self.op, &names).find().await {
            Ok(Found::Session(snapshot)) => {
                return Ok(Some(self.remember(session_key, names, snapshot)));
            }
            Ok(Found::Nothing) => return Ok(None),
            Ok(Found::Tombstone { age }) => {
                self.op.observation.turns_out(Outcome::Ended);
                Loaded::Ended {
                    late: age < LATE_REQUESTS,
                }
            }
            Err(error) if is_outage(&error) => {
                self.op.observation.turns_out(Outcome::of(&error));
                self.scope.set_cookie(CookieFate::Stays);
                Loaded::Unavailable {
                    error,
                    is_anonymous,
                }
            }
            Err(error) => return Err(error),
        };
        self.scope.remember_loaded(loaded);
        // Not `None`: the middleware would forget the key, and a logout could not end what has taken the
        // place of this session.
        Ok(Some(State::new()))
    }

    /// The state as it was loaded; what stays in the scope is a copy, whose fields do not show it.
    fn remember(&self, session_key: &SessionKey, names: Names, mut snapshot: Snapshot) -> State {
        let copy = snapshot.state.clone();
        let state = replace(&mut snapshot.state, copy);
        let session_key = CurrentKey::copy(session_key);
        self.scope
            .remember_loaded(Loaded::Session(Arc::new(LoadedSession {
                session_key,
                names,
                snapshot,
            })));
        state
    }

    pub(crate) async fn save(
        &self,
        state: &State,
        ttl: &time::Duration,
    ) -> Result<SessionKey, Error> {
        match self.begin_or_renew(state, ttl).await {
            Ok(Renewal::Done(session_key)) => Ok(session_key),
            Ok(Renewal::Undone) => {
                self.drop_write();
                Ok(draw_session_key())
            }
            Ok(Renewal::InDoubt(session_key, error)) => {
                self.fail(error)?;
                // The old session may be there or not: the new one is.
                self.scope.set_cookie(CookieFate::Goes);
                Ok(session_key)
            }
            Err(error) => self.fail(error).map(|()| draw_session_key()),
        }
    }

    async fn begin_or_renew(&self, state: &State, ttl: &time::Duration) -> Result<Renewal, Error> {
        let wishes = self.scope.wishes();
        let terms = wishes.terms(ttl);
        match self.scope.loaded() {
            Loaded::Unavailable { error, .. } => Err(error),
            Loaded::Session(loaded) if self.scope.renews() => {
                let LoadedSession {
                    names, snapshot, ..
                } = &*loaded;
                if self.sessions.is_login(snapshot, state, terms) {
                    self.scope.note_login();
                }
                let session = self.sessions.record(self.op, names);
                session.renew(snapshot, state, terms).await
            }
            // Of a session that has ended, only a renewal comes here, for `load` has found nothing. One that is
            // late and has written nothing is no login; any other begins a session.
            Loaded::Ended { late: true } if state.is_empty() => Ok(Renewal::Undone),
            _ => self.begin(state, terms).await,
        }
    }

    async fn begin(&self, state: &State, terms: Terms<'_>) -> Result<Renewal, Error> {
        let created = self.sessions.create(self.op, state, terms).await?;
        Ok(created.map_or(Renewal::Undone, Renewal::Done))
    }

    /// The session key if it has become another one.
    pub(crate) async fn update(
        &self,
        session_key: &SessionKey,
        state: &State,
        ttl: &time::Duration,
    ) -> Result<Option<SessionKey>, Error> {
        let (sessions, op) = (self.sessions, self.op);
        let names = sessions.names(session_key);
        let wishes = self.scope.wishes();
        let terms = wishes.terms(ttl);
        let written = match self.scope.loaded_as(&names.id) {
            Loaded::Session(loaded) => {
                // The same names, with the ciphers that reading has made.
                let LoadedSession {
                    names, snapshot, ..
                } = &*loaded;
                sessions
                    .record(op, names)
                    .update(snapshot, state, terms)
                    .await
            }
            Loaded::Ended { late: true } => Ok(Effect::Gone),
            Loaded::Ended { late: false } => match self.begin(state, terms).await {
                Ok(Renewal::Done(new_session_key)) => return Ok(Some(new_session_key)),
                begun => begun.map(|_| Effect::Gone),
            },
            Loaded::Unavailable { error, .. } => Err(error),
            Loaded::Nothing => sessions.record(op, &names).replace(state, terms).await,
        };
        match written {
            Ok(Effect::Done) => self.scope.set_cookie(CookieFate::Repeats),
            // Whoever set the TTL a moment ago has set the cookie as well.
            Ok(Effect::Fresh) => self.scope.set_cookie(CookieFate::Stays),
            Ok(Effect::Gone) => self.drop_write(),
            Err(error) => self.fail(error)?,
        }
        Ok(None)
    }

    pub(crate) async fn refresh(
        &self,
        session_key: &SessionKey,
        ttl: &time::Duration,
    ) -> Result<(), Error> {
        let names = self.sessions.names(session_key);
        let loaded = self.scope.loaded_as(&names.id);
        let snapshot = match &loaded {
            Loaded::Session(loaded) => Some(&loaded.snapshot),
            Loaded::Nothing => None,
            // There is nothing to prolong, and the request has only read.
            Loaded::Ended { .. } | Loaded::Unavailable { .. } => {
                self.scope.set_cookie(CookieFate::Stays);
                return Ok(());
            }
        };
        let wishes = self.scope.wishes();
        let terms = wishes.terms(ttl);
        let session = self.sessions.record(self.op, &names);
        let refreshed = session.refresh(snapshot, terms);
        match refreshed.await {
            Ok(Effect::Done) => {}
            Ok(Effect::Fresh) => self.scope.set_cookie(CookieFate::Stays),
            Ok(Effect::Gone) => {
                self.op.observation.turns_out(Outcome::Missing);
                self.scope.set_cookie(CookieFate::Stays);
            }
            Err(error) => self.fail(error)?,
        }
        Ok(())
    }

    pub(crate) async fn end(&self, session_key: &SessionKey) -> Result<(), Error> {
        // `save` follows, and ends it when the new one is there.
        if self.scope.renews() {
            return Ok(());
        }
        let names = self.sessions.names(session_key);
        let session = self.sessions.record(self.op, &names);
        let ended = match self.scope.loaded() {
            Loaded::Unavailable { error, .. } => Err(error),
            Loaded::Session(loaded) => session.end(Some(&loaded.snapshot)).await,
            Loaded::Ended { .. } | Loaded::Nothing => session.end(None).await,
        };
        match ended {
            Ok(true) => {}
            Ok(false) => {
                self.op.observation.turns_out(Outcome::Ended);
                self.scope.set_cookie(CookieFate::Stays);
            }
            Err(error) => self.fail(error)?,
        }
        Ok(())
    }

    /// Its session is gone, so there is nothing to write to, and the browser may have a better cookie.
    fn drop_write(&self) {
        events::write_dropped();
        self.op.observation.turns_out(Outcome::Ended);
        self.scope.set_cookie(CookieFate::Stays);
    }

    /// The middleware answers in the place of an error that actix-session would make a 500 of.
    fn fail(&self, error: Error) -> Result<(), Error> {
        if !is_outage(&error) && !error.is_refused_login() {
            return Err(error);
        }
        self.op.observation.turns_out(Outcome::of(&error));
        self.scope.fail(error);
        Ok(())
    }
}

fn is_outage(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. })
}
