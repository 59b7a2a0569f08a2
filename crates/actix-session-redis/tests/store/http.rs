use actix_session::Session;
use actix_session_redis::{ConsistentSessions, CurrentSession};
use actix_web::{
    HttpResponse, Responder, get,
    http::header::{CACHE_CONTROL, VARY},
    middleware::DefaultHeaders,
    web::scope,
};

use crate::support::{
    app::{Setup, TestApp},
    log::Log,
    redis::TestRedis,
    routes,
};

#[get("/cached")]
async fn cached(session: Session) -> impl Responder {
    session.insert("n", 1).unwrap();
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((VARY, "Accept-Language, cookie"))
        .body("cached")
}

#[get("/fail-closed")]
async fn fail_closed(session: CurrentSession) -> impl Responder {
    match session.is_unavailable() {
        true => HttpResponse::ServiceUnavailable().body("not now"),
        false => HttpResponse::Ok().body("yours"),
    }
}

/// With a middleware around it that sees responses only.
fn app_with(
    redis: &TestRedis,
    setup: &Setup,
    anonymous: bool,
    wrap: impl Fn(ConsistentSessions<Sessions>) -> ConsistentSessions<Sessions> + Clone + Send + 'static,
) -> TestApp {
    let store = redis.store_with(|options| options.anonymous_during_outage(anonymous));
    let setup = setup.clone();
    TestApp::configured(move |app| {
        let sessions = ConsistentSessions::new(setup.sessions(store.clone()));
        let part = scope("")
            .wrap(wrap(sessions))
            .wrap(DefaultHeaders::new().add(("x-outer", "passed")))
            .service((cached, fail_closed));
        app.service(part.configure(routes::all));
    })
}

type Sessions = actix_session::SessionMiddleware<actix_session_redis::RedisSessionStore>;

#[actix_web::test]
async fn no_shared_cache_shows_one_visitor_the_page_of_another() {
    let redis = TestRedis::start().await;
    let app = TestApp::consistent_on(redis.store());
    let browser = app.browser();
    let without = browser.get("/hello").await;
    assert_eq!(
        (without.header("vary"), without.header("cache-control")),
        ("Cookie".into(), "".into())
    );
    for path in [
        "/count",
        "/count",
        "/read",
        "/hello",
        "/login/Ada",
        "/purge",
    ] {
        let with = browser.get(path).await;
        assert_eq!(with.header("vary"), "Cookie", "{path}");
        assert_eq!(with.header("cache-control"), "private", "{path}");
    }
}

#[actix_web::test]
async fn an_error_tells_caches_the_same() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(|options| options.max_state_bytes(100));
    let app = TestApp::consistent_on(store);
    let browser = app.browser();
    browser.get("/count").await.text();
    let failed = browser.get("/grow/1000").await;
    failed.assert_empty_500();
    assert_eq!(failed.header("vary"), "Cookie");
    assert_eq!(failed.header("cache-control"), "private");
}

#[actix_web::test]
async fn what_the_application_says_about_caches_stands() {
    let redis = TestRedis::start().await;
    let app = app_with(&redis, &Setup::default(), false, |sessions| sessions);
    let answer = app.browser().get("/cached").await;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("vary"), "Accept-Language, cookie");
}

#[actix_web::test]
async fn an_application_may_care_for_caches_itself() {
    let redis = TestRedis::start().await;
    let app = app_with(&redis, &Setup::default(), false, |sessions| {
        sessions.cache_headers(false)
    });
    let answer = app.browser().get("/count").await;
    assert_eq!(
        (answer.header("vary"), answer.header("cache-control")),
        ("".into(), "".into())
    );
}

#[actix_web::test]
async fn a_cookie_that_only_repeats_that_of_the_request_is_not_sent() {
    let redis = TestRedis::start().await;
    let app = TestApp::consistent_on(redis.store());
    let browser = app.browser();
    assert!(browser.get("/count").await.touches_session_cookie());
    for path in ["/count", "/set/a/1", "/clear", "/count-and-fail"] {
        assert!(!browser.get(path).await.touches_session_cookie(), "{path}");
    }
    assert!(browser.get("/renew").await.touches_session_cookie());
}

