//! What a handler may know of its session.

use std::{
    fmt,
    future::{Ready, ready},
    sync::Arc,
    time::Duration,
};

use actix_web::{Error, FromRequest, HttpRequest, dev::Payload, error::ErrorInternalServerError};

use super::{
    current_key::CurrentKey,
    request_scope::{Loaded, LoadedSession, RequestScope},
};
use crate::session::{Login, SessionId};

/// The session of the request, for a handler that has to tell it from others of the same user, or
/// that must not run without one.
///
/// A session that the request itself begins has neither key nor handle yet, and one that was
/// loaded as anonymous
/// [during an outage](crate::RedisSessionStoreBuilder::anonymous_during_outage) has none either.
///
/// ```
/// use actix_session_redis::CurrentSession;
/// use actix_web::{HttpResponse, Responder};
///
/// async fn handler(session: CurrentSession) -> impl Responder {
///     if session.is_unavailable() {
///         return HttpResponse::ServiceUnavailable().finish();
///     }
///     HttpResponse::Ok().body(match session.handle() {
///         Some(_) => "welcome back",
///         None => "first visit",
///     })
/// }
/// ```
///
/// # Errors
///
/// Outside [`ConsistentSessions`](crate::ConsistentSessions) the extractor fails with a 500: the
/// application lacks it.
pub struct CurrentSession {
    loaded: Loaded,
    scope: Arc<RequestScope>,
}

impl CurrentSession {
    /// The session key, if the request came with a session that is there: to hand it to the store.
    ///
    /// It is a secret, as good as a password.
    pub fn key(&self) -> Option<&CurrentKey> {
        self.loaded().map(|loaded| &loaded.session_key)
    }

    /// The session's name in Redis and in logs, if the request came with one that is there. It is no
    /// secret.
    pub fn handle(&self) -> Option<&SessionId> {
        self.loaded().map(|loaded| &loaded.names.id)
    }

    /// Whether there may be a session that could not be loaded: Redis is away, and the request was
    /// let through as [anonymous](crate::RedisSessionStoreBuilder::anonymous_during_outage).
    pub fn is_unavailable(&self) -> bool {
        matches!(self.loaded, Loaded::Unavailable { .. })
    }

    /// How long the session lives if no other request comes: for a page that warns before its user is
    /// logged out. `None` if the request came with no session, or that is gone by now.
    ///
    /// It is what Redis says at this moment (`PTTL`), before this request itself has prolonged the
    /// session, if it does.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::Error::Unavailable) and [`Refused`](crate::Error::Refused), as for every
    /// operation.
    pub async fn expires_in(&self) -> Result<Option<Duration>, crate::Error> {
        if let Some(error) = self.unavailable() {
            return Err(error.clone());
        }
        match (self.loaded(), self.scope.store()) {
            (Some(loaded), Some(store)) => store.expires_in(&loaded.names, &loaded.snapshot).await,
            _ => Ok(None),
        }
    }

    /// Asks for a lifetime of its own for the session, shorter or longer than that of the session
    /// middleware ("remember me"): from the write of this request on, the session lives so long after
    /// each write, or each request if sessions slide, and its cookie too. (With `BrowserSession`,
    /// actix-session's default, reading prolongs the session and not the cookie: where sessions slide,
    /// use `PersistentSession`.)
    ///
    /// It becomes true when the session is written, so call it where something changes, as at login.
    /// It stays with the session when that is renewed, unless by a login. The
    /// [absolute lifetime](crate::RedisSessionStoreBuilder::absolute_lifetime) limits it.
    ///
    /// # Errors
    ///
    /// [`InvalidLifetime`](crate::Error::InvalidLifetime) when
    /// [`lifetimes`](crate::RedisSessionStoreBuilder::lifetimes) does not allow it. A request that came
    /// without a session is only told when its session is written: it fails with a 500 then.
    pub fn set_lifetime(&self, lifetime: Duration) -> Result<(), crate::Error> {
        match self.scope.store() {
            Some(store) if !store.allows_lifetime(lifetime) => {
                Err(crate::Error::InvalidLifetime { lifetime })
            }
            _ => {
                self.scope.wish(|wishes| wishes.lifetime = Some(lifetime));
                Ok(())
            }
        }
    }

    /// Completes a login that was [begun](crate::UserSessions::begin_login) before the password was
    /// looked at: if all sessions of the user have been ended since, this request does not log in, and
    /// is answered as
    /// [a refused login](crate::ConsistentSessions::on_refused_login).
    ///
    /// It also tells that the user has just proven who they are, so the
    /// [absolute lifetime](crate::RedisSessionStoreBuilder::absolute_lifetime) of the renewed session
    /// begins anew, even if it was theirs before.
    pub fn complete_login(&self, login: Login) {
        self.scope.wish(|wishes| wishes.login = Some(login));
    }

    pub(super) fn of(scope: Arc<RequestScope>) -> Self {
        Self {
            loaded: scope.loaded(),
            scope,
        }
    }

    /// Why there may be a session that could not be loaded.
    pub(crate) fn unavailable(&self) -> Option<&crate::Error> {
        match &self.loaded {
            Loaded::Unavailable { error, .. } => Some(error),
            _ => None,
        }
    }

    fn loaded(&self) -> Option<&LoadedSession> {
        match &self.loaded {
            Loaded::Session(loaded) => Some(loaded),
            _ => None,
        }
    }
}

impl fmt::Debug for CurrentSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentSession")
            .field("handle", &self.handle())
            .field("is_unavailable", &self.is_unavailable())
            .finish_non_exhaustive()
    }
}

impl FromRequest for CurrentSession {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(_: &HttpRequest, _: &mut Payload) -> Self::Future {
        let error = "CurrentSession needs the middleware ConsistentSessions";
        let current = RequestScope::current().map(Self::of);
        ready(current.ok_or_else(|| ErrorInternalServerError(error)))
    }
}
