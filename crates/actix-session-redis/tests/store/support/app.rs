//! An app that keeps sessions.

use std::{mem, net::SocketAddr, sync::Arc, time::Duration};

use actix_session::{
    SessionMiddleware,
    config::{
        BrowserSession, CookieContentSecurity, PersistentSession, SessionLifecycle,
        TtlExtensionPolicy,
    },
    storage::SessionStore,
};
use actix_session_redis::{ConsistentSessions, PreviousCookieKey};
use actix_test::TestServer;
use actix_web::{
    App,
    cookie::{Cookie, CookieJar, Key, time},
    dev::ServiceResponse,
    middleware::{Condition, from_fn},
    web::{Data, ServiceConfig},
};
use tokio::{sync::Semaphore, time::timeout};
use tracing::dispatcher::{self, Dispatch};

use super::{
    browser::Browser,
    routes::{self, Desk},
    sealing,
    sessions::HOUR,
};

/// How the sessions of an app are set up.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) key: Key,
    /// Of cookies that are accepted as well, inside [`ConsistentSessions`].
    pub(crate) previous_keys: Vec<PreviousCookieKey>,
    pub(crate) cookie_name: &'static str,
    pub(crate) cookies: CookieContentSecurity,
    pub(crate) policy: TtlExtensionPolicy,
    pub(crate) ttl: time::Duration,
    pub(crate) workers: usize,
    /// Whether the cookie outlasts the browser's window.
    pub(crate) persistent: bool,
    /// Whether it has [`ConsistentSessions`].
    pub(crate) consistent: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            key: Key::generate(),
            previous_keys: Vec::new(),
            cookie_name: "id",
            cookies: CookieContentSecurity::Signed,
            policy: TtlExtensionPolicy::OnStateChanges,
            ttl: HOUR,
            workers: 1,
            persistent: false,
            consistent: false,
        }
    }
}

impl Setup {
    pub(crate) fn consistent() -> Self {
        Self {
            consistent: true,
            ..Self::default()
        }
    }

    /// Each request prolongs its session.
    pub(crate) fn consistent_and_sliding() -> Self {
        Self {
            policy: TtlExtensionPolicy::OnEveryRequest,
            ..Self::consistent()
        }
    }

    /// The cookie that the app would have set for this session key.
    pub(crate) fn signed_cookie(&self, session_key: &str) -> String {
        let mut jar = CookieJar::new();
        let cookie = Cookie::new("id", session_key.to_owned());
        jar.signed_mut(&self.key).add(cookie);
        jar.get("id").unwrap().encoded().to_string()
    }

    /// What a response does to the session cookie.
    pub(crate) fn session_cookie(&self, response: &ServiceResponse) -> SessionCookie {
        let Some(cookie) = response.response().cookies().next() else {
            return SessionCookie::Untouched;
        };
        if cookie.value().is_empty() {
            return SessionCookie::TakenAway;
        }
        let cookie = Cookie::parse_encoded(cookie.to_string())
            .unwrap()
            .into_owned();
        let mut jar = CookieJar::new();
        jar.add_original(cookie);
        let cookie = jar.signed(&self.key).get("id").unwrap();
        sealing::learn(cookie.value());
        SessionCookie::Names(cookie.value().to_owned())
    }

    /// The middleware of actix-session, without [`ConsistentSessions`] around it.
    pub(crate) fn sessions<S: SessionStore>(&self, store: S) -> SessionMiddleware<S> {
        SessionMiddleware::builder(store, self.key.clone())
            .cookie_name(self.cookie_name.to_owned())
            .cookie_content_security(self.cookies)
            .session_lifecycle(self.lifecycle())
            .build()
    }

    fn lifecycle(&self) -> SessionLifecycle {
        let policy = self.policy.clone();
        if self.persistent {
            PersistentSession::default()
                .session_ttl(self.ttl)
                .session_ttl_extension_policy(policy)
                .into()
        } else {
            BrowserSession::default()
                .state_ttl(self.ttl)
                .state_ttl_extension_policy(policy)
                .into()
        }
    }
}

#[derive(Debug, PartialEq)]
pub(crate) enum SessionCookie {
    Untouched,
    TakenAway,
    /// The session key.
    Names(String),
}

/// A real server with real workers.
pub(crate) struct TestApp {
    pub(super) server: TestServer,
    desk: Arc<Desk>,
}

impl TestApp {
    pub(crate) fn on(store: impl SessionStore + Clone + Send + 'static) -> Self {
        Self::with(store, &Setup::default())
    }

    pub(crate) fn consistent_on(store: impl SessionStore + Clone + Send + 'static) -> Self {
        Self::with(store, &Setup::consistent())
    }

    pub(crate) fn with(store: impl SessionStore + Clone + Send + 'static, setup: &Setup) -> Self {
        let desk = Arc::<Desk>::default();
        let config = actix_test::config().h1().workers(setup.workers);
        let (setup, app_desk) = (setup.clone(), Data::from(Arc::clone(&desk)));
        let log = dispatcher::get_default(Dispatch::clone);
        let server = actix_test::start_with(config, move || {
            // A worker writes to the log of the one who started the app, for as long as it lives.
            mem::forget(dispatcher::set_default(&log));
            let sessions = || setup.sessions(store.clone());
            let consistent_sessions = ConsistentSessions::new(sessions())
                .previous_cookie_keys(setup.previous_keys.iter().cloned());
            App::new()
                .app_data(app_desk.clone())
                .wrap(Condition::new(!setup.consistent, sessions()))
                .wrap(Condition::new(setup.consistent, consistent_sessions))
                .wrap(from_fn(routes::note_drops))
                .configure(routes::all)
        });
        Self { server, desk }
    }

    /// One whose middlewares are where `configure` puts them.
    pub(crate) fn configured(
        configure: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
    ) -> Self {
        let desk = Arc::<Desk>::default();
        let config = actix_test::config().h1().workers(1);
        let app_desk = Data::from(Arc::clone(&desk));
        let log = dispatcher::get_default(Dispatch::clone);
        let server = actix_test::start_with(config, move || {
            mem::forget(dispatcher::set_default(&log));
            App::new().app_data(app_desk.clone()).configure(&configure)
        });
        Self { server, desk }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.addr()
    }

    /// One that has never been here.
    pub(crate) fn browser(&self) -> Browser<'_> {
        Browser::visiting(self)
    }

    /// One that sends this cookie.
    pub(crate) fn browser_with_cookie(&self, cookie: impl AsRef<str>) -> Browser<'_> {
        let browser = self.browser();
        browser.keep(cookie.as_ref());
        browser
    }

    /// Returns when a request to `…?at-the-desk` has loaded and changed its session, and waits.
    pub(crate) async fn arrival_at_the_desk(&self) {
        observe(&self.desk.arrived).await;
    }

    pub(crate) fn let_go(&self) {
        self.desk.let_go.add_permits(1);
    }

    /// Returns when a request has been dropped before it was answered.
    pub(crate) async fn drop_of_a_request(&self) {
        observe(&self.desk.dropped).await;
    }

    /// How many requests have been dropped before they were answered.
    pub(crate) fn drops(&self) -> usize {
        self.desk.dropped.available_permits()
    }
}

async fn observe(event: &Semaphore) {
    let patience = Duration::from_secs(20);
    let observed = timeout(patience, event.acquire()).await;
    observed.expect("it happens").unwrap().forget();
}
