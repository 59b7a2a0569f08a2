//! What a handler may know of its session.

use std::{
    fmt,
    future::{Ready, ready},
    ops::Deref,
};

use actix_session::storage::SessionKey;
use actix_web::{Error, FromRequest, HttpRequest, dev::Payload, error::ErrorInternalServerError};

use super::request_scope::{Loaded, LoadedSession, RequestScope};
use crate::session::SessionId;

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
pub struct CurrentSession(Loaded);

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
        matches!(self.0, Loaded::Unavailable { .. })
    }

    fn loaded(&self) -> Option<&LoadedSession> {
        match &self.0 {
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

/// A session key that `Debug` does not show.
pub struct CurrentKey(SessionKey);

impl CurrentKey {
    pub(crate) fn copy(session_key: &SessionKey) -> Self {
        let copy = session_key.as_ref().to_owned().try_into();
        Self(copy.expect("a copy of a session key is one"))
    }
}

impl Deref for CurrentKey {
    type Target = SessionKey;

    fn deref(&self) -> &SessionKey {
        &self.0
    }
}

impl fmt::Debug for CurrentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentKey").finish_non_exhaustive()
    }
}

impl FromRequest for CurrentSession {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(_: &HttpRequest, _: &mut Payload) -> Self::Future {
        let error = "CurrentSession needs the middleware ConsistentSessions";
        let current = RequestScope::current().map(|scope| Self(scope.loaded()));
        ready(current.ok_or_else(|| ErrorInternalServerError(error)))
    }
}
