use std::{
    fmt,
    future::{Future, Ready, ready},
    pin::Pin,
    rc::Rc,
};

use actix_session::storage::SessionKey;
use actix_web::{
    Error, FromRequest, HttpRequest,
    dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    error::ErrorInternalServerError,
    http::header::{HeaderMap, SET_COOKIE},
};

use crate::scope::Scope;

type LocalBoxFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// Keeps sessions consistent when requests overlap: wraps the
/// [`SessionMiddleware`](actix_session::SessionMiddleware) of a
/// [`RedisSessionStore`](crate::RedisSessionStore).
///
/// ```
/// use actix_session::SessionMiddleware;
/// use actix_session_redis::{ConsistentSessions, RedisSessionStore};
/// use actix_web::{App, cookie::Key};
///
/// # fn main() -> Result<(), actix_session_redis::Error> {
/// # let key = Key::generate();
/// let store = RedisSessionStore::from_url("redis://127.0.0.1:6379")?;
/// App::new().wrap(ConsistentSessions::new(
///     SessionMiddleware::builder(store, key).build(),
/// ));
/// # Ok(())
/// # }
/// ```
///
/// [What it guarantees](crate#consistent-sessions), and what it does not, is listed in the
/// documentation of the crate. It has no options of its own: rules for fields that are changed by
/// two requests at once belong to the
/// [store](crate::RedisSessionStoreBuilder::counter).
///
/// An application with several session middlewares wraps each of them.
#[derive(Clone, Debug)]
pub struct ConsistentSessions<M> {
    sessions: M,
}

impl<M> ConsistentSessions<M> {
    /// Wraps a session middleware.
    pub fn new(sessions: M) -> Self {
        Self { sessions }
    }
}

impl<M, S, B> Transform<S, ServiceRequest> for ConsistentSessions<M>
where
    M: Transform<Application<S>, ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    M::Transform: 'static,
    M::Future: 'static,
    S: Service<ServiceRequest>,
    B: 'static,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Transform = InScope<M::Transform>;
    type InitError = M::InitError;
    type Future = LocalBoxFuture<Result<Self::Transform, Self::InitError>>;

    fn new_transform(&self, application: S) -> Self::Future {
        let sessions = self.sessions.new_transform(Application { application });
        Box::pin(async {
            Ok(InScope {
                sessions: sessions.await?,
            })
        })
    }
}

/// Outside the session middleware: opens the scope, and has the last word on the cookie.
#[doc(hidden)]
#[derive(Debug)]
pub struct InScope<S> {
    sessions: S,
}

impl<S, B> Service<ServiceRequest> for InScope<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: 'static,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Future = LocalBoxFuture<Result<Self::Response, Self::Error>>;

    forward_ready!(sessions);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let scope = Rc::new(Scope::default());
        let response = scope.enter(|| self.sessions.call(request));
        Box::pin(async move {
            let mut response = response.await?;
            if let Some(limit) = scope.cookie_limit() {
                remove_cookies_after(limit, response.headers_mut());
            }
            Ok(response)
        })
    }
}

/// Inside the session middleware: notes when the application runs, and which cookies are its own.
/// What comes on top of them is the session cookie, whatever its name.
#[doc(hidden)]
#[derive(Debug)]
pub struct Application<S> {
    application: S,
}

impl<S, B> Service<ServiceRequest> for Application<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>>,
    S::Future: 'static,
{
    type Response = ServiceResponse<B>;
    type Error = S::Error;
    type Future = LocalBoxFuture<Result<Self::Response, Self::Error>>;

    forward_ready!(application);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let scope = Scope::current();
        if let Some(scope) = &scope {
            scope.application_begins();
        }
        let response = self.application.call(request);
        Box::pin(async {
            let response = response.await;
            if let Some(scope) = scope {
                scope.application_ends();
                if let Ok(response) = &response {
                    scope.set_application_cookies(response.headers().get_all(SET_COOKIE).count());
                }
            }
            response
        })
    }
}

fn remove_cookies_after(count: usize, headers: &mut HeaderMap) {
    let kept: Vec<_> = headers.remove(SET_COOKIE).take(count).collect();
    for cookie in kept {
        headers.append(SET_COOKIE, cookie);
    }
}

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
/// Outside [`ConsistentSessions`] the extractor fails with a 500: the application lacks it.
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
        ready(match Scope::current() {
            Some(scope) => Ok(Self(scope.session_key())),
            None => Err(ErrorInternalServerError(
                "CurrentSession needs the middleware ConsistentSessions",
            )),
        })
    }
}
