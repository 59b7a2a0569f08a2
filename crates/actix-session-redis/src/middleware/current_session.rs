//! What a handler may know of its session.

use std::{
    fmt,
    future::{Ready, ready},
};

use actix_session::storage::SessionKey;
use actix_web::{Error, FromRequest, HttpRequest, dev::Payload, error::ErrorInternalServerError};

use super::request_scope::RequestScope;

/// The session key of the request, for a handler that has to tell this session from others of
/// the same user.
///
/// A session that the request itself begins has none yet, and one that was loaded as anonymous
/// [during an outage](crate::RedisSessionStoreBuilder::anonymous_during_outage) has none either.
/// The key is a secret, as good as a password: `Debug` does not show it.
///
/// ```
/// use actix_session_redis::CurrentSession;
///
/// async fn handler(session: CurrentSession) -> &'static str {
///     match session.key() {
///         Some(_) => "welcome back",
///         None => "first visit",
///     }
/// }
/// ```
///
/// # Errors
///
/// Outside [`ConsistentSessions`](crate::ConsistentSessions) the extractor fails with a 500: the application lacks it.
pub struct CurrentSession(Option<SessionKey>);

impl CurrentSession {
    /// The session key, if the request came with a session that could be loaded.
    pub fn key(&self) -> Option<&SessionKey> {
        self.0.as_ref()
    }
}

impl fmt::Debug for CurrentSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentSession").finish_non_exhaustive()
    }
}

impl FromRequest for CurrentSession {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(_: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(match RequestScope::current() {
            Some(scope) => Ok(Self(scope.session_key())),
            None => Err(ErrorInternalServerError(
                "CurrentSession needs the middleware ConsistentSessions",
            )),
        })
    }
}
