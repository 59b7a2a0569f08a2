use std::{cell::RefCell, rc::Rc};

use actix_session::{Session, SessionMiddleware, storage::SessionKey};
use actix_web::{
    HttpMessage as _,
    cookie::{Cookie, CookieJar, Key},
    dev::{Service, ServiceRequest, Transform},
    http::{
        StatusCode,
        header::{COOKIE, HeaderMap, SET_COOKIE},
    },
    test::TestRequest,
};
use anyhow::{Context as _, anyhow, ensure};

use crate::{
    application::{Application, Handler, LocalBoxFuture},
    harness::Harness,
    support::State,
};

/// Status and headers of the answer to a request.
type Visit = dyn Fn(ServiceRequest) -> LocalBoxFuture<(StatusCode, HeaderMap)>;

/// A browser, with the session cookie that it has been given. Clones are tabs of the same one.
#[derive(Clone)]
pub(crate) struct Browser {
    application: Rc<Visit>,
    cookie_key: Key,
    cookie: Rc<RefCell<Option<String>>>,
}

impl Browser {
    /// Of somebody who visits an application of its own.
    pub(crate) async fn start<H: Harness>(harness: &H) -> anyhow::Result<Self> {
        let cookie_key = Key::generate();
        let sessions = SessionMiddleware::new(harness.store(), cookie_key.clone());
        let sessions = harness.middleware(sessions);
        let service = sessions.new_transform(Application::new()).await;
        let service = Rc::new(service.map_err(|()| anyhow!("the middleware does not start"))?);
        Ok(Self {
            application: Rc::new(move |request| {
                let answer = service.call(request);
                Box::pin(async {
                    match answer.await {
                        Ok(answer) => (answer.status(), answer.headers().clone()),
                        Err(error) => {
                            let answer = error.error_response();
                            (answer.status(), answer.headers().clone())
                        }
                    }
                })
            }),
            cookie_key,
            cookie: Rc::default(),
        })
    }

    /// Another browser in the same application, with a copy of the cookie.
    pub(crate) fn with_stolen_cookie(&self) -> Self {
        Self {
            application: Rc::clone(&self.application),
            cookie_key: self.cookie_key.clone(),
            cookie: Rc::new(RefCell::new(self.cookie())),
        }
    }

    pub(crate) fn cookie(&self) -> Option<String> {
        self.cookie.borrow().clone()
    }

    /// What the cookie holds.
    pub(crate) fn session_key(&self) -> anyhow::Result<SessionKey> {
        let cookie = self.cookie().context("there is no cookie")?;
        let mut jar = CookieJar::new();
        jar.add_original(Cookie::parse_encoded(cookie)?);
        let opened = jar.private(&self.cookie_key).get("id");
        let session_key = opened.context("the cookie cannot be opened")?;
        Ok(session_key.value().to_owned().try_into()?)
    }

    /// Sends a request, takes the session cookie of the answer, and returns what the handler has.
    pub(crate) async fn request<T: 'static>(
        &self,
        handler: impl AsyncFnOnce(Session) -> T + 'static,
    ) -> anyhow::Result<T> {
        let returned = Rc::new(RefCell::new(None));
        let returns = Rc::clone(&returned);
        let handler: Handler = Box::new(move |session| {
            Box::pin(async move {
                let value = handler(session).await;
                *returns.borrow_mut() = Some(value);
            })
        });
        let mut request = TestRequest::get();
        if let Some(cookie) = self.cookie() {
            request = request.insert_header((COOKIE, cookie));
        }
        let request = request.to_srv_request();
        request.extensions_mut().insert(handler);
        let (status, headers) = (self.application)(request).await;
        for set in headers.get_all(SET_COOKIE) {
            self.take(set.to_str()?);
        }
        ensure!(status.is_success(), "a request is answered with {status}");
        returned.take().context("the handler has not run")
    }

    fn take(&self, set_cookie: &str) {
        let (pair, attributes) = set_cookie.split_once(';').unwrap_or((set_cookie, ""));
        if !pair.starts_with("id=") {
            return;
        }
        let is_removed = pair.ends_with('=') || attributes.contains("Max-Age=0");
        *self.cookie.borrow_mut() = (!is_removed).then(|| pair.to_owned());
    }

    // What visitors do.

    /// What the session holds.
    pub(crate) async fn look(&self) -> anyhow::Result<State> {
        self.request(async |session| session.entries().clone())
            .await
    }

    pub(crate) async fn put(&self, name: &'static str, value: u32) -> anyhow::Result<()> {
        let put = async move |session: Session| session.insert(name, value);
        Ok(self.request(put).await??)
    }

    /// As an application does it: with a new session key.
    pub(crate) async fn log_in(&self) -> anyhow::Result<()> {
        let log_in = async |session: Session| {
            session.renew();
            session.insert(USER, 1)
        };
        Ok(self.request(log_in).await??)
    }

    pub(crate) async fn log_out(&self) -> anyhow::Result<()> {
        self.request(async |session| session.purge()).await
    }

    /// A request during which something else happens, after the session was loaded and before it is written.
    pub(crate) async fn request_during_which(
        &self,
        happens: impl Future<Output = anyhow::Result<()>> + 'static,
        act: impl FnOnce(&Session) -> anyhow::Result<()> + 'static,
    ) -> anyhow::Result<()> {
        // In a task of its own, as on a server.
        let slow = async move |session: Session| {
            let happened = actix_web::rt::spawn(happens).await?;
            act(&session)?;
            happened
        };
        self.request(slow).await?
    }
}

/// The field that says who is logged in.
pub(crate) const USER: &str = "user";
