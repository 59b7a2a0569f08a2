use std::time::{Duration, SystemTime};

use actix_session::storage::SessionStore as _;
use actix_session_redis::{AtLimit, RedisSessionStore, RedisSessionStoreBuilder, SessionId};
use futures_util::future::join_all;

use super::{
    app_of, app_with, app_with_devices, handles, index_keys, log_in, of, save, with_users,
};
use crate::support::{
    app::Setup,
    redis::TestRedis,
    rights,
    sessions::{HOUR, session_key, tombstone_of},
};

const DAY: Duration = Duration::from_secs(86_400);

/// With a copy of each session, which is never sealed: its user has the keys of that store, too.
fn adopting(
    redis: &TestRedis,
    options: impl FnOnce(RedisSessionStoreBuilder) -> RedisSessionStoreBuilder,
) -> RedisSessionStore {
    redis.run::<()>(&rights::grant("~built-in:*"));
    redis.unsealed_store_with(|builder| {
        options(with_users(builder).adopt_built_in_sessions("built-in:"))
    })
}

/// The Redis key of the only session under this prefix.
fn only_one(redis: &TestRedis, prefix: &str) -> String {
    let mut keys = redis.keys();
    keys.retain(|key| key.starts_with(prefix) && !key.contains('{'));
    assert_eq!(keys.len(), 1, "one in {keys:?}");
    keys.concat()
}

/// In which sorted set the sessions of the only user are, by when they were entered.
fn only_index(redis: &TestRedis) -> String {
    let mut keys = index_keys(redis);
    keys.retain(|key| key.starts_with("session:user:"));
    assert_eq!(keys.len(), 1, "one in {keys:?}");
    keys.concat()
}

fn now_ms() -> u128 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_millis()
}

/// A session of the store built into actix-session, which is Ada's.
fn built_in_session(redis: &TestRedis) -> String {
    let key = "a".repeat(64);
    redis.put(&format!("built-in:{key}"), br#"{"user":"\"Ada\""}"#);
    redis.run::<()>(&format!("PEXPIRE built-in:{key} 3600000"));
    key
}

#[actix_web::test]
async fn a_newcomer_gets_no_lifetime_that_is_not_allowed() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(|builder| with_users(builder).lifetimes(DAY..=30 * DAY));
    let app = app_with_devices(&store);
    let newcomer = app.browser();
    let refused = newcomer.get("/devices/remember/Ada/2592001").await;
    assert_eq!(refused.status, 500);
    assert!(!newcomer.has_cookie());
    assert_eq!(redis.sessions(), [""; 0]);
    newcomer.get("/devices/remember/Ada/2592000").await.text();
    assert!(redis.pttl(&redis.only_session()) > 3_600_000);
}

#[actix_web::test]
async fn whoever_logs_in_does_not_inherit_a_lifetime() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(|builder| with_users(builder).lifetimes(DAY..=30 * DAY));
    let app = app_with_devices(&store);
    for login in ["/login/Bob", "/devices/password-login/Ada"] {
        let browser = app.browser();
        browser.get("/devices/remember/Ada/2592000").await.text();
        let answer = browser.get(login).await;
        assert!(!answer.header("set-cookie").contains("Max-Age"), "{login}");
        assert!(redis.pttl(&redis.only_session()) <= 3_600_000, "{login}");
        browser.get("/purge").await.text();
    }
}

#[actix_web::test]
async fn a_copy_lives_as_long_as_a_session_with_a_lifetime_of_its_own() {
    let redis = TestRedis::start().await;
    let store = adopting(&redis, |builder| builder.lifetimes(DAY..=30 * DAY));
    let app = app_with_devices(&store);
    let browser = app.browser();
    browser.get("/devices/remember/Ada/2592000").await.text();
    for path in ["/set/n/1", "/clear-and-set/user/Ada", "/renew"] {
        browser.get(path).await.text();
        let left = redis.pttl(&only_one(&redis, "built-in:"));
        assert!(left > 29 * 86_400_000, "{path}: {left}");
    }
}

