use actix_session::{Session, storage::SessionStore};
use actix_session_redis::{
    ConsistentSessions, CurrentSession, RedisSessionStore, RedisSessionStoreBuilder,
};
use actix_web::{
    get,
    web::{Data, ServiceConfig, scope},
};

use crate::support::{
    app::{Setup, TestApp},
    line::Line,
    redis::TestRedis,
    rights,
    routes::{self, Desk},
    sessions::{hash_of, session_key},
};

fn counting_n(options: RedisSessionStoreBuilder) -> RedisSessionStoreBuilder {
    options.counter("n")
}

/// Two scopes of one app, with a store, a prefix and a cookie each.
fn shop_and_forum(redis: &TestRedis) -> TestApp {
    let part = |name: &'static str| {
        let setup = Setup {
            cookie_name: name,
            ..Setup::default()
        };
        redis.run::<()>(&rights::grant(&format!("~{name}:*")));
        let store = redis.store_with(|options| counting_n(options).key_prefix(format!("{name}:")));
        move |app: &mut ServiceConfig| {
            let sessions = setup.sessions(store.clone());
            let part = scope(name).wrap(ConsistentSessions::new(sessions));
            app.service(part.configure(routes::all));
        }
    };
    let (shop, forum) = (part("shop"), part("forum"));
    TestApp::configured(move |app| {
        app.configure(&shop).configure(&forum);
    })
}

#[actix_web::test]
async fn two_session_middlewares_of_one_app_keep_their_sessions_apart() {
    let redis = TestRedis::start().await;
    let app = shop_and_forum(&redis);
    let browser = app.browser();
    for path in ["/shop/set/item/tea", "/forum/set/user/Ada"] {
        browser.get(path).await.text();
    }
    let meanwhile = async {
        let paths = ["/shop/count", "/forum/count", "/forum/purge"];
        for path in paths {
            browser.get(path).await.text();
        }
    };
    let (slow, ()) = browser.get_slowly("/shop/count", meanwhile).await;
    assert_eq!(slow.touched_cookies, [""; 0]);
    assert_eq!(browser.get("/shop/read").await.text(), "item=\"tea\" n=2");
    assert_eq!(browser.get("/forum/read").await.text(), "empty");
    assert_eq!(redis.sessions().len(), 1);
}

#[actix_web::test]
async fn the_current_session_is_that_of_the_middleware_around_the_handler() {
    let redis = TestRedis::start().await;
    let app = shop_and_forum(&redis);
    let browser = app.browser();
    for part in ["shop", "forum"] {
        browser.get(&format!("/{part}/count")).await.text();
        let current = browser.get(&format!("/{part}/current")).await.text();
        let handle = current.split(' ').nth(1).unwrap();
        assert!(redis.sessions().contains(&format!("{part}:{handle}")));
    }
}

/// Session middlewares around a scope, and around a scope of that, all of them one and the same.
fn nested(store: RedisSessionStore, setup: Setup) -> TestApp {
    TestApp::configured(move |app| {
        let sessions = ConsistentSessions::new(setup.sessions(store.clone()));
        let inner = scope("/inner").wrap(sessions.clone());
        let other = scope("/other").wrap(sessions);
        app.service(scope("/outer").service(inner.configure(routes::all)))
            .service(other.configure(routes::all));
    })
}

#[actix_web::test]
async fn clones_of_the_middleware_keep_the_sessions_of_nested_scopes_consistent() {
    let redis = TestRedis::start().await;
    let app = nested(redis.store_with(counting_n), Setup::default());
    let browser = app.browser();
    browser.get("/other/count").await.text();
    let quick = browser.get("/other/count");
    let (slow, quick) = browser.get_slowly("/outer/inner/count", quick).await;
    assert_eq!((slow.status, quick.status), (200, 200));
    assert_eq!(browser.get("/outer/inner/read").await.text(), "n=3");

    let end = browser.get("/other/purge");
    let (slow, _) = browser.get_slowly("/outer/inner/count", end).await;
    assert!(!slow.touches_session_cookie());
    assert_eq!(redis.sessions(), [""; 0]);
}

