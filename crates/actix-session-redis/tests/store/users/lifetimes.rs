use std::time::{Duration, SystemTime};

use actix_session::{config::TtlExtensionPolicy, storage::SessionStore as _};
use actix_session_redis::{Error, RedisSessionStore};

use super::{app_with_devices, log_in, save, with_users};
use crate::support::{
    app::{Setup, TestApp},
    redis::TestRedis,
    sessions::{HOUR, hash_of, state},
};

const DAY: Duration = Duration::from_secs(86_400);

/// As if it had begun so long ago.
fn age(redis: &TestRedis, session: &str, age: Duration) {
    let born = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        - age;
    let born = born.as_millis().to_string();
    redis.put_in_session(session, &[(b"\xFFborn", born.as_bytes())]);
}

#[actix_web::test]
async fn a_session_ends_at_its_absolute_lifetime_however_often_it_is_used() {
    for consistent in [true, false] {
        let redis = TestRedis::start().await;
        let store = redis.store_with(|builder| builder.absolute_lifetime(2 * DAY));
        let setup = Setup {
            consistent,
            policy: TtlExtensionPolicy::OnEveryRequest,
            ..Setup::default()
        };
        let app = TestApp::with(store, &setup);
        let browser = app.browser();
        browser.get("/set/n/1").await.text();
        let session = redis.only_session();
        age(&redis, &session, 2 * DAY - Duration::from_secs(60));
        for path in ["/read", "/set/n/2", "/clear-and-set/n/3", "/set/n/4"] {
            browser.get(path).await.text();
            let left = redis.pttl(&session);
            assert!((1..=60_000).contains(&left), "{path}: {left}");
        }
        age(&redis, &session, 2 * DAY);
        redis.run::<()>(&format!("PEXPIRE {session} 3600000"));
        assert_eq!(browser.get("/read").await.text(), "empty");
        assert_eq!(redis.sessions(), [""; 0]);
    }
}

#[actix_web::test]
async fn only_a_login_begins_the_absolute_lifetime_anew() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(|builder| with_users(builder).absolute_lifetime(2 * DAY));
    let app = app_with_devices(&store);
    let browser = log_in(&app, "Ada").await;
    let is_old = |redis: &TestRedis| redis.pttl(&redis.only_session()) <= 60_000;
    for (path, stays_old) in [
        ("/renew", true),
        ("/login/Ada", true),
        ("/devices/password-login/Ada", false),
        ("/login/Bob", false),
    ] {
        age(
            &redis,
            &redis.only_session(),
            2 * DAY - Duration::from_secs(60),
        );
        browser.get(path).await.text();
        assert_eq!(is_old(&redis), stays_old, "{path}");
    }
}

#[actix_web::test]
async fn a_session_may_have_a_lifetime_of_its_own() {
    for persistent in [false, true] {
        let redis = TestRedis::start().await;
        let store = redis.store_with(|builder| with_users(builder).lifetimes(DAY..=30 * DAY));
        let app = super::app_with(
            &store,
            &Setup {
                persistent,
                ..Setup::consistent()
            },
        );
        let browser = app.browser();
        let answer = browser.get("/devices/remember/Ada/2592000").await;
        assert!(
            answer.header("set-cookie").contains("Max-Age=2592000"),
            "{answer:?}"
        );
        let month = 29 * 86_400_000..=30 * 86_400_000;
        for path in ["/set/n/1", "/clear-and-set/user/Ada", "/renew"] {
            let answer = browser.get(path).await;
            let cookie = answer.header("set-cookie");
            assert!(
                cookie.is_empty() || cookie.contains("Max-Age=2592000"),
                "{path}: {cookie}"
            );
            assert!(month.contains(&redis.pttl(&redis.only_session())), "{path}");
        }
        let listed = store.sessions_of("Ada").list().await.unwrap();
        assert!(listed[0].ends() > SystemTime::now() + 29 * DAY);
        assert!(listed[0].last_seen() + Duration::from_secs(60) > SystemTime::now());
        let refused = browser.get("/devices/remember/Ada/2592001").await.text();
        assert!(refused.contains("may not"), "{refused}");
        let answer = browser.get("/purge").await;
        assert!(
            answer.header("set-cookie").contains("Max-Age=0"),
            "{answer:?}"
        );
    }
}

