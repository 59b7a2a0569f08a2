//! An app that keeps sessions, and browsers that visit it.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc, thread, time::Duration};

use actix_session::{
    Session, SessionMiddleware,
    config::{BrowserSession, CookieContentSecurity, TtlExtensionPolicy},
    storage::SessionStore,
};
use actix_test::TestServer;
use actix_web::{
    App, Result,
    cookie::{Cookie, CookieJar, Key, time},
    get,
    http::header,
    web::{Data, Path},
};
use tokio::sync::Semaphore;

use super::sessions::HOUR;

/// How the sessions of an app are set up.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) key: Key,
    pub(crate) cookies: CookieContentSecurity,
    pub(crate) policy: TtlExtensionPolicy,
    pub(crate) ttl: time::Duration,
    pub(crate) workers: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            key: Key::generate(),
            cookies: CookieContentSecurity::Signed,
            policy: TtlExtensionPolicy::OnStateChanges,
            ttl: HOUR,
            workers: 1,
        }
    }
}

impl Setup {
    /// The cookie that the app would have set for this session key.
    pub(crate) fn signed_cookie(&self, session_key: &str) -> String {
        let mut jar = CookieJar::new();
        let cookie = Cookie::new("id", session_key.to_owned());
        jar.signed_mut(&self.key).add(cookie);
        jar.get("id").unwrap().encoded().to_string()
    }
}

/// A real server with real workers.
pub(crate) struct TestApp {
    server: TestServer,
    desk: Arc<Desk>,
}

/// Where `/count-at-the-desk` waits.
struct Desk {
    arrived: Semaphore,
    let_go: Semaphore,
}

impl TestApp {
    pub(crate) fn on(store: impl SessionStore + Clone + Send + 'static) -> Self {
        Self::with(store, &Setup::default())
    }

    pub(crate) fn with(store: impl SessionStore + Clone + Send + 'static, setup: &Setup) -> Self {
        let desk = Arc::new(Desk {
            arrived: Semaphore::new(0),
            let_go: Semaphore::new(0),
        });
        let config = actix_test::config().h1().workers(setup.workers);
        let (setup, app_desk) = (setup.clone(), Data::from(Arc::clone(&desk)));
        let server = actix_test::start_with(config, move || {
            let lifecycle = BrowserSession::default()
                .state_ttl(setup.ttl)
                .state_ttl_extension_policy(setup.policy.clone());
            let sessions = SessionMiddleware::builder(store.clone(), setup.key.clone())
                .cookie_content_security(setup.cookies)
                .session_lifecycle(lifecycle)
                .build();
            App::new()
                .app_data(app_desk.clone())
                .wrap(sessions)
                .service((hello, read, set, grow, count, count_at_the_desk))
                .service((renew, purge, worker))
        });
        Self { server, desk }
    }

    /// One that has never been here.
    pub(crate) fn browser(&self) -> Browser<'_> {
        Browser {
            app: self,
            cookie: Rc::default(),
        }
    }

    pub(crate) fn browser_with_cookie(&self, cookie: impl Into<String>) -> Browser<'_> {
        let browser = self.browser();
        browser.cookie.replace(Some(cookie.into()));
        browser
    }

    /// Returns when a request to `/count-at-the-desk` has loaded its session and waits.
    pub(crate) async fn arrival_at_the_desk(&self) {
        self.desk.arrived.acquire().await.unwrap().forget();
    }

    pub(crate) fn let_go(&self) {
        self.desk.let_go.add_permits(1);
    }
}

/// Keeps the session cookie, as long as the app does not take it away.
#[derive(Clone)]
pub(crate) struct Browser<'a> {
    app: &'a TestApp,
    cookie: Rc<RefCell<Option<String>>>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) sets_cookie: bool,
}

impl Answer {
    /// The body of an answer that must be a success.
    #[track_caller]
    pub(crate) fn text(self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.body
    }

    /// It tells the visitor nothing about what went wrong.
    #[track_caller]
    pub(crate) fn assert_empty_500(&self) {
        assert_eq!((self.status, self.body.as_str()), (500, ""));
    }
}

impl Browser<'_> {
    /// On a connection of its own, so that the workers take turns.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        let mut request = self.app.server.get(path).force_close();
        if let Some(cookie) = &*self.cookie.borrow() {
            request = request.insert_header((header::COOKIE, cookie.as_str()));
        }
        let patience = Duration::from_secs(30);
        let mut response = request.timeout(patience).send().await.unwrap();
        let set_cookie = response.headers().get(header::SET_COOKIE).map(|header| {
            let header = header.to_str().unwrap();
            header.split_once(';').unwrap().0.to_owned()
        });
        let sets_cookie = set_cookie.is_some();
        if let Some(cookie) = set_cookie {
            let kept = (cookie != "id=").then_some(cookie);
            self.cookie.replace(kept);
        }
        let body = response.body().await.unwrap();
        Answer {
            status: response.status().as_u16(),
            body: String::from_utf8(body.to_vec()).unwrap(),
            sets_cookie,
        }
    }

    pub(crate) fn has_cookie(&self) -> bool {
        self.cookie.borrow().is_some()
    }

    pub(crate) fn cookie(&self) -> String {
        self.cookie.borrow().clone().expect("the app set a cookie")
    }

    /// The same browser, whose requests are now answered by another instance.
    pub(crate) fn at<'b>(&self, app: &'b TestApp) -> Browser<'b> {
        Browser {
            app,
            cookie: Rc::clone(&self.cookie),
        }
    }
}

/// `field=json` for each field, in order.
fn fields(session: &Session) -> String {
    let entries = session.entries();
    let sorted: BTreeMap<_, _> = entries.iter().collect();
    let fields = sorted.iter().map(|(field, json)| format!("{field}={json}"));
    if sorted.is_empty() {
        "empty".to_owned()
    } else {
        fields.collect::<Vec<_>>().join(" ")
    }
}

/// Not with `Session::update`, which actix-session 0.11 does not take for a change.
fn count_up(session: &Session) -> Result<()> {
    let n: u32 = session.get("n")?.unwrap_or(0);
    session.insert("n", n + 1)?;
    Ok(())
}

#[get("/hello")]
async fn hello() -> &'static str {
    "hello"
}

#[get("/read")]
async fn read(session: Session) -> String {
    fields(&session)
}

#[get("/set/{field}/{value}")]
async fn set(session: Session, path: Path<(String, String)>) -> Result<String> {
    let (field, value) = path.into_inner();
    session.insert(field, value)?;
    Ok(fields(&session))
}

#[get("/grow/{bytes}")]
async fn grow(session: Session, bytes: Path<usize>) -> Result<&'static str> {
    session.insert("ballast", "x".repeat(*bytes))?;
    Ok("grown")
}

#[get("/count")]
async fn count(session: Session) -> Result<String> {
    count_up(&session)?;
    Ok(fields(&session))
}

#[get("/count-at-the-desk")]
async fn count_at_the_desk(session: Session, desk: Data<Desk>) -> Result<String> {
    count_up(&session)?;
    desk.arrived.add_permits(1);
    desk.let_go.acquire().await.unwrap().forget();
    Ok(fields(&session))
}

#[get("/renew")]
async fn renew(session: Session) -> String {
    session.renew();
    fields(&session)
}

#[get("/purge")]
async fn purge(session: Session) -> String {
    session.purge();
    fields(&session)
}

/// Reads the session, on whichever worker it is.
#[get("/worker")]
async fn worker(session: Session) -> String {
    let _ = session.entries();
    format!("{:?}", thread::current().id())
}
