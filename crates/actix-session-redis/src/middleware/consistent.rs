use std::sync::Arc;

use actix_session::SessionExt as _;
use actix_web::{
    Error, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
};
use futures_util::future::LocalBoxFuture;

use super::{
    application::Application,
    cookie_keys::{CookieKeys, PreviousCookieKey},
    options::Options,
    request_scope::RequestScope,
};

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
/// [What it guarantees](crate::consistency), and what it does not, is a chapter of its own. Rules for
/// fields that are changed by two requests at once belong to the [store](crate::RedisSessionStoreBuilder::counter).
///
/// An application with several session middlewares wraps each of them.
#[derive(Clone, Debug)]
#[must_use = "a middleware does nothing until an app is wrapped with it"]
pub struct ConsistentSessions<M> {
    sessions: M,
    options: Options,
    previous_cookie_keys: Arc<[PreviousCookieKey]>,
}

impl<M> ConsistentSessions<M> {
    /// Wraps a session middleware.
    pub fn new(sessions: M) -> Self {
        Self {
            sessions,
            options: Options::default(),
            previous_cookie_keys: Arc::default(),
        }
    }

    /// How a request is answered whose session Redis did not give or take: with the
    /// [`Error::Unavailable`](crate::Error::Unavailable) that says why.
    ///
    /// Default: an empty 503 with `Retry-After: 1`, since requests are served again as soon as
    /// Redis is back ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-15.6.4)). It passes
    /// through the middlewares around this one as every response does. It sets no session cookie,
    /// unless Redis did not say what came of a renewal: then, that of the new session.
    ///
    /// ```
    /// # use actix_session_redis::ConsistentSessions;
    /// # use actix_web::HttpResponse;
    /// # fn example<M>(sessions: M) -> ConsistentSessions<M> {
    /// ConsistentSessions::new(sessions).on_outage(|request, _error| {
    ///     HttpResponse::ServiceUnavailable().body(format!("{} is back soon", request.path()))
    /// })
    /// # }
    /// ```
    pub fn on_outage(
        mut self,
        answer: impl Fn(&HttpRequest, &crate::Error) -> HttpResponse + Send + Sync + 'static,
    ) -> Self {
        self.options.on_outage = Arc::new(answer);
        self
    }

    /// How a request is answered that logs in, and may not: with the
    /// [`Error::SessionLimit`](crate::Error::SessionLimit) or [`Error::Overtaken`](crate::Error::Overtaken)
    /// that says why. It is known when the session is written, after the handler, so this answer takes
    /// the place of the handler's. A handler that wants to know before asks
    /// [`begin_login`](crate::UserSessions::begin_login).
    ///
    /// Default: a 409 with the text of the error
    /// ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.10)). It sets no session cookie.
    pub fn on_refused_login(
        mut self,
        answer: impl Fn(&HttpRequest, &crate::Error) -> HttpResponse + Send + Sync + 'static,
    ) -> Self {
        self.options.on_refused_login = Arc::new(answer);
        self
    }

    /// Whether responses tell caches that they depend on the session: `Vary: Cookie` on all of
    /// them, and `Cache-Control: private` when the request had or got a session and the application
    /// has set no `Cache-Control`.
    ///
    /// Default: `true`, so that no shared cache shows one visitor's page to another
    /// ([RFC 9111](https://www.rfc-editor.org/rfc/rfc9111#section-4.1)). Static files belong outside
    /// of the middleware.
    pub fn cache_headers(mut self, set: bool) -> Self {
        self.options.cache_headers = set;
        self
    }