#[actix_web::test]
async fn a_page_can_say_how_long_the_session_has_left() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    let app = app_with_devices(&store);
    let browser = log_in(&app, "Ada").await;
    redis.run::<()>(&format!("PEXPIRE {} 60500", redis.only_session()));
    assert_eq!(browser.get("/devices/expires-in").await.text(), "60");
    assert_eq!(
        app.browser().get("/devices/expires-in").await.text(),
        "none"
    );
}

#[actix_web::test]
async fn options_that_cannot_work_are_refused() {
    type Option = fn(
        actix_session_redis::RedisSessionStoreBuilder,
    ) -> actix_session_redis::RedisSessionStoreBuilder;
    let options: [(Option, &str); 9] = [
        (
            |it| it.absolute_lifetime(Duration::ZERO),
            "absolute_lifetime",
        ),
        (|it| it.lifetimes(2 * DAY..=DAY), "lifetimes"),
        (|it| it.lifetimes(Duration::ZERO..=DAY), "lifetimes"),
        (|it| it.label_field("device"), "label_field"),
        (
            |it| it.session_limit(3, actix_session_redis::AtLimit::Refuse),
            "session_limit",
        ),
        (
            |it| with_users(it).session_limit(0, actix_session_redis::AtLimit::Refuse),
            "session_limit",
        ),
        (|it| with_users(it).counter("user"), "user_field"),
        (|it| with_users(it).built_in_layout(""), "built_in_layout"),
        (
            |it| it.absolute_lifetime(DAY).built_in_layout(""),
            "built_in_layout",
        ),
    ];
    let redis = TestRedis::start().await;
    for (option, name) in options {
        let pinged = redis.store_with(option).ping().await;
        assert_matches!(pinged, Err(Error::InvalidOption { option, .. }) if option == name);
        let built = option(RedisSessionStore::builder(redis.pool())).try_build();
        assert_matches!(built, Err(Error::InvalidOption { option, .. }) if option == name);
    }
    let valid = with_users(RedisSessionStore::builder(redis.pool()));
    valid.try_build().unwrap().ping().await.unwrap();
    let store = redis.store_with(|it| it.absolute_lifetime(Duration::MAX));
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    assert!(redis.pttl(&hash_of(&key)) > 3_000_000);
    let _ = save(&store, "Ada").await;
}

#[actix_web::test]
async fn when_a_session_was_seen_is_known_also_near_its_absolute_end() {
    let redis = TestRedis::start().await;
    let hour = Duration::from_secs(3600);
    let store = redis.store_with(|builder| with_users(builder).absolute_lifetime(hour));
    let setup = Setup::consistent_and_sliding();
    let app = super::app_with(&store, &setup);
    let browser = log_in(&app, "Ada").await;
    let session = redis.only_session();
    age(&redis, &session, hour / 2);
    browser.get("/read").await.text();
    let listed = store.sessions_of("Ada").list().await.unwrap().remove(0);
    let seen = SystemTime::now()
        .duration_since(listed.last_seen())
        .unwrap();
    assert!(seen < Duration::from_secs(60), "{listed:?}");
    assert!(listed.ends() < SystemTime::now() + hour / 2);
    // And that is not written by every request.
    let (_, asked) = redis.commands_during(browser.get("/read")).await;
    assert!(!asked.contains_key("hset"), "{asked:?}");
}

#[actix_web::test]
async fn a_session_past_its_absolute_lifetime_is_not_listed_even_before_somebody_reads_it() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(|builder| with_users(builder).absolute_lifetime(2 * DAY));
    let app = app_with_devices(&store);
    let browser = log_in(&app, "Ada").await;
    let session = redis.only_session();
    age(&redis, &session, 2 * DAY - Duration::from_secs(60));
    let left = browser.get("/devices/expires-in").await.text();
    assert!(left.parse::<u64>().unwrap() <= 60, "{left}");
    age(&redis, &session, 3 * DAY);
    assert_eq!(store.sessions_of("Ada").count().await.unwrap(), 0);
}
