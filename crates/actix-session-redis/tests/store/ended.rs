use std::rc::Rc;

use actix_session::storage::{SessionKey, SessionStore};
use actix_session_redis::RedisSessionStore;
use futures_util::{
    FutureExt,
    future::{LocalBoxFuture, join, join_all},
};

use crate::support::{
    app::{Setup, TestApp},
    proxy::{Command, Fate, Proxy},
    redis::TestRedis,
    sessions::{HOUR, copy, hash_of, long_key, state, tombstone_of},
};

/// What a request writes that had loaded the session before it ended.
async fn write_late(store: &RedisSessionStore, key: &SessionKey) -> SessionKey {
    let updated = store.update(copy(key), state("late", "1"), &HOUR).await;
    updated.unwrap()
}

/// A cookie that the application has signed for another purpose can be sent as a session cookie.
#[actix_web::test]
async fn no_session_key_reaches_the_tombstone_of_an_ended_session() {
    let redis = TestRedis::start().await;
    let setup = Setup::default();
    let app = TestApp::with(redis.store(), &setup);
    let store = redis.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    store.delete(&key).await.unwrap();

    let tombstone = tombstone_of(&key);
    let forged = setup.signed_cookie(tombstone.strip_prefix("session:").unwrap());
    app.browser_with_cookie(forged).get("/purge").await.text();
    assert_eq!(redis.keys(), [tombstone]);
}

/// Lets `event` happen before every command of this kind.
async fn proxy_with_event(
    redis: &TestRedis,
    kind: impl Fn(&Command) -> bool + 'static,
    event: impl Fn() -> LocalBoxFuture<'static, ()> + 'static,
) -> Proxy {
    Proxy::before(redis, move |command| {
        if kind(command) {
            Fate::ForwardAfter(event())
        } else {
            Fate::Forward
        }
    })
    .await
}

#[actix_web::test]
async fn a_write_to_an_ended_session_is_dropped() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    store.delete(&key).await.unwrap();

    let returned = write_late(&store, &key).await;
    assert_eq!(redis.keys(), [tombstone_of(&key)]);
    assert_eq!(store.load(&returned).await.unwrap(), None);
}

#[actix_web::test]
async fn a_session_that_had_expired_before_it_ended_is_not_brought_back_either() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = long_key("expired");
    store.delete(&key).await.unwrap();
    write_late(&store, &key).await;
    assert_eq!(redis.keys(), [tombstone_of(&key)]);
}

#[actix_web::test]
async fn the_end_of_a_session_is_remembered_for_five_minutes_at_most() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    store.delete(&key).await.unwrap();
    let left = redis.pttl(&tombstone_of(&key));
    assert!((240_000..=300_000).contains(&left), "{left} ms left");
}

#[actix_web::test]
async fn a_write_to_a_session_that_has_expired_is_dropped() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    redis.expire_now(&hash_of(&key));

    assert_eq!(write_late(&store, &key).await, key);
    assert_eq!(redis.keys(), [""; 0]);
}

#[actix_web::test]
async fn a_write_just_before_the_end_does_not_survive_it() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();

    let (other, same) = (store.clone(), Rc::new(copy(&key)));
    let proxy = proxy_with_event(&redis, Command::is_script, move || {
        let (other, same) = (other.clone(), Rc::clone(&same));
        async move { drop(write_late(&other, &same).await) }.boxed_local()
    })
    .await;
    proxy.store().delete(&key).await.unwrap();
    assert_eq!(redis.keys(), [tombstone_of(&key)]);
}

#[actix_web::test]
async fn however_writes_and_the_end_interleave_no_session_is_left() {
    const WRITERS: usize = 4;
    let redis = TestRedis::start().await;
    let ender = redis.store();
    let writers: [_; WRITERS] = std::array::from_fn(|_| redis.store());
    for round in 0..100 {
        let key = ender.save(state("n", "1"), &HOUR).await.unwrap();
        let write = async |writer: &RedisSessionStore| {
            for _ in 0..3 {
                write_late(writer, &key).await;
            }
        };
        let (sooner, later) = writers.split_at(round % (WRITERS + 1));
        let (sooner, later) = (sooner.iter().map(write), later.iter().map(write));
        let end = join(join_all(sooner), ender.delete(&key));
        let ((_, ended), _) = join(end, join_all(later)).await;
        ended.unwrap();
        assert_eq!(redis.sessions(), [""; 0], "in round {round}");
    }
}

#[actix_web::test]
async fn a_request_that_outlasts_the_logout_of_another_tab_leaves_no_session() {
    let redis = TestRedis::start().await;
    let app = TestApp::on(redis.store());
    let browser = app.browser();
    browser.get("/count").await.text();
    let same_cookie = browser.cookie();
    let other_tab = app.browser_with_cookie(same_cookie.clone());

    let (slow, logout) = browser.get_slowly("/count", other_tab.get("/purge")).await;
    assert_eq!((slow.text().as_str(), logout.status), ("n=2", 200));

    assert_eq!(redis.sessions(), [""; 0]);
    for cookie in [same_cookie, browser.cookie()] {
        let visitor = app.browser_with_cookie(cookie);
        assert_eq!(visitor.get("/read").await.text(), "empty");
    }
}