#[actix_web::test]
async fn no_copy_outlives_the_absolute_lifetime() {
    let redis = TestRedis::start().await;
    let store = adopting(&redis, |builder| builder.absolute_lifetime(2 * DAY));
    let app = app_of(&store);
    let browser = log_in(&app, "Ada").await;
    let born = (now_ms() - 2 * DAY.as_millis() + 60_000).to_string();
    let session = only_one(&redis, "session:");
    redis.put_fields(&session, &[(b"\xFFborn", born.as_bytes())]);
    browser.get("/set/n/1").await.text();
    for prefix in ["session:", "built-in:"] {
        let left = redis.pttl(&only_one(&redis, prefix));
        assert!(left <= 60_000, "{prefix}: {left}");
    }
}

#[actix_web::test]
async fn a_session_gets_its_lifetime_with_the_write_that_adopts_it() {
    let redis = TestRedis::start().await;
    let store = adopting(&redis, |builder| builder.lifetimes(DAY..=30 * DAY));
    let setup = Setup::consistent();
    let app = app_with(&store, &setup);
    let browser = app.browser_with_cookie(setup.signed_cookie(&built_in_session(&redis)));
    browser.get("/devices/remember-here/2592000").await.text();
    for prefix in ["session:", "built-in:"] {
        let left = redis.pttl(&only_one(&redis, prefix));
        assert!(left > 29 * 86_400_000, "{prefix}: {left}");
    }
}

#[actix_web::test]
async fn a_session_that_is_not_adopted_yet_has_some_time_left() {
    let redis = TestRedis::start().await;
    let store = adopting(&redis, |builder| builder);
    let setup = Setup::consistent();
    let app = app_with(&store, &setup);
    let browser = app.browser_with_cookie(setup.signed_cookie(&built_in_session(&redis)));
    assert_eq!(browser.get("/devices/expires-in").await.text(), "3599");
}

/// Even if it is about to be adopted, or who was about to has been killed.
#[actix_web::test]
async fn what_end_all_has_ended_does_not_come_back_as_its_copy() {
    for is_under_way in [false, true] {
        let redis = TestRedis::start().await;
        let store = adopting(&redis, |builder| builder);
        let setup = Setup::consistent();
        let app = app_with(&store, &setup);
        let key = built_in_session(&redis);
        let cookie = setup.signed_cookie(&key);
        let key = session_key(&key);
        // Its entry is there before it is.
        save(&store, "Ada").await;
        let (index, id) = (only_index(&redis), SessionId::of(&key));
        redis.run::<()>(&format!("ZADD {index} {} {id}", now_ms()));
        let browser = app.browser_with_cookie(cookie.clone());
        let end_all = async { store.sessions_of("Ada").end_all().await.unwrap() };
        if is_under_way {
            browser.get_slowly("/count", end_all).await;
        } else {
            end_all.await;
            browser.get("/read").await.text();
        }
        // As five minutes later.
        redis.run::<()>(&format!("DEL {}", tombstone_of(&key)));
        let browser = app.browser_with_cookie(cookie.clone());
        assert_eq!(browser.get("/read").await.text(), "empty");
    }
}

#[actix_web::test]
async fn end_all_leaves_the_copy_of_a_session_that_is_somebody_elses_by_now() {
    let redis = TestRedis::start().await;
    let store = adopting(&redis, |builder| builder);
    let app = app_of(&store);
    save(&store, "Ada").await;
    let index = only_index(&redis);
    let bob = log_in(&app, "Bob").await;
    let [id] = &handles(&store, "Bob").await[..] else {
        panic!("one session");
    };
    redis.run::<()>(&format!("ZADD {index} {} {id}", now_ms() - 3_600_000));
    assert_eq!(store.sessions_of("Ada").end_all().await.unwrap(), 1);
    assert_eq!(bob.get("/read").await.text(), "user=\"Bob\"");
}

#[actix_web::test]
async fn a_renewal_that_is_undone_takes_nobodys_place() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(|builder| with_users(builder).session_limit(1, AtLimit::Refuse));
    let app = app_of(&store);
    let browser = log_in(&app, "Ada").await;
    let twin = app.browser_with_cookie(browser.cookie());
    let purge = async { twin.get("/purge").await.text() };
    browser.get_slowly("/renew", purge).await;
    assert_eq!(redis.sessions(), [""; 0]);
    app.browser().get("/login/Ada").await.text();
}