    /// Accepts session cookies that were made with these older [`Key`](actix_web::cookie::Key)s, the most
    /// recent first, so that nobody is logged out when the key of the session middleware changes. Such a
    /// cookie is made anew with the current key, for the same session and with all that the session
    /// middleware is set to, and the response brings it to the browser.
    ///
    /// Default: none, since a key that is accepted for ever cannot be given up.
    ///
    /// To change the key, generate a new one for the session middleware, and let the old one be a
    /// previous one:
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    ///
    /// use actix_session::SessionMiddleware;
    /// use actix_session_redis::{ConsistentSessions, PreviousCookieKey, RedisSessionStore};
    /// use actix_web::{App, cookie::Key};
    ///
    /// # fn main() -> Result<(), actix_session_redis::Error> {
    /// # let [new_key, old_key, leaked_key] = [(); 3].map(|()| Key::generate());
    /// # let the_day_it_leaked = SystemTime::now();
    /// let store = RedisSessionStore::from_url("redis://127.0.0.1:6379")?;
    /// let previous_keys = [
    ///     PreviousCookieKey::from(old_key),
    ///     // For a week and no longer, even if this stays in the code.
    ///     PreviousCookieKey::until(leaked_key, the_day_it_leaked + Duration::from_secs(7 * 86_400)),
    /// ];
    /// let sessions = SessionMiddleware::new(store, new_key);
    /// App::new().wrap(ConsistentSessions::new(sessions).previous_cookie_keys(previous_keys));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Remove the old key when the longest lifetime of a session has passed: whoever has been here since has
    /// a new cookie, and the sessions of all others have expired. Several processes that are not deployed
    /// at once need [one step before](crate::security#changing-the-cookie-key).
    ///
    /// - *What it costs*: one HMAC per previous key and request with a session cookie, or one decryption if
    ///   the cookies are encrypted. A cookie that is made anew costs one `PTTL`, since a session that has
    ///   ended meanwhile gets none.
    /// - *The request* has the new cookie for all who ask actix-web for its cookies, even if an outer
    ///   middleware has done so before; the header `Cookie` is what the browser has sent. Of several
    ///   cookies of that name the first counts, as always.
    /// - *The store* must be a [`RedisSessionStore`](crate::RedisSessionStore), or call the `save` of one
    ///   without waiting for anything else. With any other, no previous key is accepted, the log says so
    ///   (`WARN`), and that store may be asked to save a session with one field for each worker that
    ///   starts.
    pub fn previous_cookie_keys(
        mut self,
        keys: impl IntoIterator<Item = impl Into<PreviousCookieKey>>,
    ) -> Self {
        self.previous_cookie_keys = keys.into_iter().map(Into::into).collect();
        self
    }
}

impl<M, S, B, C> Transform<S, ServiceRequest> for ConsistentSessions<M>
where
    M: Transform<Application<S>, ServiceRequest, Response = ServiceResponse<C>, Error = Error>,
    M::Transform: 'static,
    M::Future: 'static,
    S: Service<ServiceRequest, Response = ServiceResponse<B>>,
    B: MessageBody + 'static,
    C: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = InScope<M::Transform>;
    type InitError = M::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Transform, Self::InitError>>;

    fn new_transform(&self, application: S) -> Self::Future {
        let options = self.options.clone();
        let previous_cookie_keys = Arc::clone(&self.previous_cookie_keys);
        let sessions = self.sessions.new_transform(Application {
            application,
            options: options.clone(),
        });
        Box::pin(async move {
            let sessions = sessions.await?;
            Ok(InScope {
                cookie_keys: CookieKeys::learn(&previous_cookie_keys, &sessions),
                sessions,
                options,
            })
        })
    }
}

/// Outside the session middleware: opens the scope, and has the last word on the response.
#[doc(hidden)]
#[derive(Debug)]
pub struct InScope<S> {
    sessions: S,
    options: Options,
    cookie_keys: Option<CookieKeys>,
}

impl<S, B> Service<ServiceRequest> for InScope<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    forward_ready!(sessions);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let is_nested = !request.get_session().entries().is_empty();
        let scope = RequestScope::new(is_nested);
        let cookie_keys = self.cookie_keys.as_ref();
        let remade = cookie_keys.and_then(|keys| keys.remake(&request, &self.sessions));
        let response = scope.enter(|| self.sessions.call(request));
        let options = self.options.clone();
        Box::pin(async move {
            match response.await {
                Ok(response) => Ok(options.finish(response, &scope, remade).await),
                Err(mut error) => {
                    error.add_response_mapper(move |mut response| {
                        options.set_cache_headers(&scope, false, response.headers_mut());
                        response
                    });
                    Err(error)
                }
            }
        })
    }
}
