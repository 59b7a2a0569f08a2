//! What is around the cookie: the session middleware's options, other middlewares, other stores.

use std::{collections::HashMap, time::Duration};

use actix_session::{
    Session, SessionMiddleware,
    config::PersistentSession,
    storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError},
};
use actix_session_redis::{
    ConsistentSessions, CurrentSession, PreviousCookieKey, RedisSessionStore,
};
use actix_web::{
    HttpMessage as _, HttpRequest, Responder,
    cookie::{Cookie, Key, SameSite, time},
    get,
    http::header::COOKIE,
    middleware::from_fn,
    web::{ServiceConfig, scope},
};

use super::{with_next_key, without_previous_keys};
use crate::support::{
    app::{Setup, TestApp},
    line::Line,
    log::Log,
    redis::TestRedis,
    routes,
};

const DAY: Duration = Duration::from_secs(86_400);

#[get("/remember-me")]
async fn remember_me(session: Session, current: CurrentSession) -> impl Responder {
    current.set_lifetime(30 * DAY).unwrap();
    session.insert("user", "Ada").unwrap();
    "remembered"
}

/// What a handler sees of the cookies, and of what an outer middleware has left.
#[get("/cookies")]
async fn cookies(request: HttpRequest) -> impl Responder {
    let headers = request.headers().get_all(COOKIE);
    let headers: Vec<_> = headers.map(|value| value.to_str().unwrap()).collect();
    let parsed = request.cookies().unwrap().clone();
    let parsed: Vec<_> = parsed.iter().map(Cookie::to_string).collect();
    let mark = request.extensions().get::<Mark>().is_some();
    format!("{}|{}|{mark}", headers.join(" & "), parsed.join(" & "))
}

struct Mark;

/// With a middleware around that has asked for the cookies already.
fn app_with(
    store: &RedisSessionStore,
    key: &Key,
    previous_keys: &[Key],
    build: impl Fn(RedisSessionStore, Key) -> SessionMiddleware<RedisSessionStore>
    + Clone
    + Send
    + 'static,
) -> TestApp {
    let (store, key, previous_keys) = (store.clone(), key.clone(), previous_keys.to_vec());
    TestApp::configured(move |app| {
        let sessions = ConsistentSessions::new(build(store.clone(), key.clone()));
        let part = scope("")
            .wrap(sessions.previous_cookie_keys(previous_keys.clone()))
            .wrap(from_fn(async |request, next| {
                let request: actix_web::dev::ServiceRequest = request;
                request.cookies().unwrap();
                request.extensions_mut().insert(Mark);
                actix_web::middleware::Next::call(&next, request).await
            }))
            .service((remember_me, cookies));
        app.service(part.configure(routes::all));
    })
}

#[actix_web::test]
async fn the_new_cookie_is_as_the_session_middleware_makes_them() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let build = |store, key| {
        SessionMiddleware::builder(store, key)
            .cookie_name("sid".to_owned())
            .cookie_path("/shop".to_owned())
            .cookie_domain(Some("example.org".to_owned()))
            .cookie_same_site(SameSite::Strict)
            .cookie_http_only(false)
            .session_lifecycle(PersistentSession::default().session_ttl(time::Duration::hours(3)))
            .build()
    };
    let (old, new) = (Key::generate(), Key::generate());
    let before = app_with(&store, &old, &[], build);
    let after = app_with(&store, &new, &[old], build);
    let browser = before.browser();
    let first = browser.get("/count").await.header("set-cookie");
    let browser = browser.at(&after);
    let remade = browser.get("/read").await;
    let [first, second] = [first, remade.header("set-cookie")]
        .map(|cookie| cookie.split_once("; ").unwrap().1.to_owned());
    assert_eq!(first, second);
    assert!(first.contains("Path=/shop") && first.contains("Domain=example.org"));
    assert_eq!(remade.touched_cookies, ["sid"]);
    assert_eq!(browser.get("/count").await.text(), "n=2");
}

#[actix_web::test]
async fn the_new_cookie_of_a_session_with_a_lifetime_of_its_own_lives_as_long() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(|options| options.lifetimes(DAY..=60 * DAY));
    let (old, new) = (Key::generate(), Key::generate());
    let before = app_with(&store, &old, &[], SessionMiddleware::new);
    let after = app_with(&store, &new, &[old], SessionMiddleware::new);
    let browser = before.browser();
    browser.get("/remember-me").await.text();
    let remade = browser.at(&after).get("/read").await;
    let set_cookie = remade.header("set-cookie");
    assert!(set_cookie.contains("Max-Age=2592000"), "{set_cookie}");
}

#[actix_web::test]
async fn an_outer_middleware_may_have_asked_for_the_cookies_before() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let (old, new) = (Key::generate(), Key::generate());
    let before = app_with(&store, &old, &[], SessionMiddleware::new);
    let after = app_with(&store, &new, &[old], SessionMiddleware::new);
    let browser = before.browser();
    browser.get("/count").await.text();
    let browser = browser.at(&after);
    let answer = browser.get("/count").await;
    assert!(answer.touches_session_cookie());
    assert_eq!(answer.text(), "n=2");
    assert_eq!(browser.get("/count").await.text(), "n=3");
}

