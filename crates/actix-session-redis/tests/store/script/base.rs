use std::rc::Rc;

use actix_session::storage::{SessionKey, SessionStore};
use actix_session_redis::RedisSessionStore;

use super::{assert_n, count_up, count_up_after, count_up_twice_at_once, counting_n};
use crate::support::{
    proxy::Proxy,
    redis::TestRedis,
    sessions::{HOUR, copy, session_key, state_of},
};

/// A stored state of exactly so many bytes.
fn body_of(length: usize, n: u8) -> Vec<u8> {
    let around = format!(r#"{{"n":"{n}","pad":""}}"#).len();
    format!(r#"{{"n":"{n}","pad":"{}"}}"#, "7".repeat(length - around)).into()
}

#[actix_web::test]
async fn a_base_of_any_length_is_recognised_as_unchanged_and_as_changed() {
    for length in [18, 4_095, 4_096, 4_097, 4_098, 100_000] {
        let redis = Rc::new(TestRedis::start().await);
        let proxy = Proxy::watching(&redis).await;
        let store = proxy.store_with(counting_n);
        let key = session_key("session");
        redis.put(&state_of(&key), &body_of(length, 1));
        count_up_twice_at_once(&store, &key).await; // The server learns the scripts.

        redis.put(&state_of(&key), &body_of(length, 1));
        let scripts = proxy.seen("EVALSHA").len();
        count_up(&store, &key).await;
        assert_n(&store, &key, "2").await;
        assert_eq!(proxy.seen("EVALSHA").len(), scripts + 1, "{length} bytes");

        let (server, same) = (Rc::clone(&redis), copy(&key));
        count_up_after(&store, &key, async move {
            server.put(&state_of(&same), &body_of(length, 5));
        })
        .await;
        assert_n(&store, &key, "6").await;
        assert_eq!(proxy.seen("EVALSHA").len(), scripts + 3, "{length} bytes");
    }
}

#[actix_web::test]
async fn whitespace_behind_a_small_base_is_not_taken_for_a_stamp() {
    let redis = Rc::new(TestRedis::start().await);
    let store = redis.store_with(counting_n);
    let key = session_key("session");
    let spaced = |n| [body_of(100, n), vec![b' '; 32]].concat();
    redis.put(&state_of(&key), &spaced(1));
    let (server, same) = (Rc::clone(&redis), copy(&key));
    count_up_after(&store, &key, async move {
        server.put(&state_of(&same), &spaced(5));
    })
    .await;
    assert_n(&store, &key, "6").await;
}

#[actix_web::test]
async fn a_large_base_does_not_travel_back() {
    let redis = TestRedis::start().await;
    let proxy = Proxy::watching(&redis).await;
    let store = proxy.store_with(counting_n);
    for length in [5_000, 100_000] {
        let saved = serde_json::from_slice(&body_of(length, 1)).unwrap();
        let key = store.save(saved, &HOUR).await.unwrap();
        // The first time, what is loaded was saved, and then, merged by Redis.
        for _ in 0..2 {
            assert_eq!(states_sent(&proxy, &store, &key, length).await, 1);
            count_up_twice_at_once(&store, &key).await;
        }
    }
}

#[actix_web::test]
async fn a_large_base_that_another_store_has_written_travels_back_once() {
    let redis = TestRedis::start().await;
    let proxy = Proxy::watching(&redis).await;
    let store = proxy.store_with(counting_n);
    let key = session_key("session");
    redis.put(&state_of(&key), &body_of(100_000, 1));
    assert_eq!(states_sent(&proxy, &store, &key, 100_000).await, 2);
    assert_eq!(states_sent(&proxy, &store, &key, 100_000).await, 1);
}

/// How many states of this length a write sends.
async fn states_sent(
    proxy: &Proxy,
    store: &RedisSessionStore,
    key: &SessionKey,
    length: usize,
) -> usize {
    count_up(store, key).await;
    proxy.seen("EVALSHA").last().unwrap().size / length
}