#[actix_web::test]
async fn a_request_that_is_dropped_half_way_stores_nothing_and_disturbs_nobody() {
    let redis = TestRedis::start().await;
    let app = TestApp::consistent_on(redis.store_with(counting_n));
    let (browser, somebody_else) = (app.browser(), app.browser());
    browser.get("/count").await.text();
    let session = redis.only_session();
    let before = redis.dump(&session);

    for _ in 0..3 {
        let mut line = Line::to(&app).await;
        line.send("/count?at-the-desk", &browser.cookie()).await;
        app.arrival_at_the_desk().await;
        line.reset();
        app.drop_of_a_request().await;
    }
    assert!(redis.dump(&session) == before);
    assert_eq!(redis.keys(), [session]);

    let quick = browser.get("/count");
    let (slow, _) = browser.get_slowly("/count", quick).await;
    assert_eq!(slow.text(), "n=2");
    assert_eq!(browser.get("/read").await.text(), "n=3");
    assert_eq!(somebody_else.get("/read").await.text(), "empty");
}

#[actix_web::test]
async fn the_current_session_has_key_and_handle_and_no_debug_shows_the_key() {
    let redis = TestRedis::start().await;
    let app = TestApp::consistent_on(redis.store());
    let browser = app.browser();
    browser.get("/count").await.text();
    let session = redis.only_session();
    let id = session.strip_prefix("session:").unwrap();
    let current = browser.get("/current").await.text();
    let (key, rest) = current.split_once(' ').unwrap();
    assert_eq!(hash_of(&session_key(key)), session);
    assert_eq!(
        rest,
        format!(
            "{id} Some(CurrentKey {{ .. }}) \
             CurrentSession {{ handle: Some(SessionId(\"{id}\")), is_unavailable: false, .. }}"
        )
    );
}

/// Loads the session by itself once others have changed it, and then changes it as every handler
/// does.
#[get("/look-up")]
async fn look_up_and_count(
    session: Session,
    current: CurrentSession,
    store: Data<RedisSessionStore>,
    desk: Data<Desk>,
) -> &'static str {
    desk.arrived.add_permits(1);
    desk.let_go.acquire().await.unwrap().forget();
    store.load(current.key().unwrap()).await.unwrap();
    session.insert("n", 1).unwrap();
    "counted"
}

#[actix_web::test]
async fn a_handler_that_looks_up_its_own_session_loses_nothing_of_what_others_change() {
    let redis = TestRedis::start().await;
    let (store, setup) = (redis.store(), Setup::default());
    let app = TestApp::configured(move |app| {
        let sessions = ConsistentSessions::new(setup.sessions(store.clone()));
        let part = scope("")
            .app_data(Data::new(store.clone()))
            .wrap(sessions)
            .service(look_up_and_count);
        app.service(part.configure(routes::all));
    });
    let browser = app.browser();
    browser.get("/set/name/Ada").await.text();
    let quick = browser.get("/set/name/Bea");
    let (slow, _) = browser.get_slowly("/look-up", quick).await;
    assert_eq!(slow.text(), "counted");
    assert_eq!(browser.get("/read").await.text(), "n=1 name=\"Bea\"");
}

#[actix_web::test]
async fn a_newcomer_has_no_current_session() {
    let redis = TestRedis::start().await;
    let setup = Setup::consistent();
    let app = TestApp::with(redis.store(), &setup);
    for visitor in [
        app.browser(),
        app.browser_with_cookie("id=forged"),
        app.browser_with_cookie(setup.signed_cookie("expired")),
    ] {
        let current = visitor.get("/current").await.text();
        let nothing = "CurrentSession { handle: None, is_unavailable: false, .. }";
        assert_eq!(current, format!("none none None {nothing}"));
    }
}

#[actix_web::test]
async fn without_consistent_sessions_asking_for_the_current_session_is_an_error() {
    let redis = TestRedis::start().await;
    let app = TestApp::on(redis.store());
    let browser = app.browser();
    browser.get("/count").await.text();
    assert_eq!(browser.get("/current").await.status, 500);
}