#[actix_web::test]
async fn all_other_cookies_stay_and_so_does_what_outer_middlewares_have_left() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let (old, new) = (Key::generate(), Key::generate());
    let before = app_with(&store, &old, &[], SessionMiddleware::new);
    let after = app_with(&store, &new, &[old], SessionMiddleware::new);
    let browser = before.browser();
    browser.get("/count").await.text();
    let cookie = browser.cookie();
    let sent = format!("a=\"1 %41\";b=\r\nCookie: {cookie};  c=%zz\r\nCookie: =d; e");
    let [seen_before, seen_after] = [&before, &after].map(async |app| {
        let mut line = Line::to(app).await;
        line.get("/cookies", &sent).await
    });
    let (seen_before, seen_after) = (seen_before.await, seen_after.await);
    let (headers, parsed) = seen_after.split_once('|').unwrap();
    assert_eq!(headers, sent.replace("\r\nCookie: ", " & "));
    let (new_cookie, others) = parsed.split_once(" & ").unwrap();
    assert!(new_cookie.starts_with("id="));
    assert_eq!(format!("{headers}|{others}"), seen_before);
    assert!(others.starts_with("a=1 A & b= & id="), "{others}");
    assert!(others.ends_with("|true"), "{others}");
}

#[actix_web::test]
async fn two_session_middlewares_of_one_app_accept_their_own_previous_keys() {
    let redis = TestRedis::start().await;
    let setup = |cookie_name| Setup {
        cookie_name,
        ..Setup::consistent()
    };
    let old = [setup("shop"), setup("forum")];
    let new = old.each_ref().map(with_next_key);
    let end = new.each_ref().map(without_previous_keys);
    let [before, after, in_the_end] = [old, new, end].map(|setups| {
        let store = redis.store();
        TestApp::configured(move |app: &mut ServiceConfig| {
            for setup in &setups {
                let sessions = ConsistentSessions::new(setup.sessions(store.clone()))
                    .previous_cookie_keys(setup.previous_keys.clone());
                let part = scope(setup.cookie_name).wrap(sessions);
                app.service(part.configure(routes::all));
            }
        })
    });
    let browser = before.browser();
    for (n, app) in [&before, &after, &in_the_end].into_iter().enumerate() {
        for part in ["shop", "forum"] {
            let answer = browser.at(app).get(&format!("/{part}/count")).await;
            let new: &[&str] = if n < 2 { &[part] } else { &[] };
            assert_eq!(answer.touched_cookies, new);
            assert_eq!(answer.text(), format!("n={}", n + 1), "{part}");
        }
    }
}

/// Keeps nothing.
#[derive(Clone)]
struct Elsewhere;

impl SessionStore for Elsewhere {
    async fn load(&self, _: &SessionKey) -> Result<Option<HashMap<String, String>>, LoadError> {
        Ok(None)
    }

    async fn save(
        &self,
        _: HashMap<String, String>,
        _: &time::Duration,
    ) -> Result<SessionKey, SaveError> {
        Ok(crate::support::sessions::long_key("elsewhere"))
    }

    async fn update(
        &self,
        session_key: SessionKey,
        _: HashMap<String, String>,
        _: &time::Duration,
    ) -> Result<SessionKey, UpdateError> {
        Ok(session_key)
    }

    async fn update_ttl(&self, _: &SessionKey, _: &time::Duration) -> Result<(), anyhow::Error> {
        Ok(())
    }

    async fn delete(&self, _: &SessionKey) -> Result<(), anyhow::Error> {
        Ok(())
    }
}

#[actix_web::test]
async fn a_store_that_is_not_ours_accepts_no_previous_key_and_the_log_says_so() {
    let log = Log::of_operators();
    let app = TestApp::with(Elsewhere, &with_next_key(&Setup::consistent()));
    assert_eq!(app.browser().get("/count").await.text(), "n=1");
    log.only("cookies of previous keys are not accepted");
}

#[actix_web::test]
async fn neither_the_log_nor_any_debug_tells_a_session_key_or_a_cookie_key() {
    let redis = TestRedis::start().await;
    let log = Log::of_this_thread();
    let old = Setup::consistent();
    let (before, after) = (
        TestApp::with(redis.store(), &old),
        TestApp::with(redis.store(), &with_next_key(&old)),
    );
    let browser = before.browser();
    browser.get("/count").await.text();
    let current = browser.at(&after).get("/current").await;
    assert!(current.touches_session_cookie());
    let session_key = current.body.split(' ').next().unwrap();
    assert_eq!(session_key.len(), 64);
    let lines = log.lines().concat();
    assert!(
        lines.contains("hgetall") || lines.contains("load"),
        "{lines}"
    );
    assert!(!lines.contains(session_key));
    assert!(!lines.contains("WARN"), "{lines}");

    let previous = PreviousCookieKey::from(old.key);
    assert_eq!(
        format!("{previous:?}"),
        "PreviousCookieKey { until: None, .. }"
    );
}