#[actix_web::test]
async fn a_login_is_never_older_than_those_before_it() {
    let redis = TestRedis::start().await;
    let at_most_one = |it| with_users(it).session_limit(1, AtLimit::EndOldest);
    let store = redis.store_with(at_most_one);
    let app = app_of(&store);
    log_in(&app, "Ada").await;
    let [id] = &handles(&store, "Ada").await[..] else {
        panic!("one session");
    };
    // The clock of the server that was the master then was ahead.
    let index = only_index(&redis);
    redis.run::<()>(&format!("ZADD {index} {} {id}", now_ms() + 10_000));
    let second = log_in(&app, "Ada").await;
    assert_eq!(second.get("/read").await.text(), "user=\"Ada\"");
    assert_eq!(store.sessions_of("Ada").count().await.unwrap(), 1);
}

#[actix_web::test]
async fn what_is_no_time_in_the_index_concerns_nobody_else() {
    for time in ["1e17", "inf", "-inf", "1000.5"] {
        let redis = TestRedis::start().await;
        let store = redis.store_with(with_users);
        let id = SessionId::of(&save(&store, "Ada").await);
        redis.run::<()>(&format!("ZADD {} {time} {id}", only_index(&redis)));
        assert_eq!(handles(&store, "Ada").await, [id], "{time}");
        save(&store, "Bob").await;
        assert_eq!(store.sessions_of("Ada").end_all().await.unwrap(), 1);
    }
}

#[actix_web::test]
async fn numbers_that_nobody_has_written_do_no_harm() {
    for number in [i64::MIN, i64::MAX] {
        for field in [&b"\xFFborn"[..], b"\xFFttl", b"\xFFlifetime", b"\xFFuser"] {
            let redis = TestRedis::start().await;
            let store = redis.store_with(|builder| with_users(builder).absolute_lifetime(DAY));
            let app = app_of(&store);
            let browser = log_in(&app, "Ada").await;
            let (session, index) = (redis.only_session(), only_index(&redis));
            let user = &index["session:user:{".len()..index.len() - 1];
            let value = match field {
                b"\xFFuser" => format!("{user} {number} {number}"),
                _ => number.to_string(),
            };
            redis.put_in_session(&session, &[(field, value.as_bytes())]);
            // Whose it is cannot be told then, until it is written; and what is so old has ended.
            let is_known = field != b"\xFFuser" && (field != b"\xFFborn" || number > 0);
            assert_eq!(handles(&store, "Ada").await.len(), usize::from(is_known));
            for path in ["/read", "/set/n/1", "/renew", "/clear-and-set/user/Ada"] {
                browser.get(path).await.text();
            }
            assert!(handles(&store, "Ada").await.len() <= 1);
        }
    }
}

#[actix_web::test]
async fn junk_in_the_place_of_the_owner_is_replaced_at_the_next_write() {
    let uid = "x".repeat(43);
    for junk in [
        String::new(),
        "x".to_owned(),
        format!("{uid} 1 2 3"),
        format!("{uid} 01 2"),
    ] {
        for path in [
            "/set/n/1",
            "/clear-and-set/user/Ada",
            "/renew",
            "/login/Ada",
        ] {
            let redis = TestRedis::start().await;
            let store = redis.store_with(with_users);
            let app = app_of(&store);
            let browser = log_in(&app, "Ada").await;
            redis.put_in_session(&redis.only_session(), &[(b"\xFFuser", junk.as_bytes())]);
            browser.get(path).await.text();
            assert_eq!(handles(&store, "Ada").await.len(), 1, "{junk:?} {path}");
        }
    }
}

#[actix_web::test]
async fn a_session_past_an_absolute_lifetime_that_is_new_makes_way_for_what_its_request_writes() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(|builder| builder.absolute_lifetime(DAY));
    let app = app_of(&store);
    let browser = app.browser();
    browser.get("/set/cart/1").await.text();
    let session = redis.only_session();
    redis.put_in_session(&session, &[(b"\xFFborn", b"1000")]);
    browser.get("/set/n/1").await.text();
    assert_ne!(redis.only_session(), session);
    assert_eq!(browser.get("/read").await.text(), "n=\"1\"");
}

#[actix_web::test]
async fn a_limit_may_be_set_when_a_user_has_thousands_of_sessions() {
    let redis = TestRedis::start().await;
    let store = adopting(&redis, |builder| builder);
    for _ in 0..15 {
        join_all((0..200).map(|_| store.save(of("Ada"), &HOUR))).await;
    }
    let limited = adopting(&redis, |builder| {
        builder.session_limit(3, AtLimit::EndOldest)
    });
    save(&limited, "Ada").await;
    assert_eq!(store.sessions_of("Ada").count().await.unwrap(), 3);
}

