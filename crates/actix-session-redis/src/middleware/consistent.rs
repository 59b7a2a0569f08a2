use std::{future::Future, pin::Pin, rc::Rc};

use actix_web::{
    Error,
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    http::header::{HeaderMap, SET_COOKIE},
};

use super::request_scope::RequestScope;

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
        let scope = Rc::new(RequestScope::default());
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
        let scope = RequestScope::current();
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