#[actix_web::test]
async fn a_cookie_that_prolongs_that_of_the_request_is_sent() {
    let redis = TestRedis::start().await;
    let setup = Setup {
        persistent: true,
        ..Setup::consistent()
    };
    let app = TestApp::with(redis.store(), &setup);
    let browser = app.browser();
    browser.get("/count").await.text();
    assert!(browser.get("/count").await.touches_session_cookie());
}

#[actix_web::test]
async fn an_outage_is_a_503_that_passes_through_the_middlewares_around() {
    let redis = TestRedis::start().await;
    let app = app_with(&redis, &Setup::default(), false, |sessions| sessions);
    let browser = app.browser();
    browser.get("/count").await.text();
    redis.kill();
    for (visitor, path) in [
        (&browser, "/read"),
        (&browser, "/count"),
        (&browser, "/purge"),
        (&browser, "/login/Ada"),
        (&app.browser(), "/count"),
    ] {
        let answer = visitor.get(path).await;
        assert_eq!((answer.status, answer.body.as_str()), (503, ""), "{path}");
        assert_eq!(answer.header("retry-after"), "1", "{path}");
        assert_eq!(answer.header("x-outer"), "passed", "{path}");
        assert!(!answer.touches_session_cookie(), "{path}");
    }
    assert_eq!(app.browser().get("/hello").await.text(), "hello");
    redis.start_again().await;
}

#[actix_web::test]
async fn an_application_may_answer_an_outage_itself() {
    let redis = TestRedis::start().await;
    let app = app_with(&redis, &Setup::default(), false, |sessions| {
        sessions.on_outage(|request, error| {
            HttpResponse::BadGateway().body(format!("{}: {error}", request.path()))
        })
    });
    let browser = app.browser();
    browser.get("/count").await.text();
    redis.kill();
    for (visitor, path) in [(&browser, "/read"), (&app.browser(), "/count")] {
        let answer = visitor.get(path).await;
        assert_eq!(answer.status, 502);
        let expected = format!("{path}: Redis is unavailable");
        assert!(answer.body.starts_with(&expected), "{}", answer.body);
    }
}

#[actix_web::test]
async fn a_handler_can_fail_closed_when_its_session_is_unavailable() {
    let redis = TestRedis::start().await;
    let app = app_with(&redis, &Setup::default(), true, |sessions| sessions);
    let browser = app.browser();
    browser.get("/count").await.text();
    assert_eq!(browser.get("/fail-closed").await.text(), "yours");
    redis.kill();
    let answer = browser.get("/fail-closed").await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "not now"));
    assert_eq!(app.browser().get("/fail-closed").await.text(), "yours");
}

/// One that was left in by mistake, around or inside.
#[actix_web::test]
async fn a_second_session_middleware_is_one_warning() {
    for around in [true, false] {
        let redis = TestRedis::start().await;
        let log = Log::of_operators();
        let (store, setup) = (redis.store(), Setup::default());
        let app = TestApp::configured(move |app| {
            let consistent = ConsistentSessions::new(setup.sessions(store.clone()));
            let plain = setup.sessions(store.clone());
            let routes = scope("").configure(routes::all);
            match around {
                true => app.service(scope("").wrap(consistent).wrap(plain).service(routes)),
                false => app.service(scope("").wrap(plain).wrap(consistent).service(routes)),
            };
        });
        let browser = app.browser();
        for path in ["/set/a/1", "/set/b/2", "/set/c/3"] {
            browser.get(path).await;
        }
        log.only("there is a session middleware around another one");
    }
}

#[actix_web::test]
async fn one_session_middleware_is_no_warning() {
    let redis = TestRedis::start().await;
    let log = Log::of_operators();
    let app = TestApp::consistent_on(redis.store());
    let browser = app.browser();
    for path in [
        "/set/a/1", "/set/b/2", "/renew", "/count", "/purge", "/count",
    ] {
        browser.get(path).await.text();
    }
    assert_eq!(log.lines(), [""; 0]);
}