/// As long as no request with its cookie has come here, nobody has noticed.
#[actix_web::test]
async fn a_session_that_the_built_in_store_has_ended_is_neither_listed_nor_counted() {
    let redis = TestRedis::start().await;
    let store = adopting(&redis, |options| options.session_limit(2, AtLimit::Refuse));
    for _ in 0..2 {
        save(&store, "Ada").await;
    }
    assert_eq!(handles(&store, "Ada").await.len(), 2);
    let mut copies = redis.keys();
    copies.retain(|key| key.starts_with("built-in:"));
    redis.run::<()>(&format!("DEL {}", copies[0]));
    assert_eq!(handles(&store, "Ada").await.len(), 1);
    assert_eq!(store.sessions_of("Ada").count().await.unwrap(), 1);
    save(&store, "Ada").await;
    assert_eq!(handles(&store, "Ada").await.len(), 2);
}

#[actix_web::test]
async fn all_sessions_of_a_user_can_be_ended_while_redis_is_full() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    let app = app_with_devices(&store);
    let [phone, laptop] = [log_in(&app, "Ada").await, log_in(&app, "Ada").await];
    for _ in 0..2 {
        save(&store, "Ada").await;
    }
    redis.run::<()>("CONFIG SET maxmemory 1");
    let handle = handles(&store, "Ada").await.pop().unwrap();
    assert!(store.sessions_of("Ada").end(&handle).await.unwrap());
    assert_eq!(phone.get("/devices/end-others").await.text(), "2");
    assert_eq!(laptop.get("/read").await.text(), "empty");
    assert_eq!(store.sessions_of("Ada").end_all().await.unwrap(), 1);
    assert_eq!(phone.get("/read").await.text(), "empty");
    assert_eq!(redis.sessions(), [""; 0]);
}

#[actix_web::test]
async fn in_the_layout_of_the_built_in_store_a_page_can_say_how_long_the_session_has_left() {
    let redis = TestRedis::start().await;
    redis.run::<()>(&rights::grant("~built-in:*"));
    let store = redis.unsealed_store_with(|builder| builder.built_in_layout("built-in:"));
    let app = app_with_devices(&store);
    let browser = log_in(&app, "Ada").await;
    redis.run::<()>(&format!("PEXPIRE {} 60500", only_one(&redis, "built-in:")));
    assert_eq!(browser.get("/devices/expires-in").await.text(), "60");
}

/// Lua unpacks no more than some thousands at once.
#[actix_web::test]
async fn ten_thousand_entries_whose_time_is_up_go_at_once() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    save(&store, "Ada").await;
    let keys = index_keys(&redis);
    for key in &keys {
        let entries: String = (0..10_000).map(|n| format!(" 1000 {n:043}")).collect();
        redis.run::<()>(&format!("ZADD {key}{entries}"));
    }
    assert_eq!(store.sessions_of("Ada").count().await.unwrap(), 1);
    for key in &keys {
        assert_eq!(redis.run::<u64>(&format!("ZCARD {key}")), 1);
    }
}

/// As after a `FLUSHALL` of another server of the cluster.
#[actix_web::test]
async fn ten_thousand_entries_without_a_session_keep_nobody_from_logging_in() {
    for at_limit in [AtLimit::Refuse, AtLimit::EndOldest] {
        let redis = TestRedis::start().await;
        let store = redis.store_with(|it| with_users(it).session_limit(2, at_limit));
        let first = save(&store, "Ada").await;
        for (key, score) in index_keys(&redis)
            .into_iter()
            .zip([now_ms() + 7_200_000, 1000])
        {
            let entries: String = (0..10_000).map(|n| format!(" {score} {n:043}")).collect();
            redis.run::<()>(&format!("ZADD {key}{entries}"));
        }
        save(&store, "Ada").await;
        assert_eq!(handles(&store, "Ada").await.len(), 2);
        assert!(store.load(&first).await.unwrap().is_some());
        assert_eq!(
            redis.run::<u64>(&format!("ZCARD {}", only_index(&redis))),
            2
        );
    }
}
