use std::rc::Rc;

use actix_session::storage::{SessionKey, SessionStore};
use actix_session_redis::{RedisSessionStore, RedisSessionStoreBuilder};
use futures_util::FutureExt;

use super::{assert_n, change, count_up, count_up_twice_at_once, counting_n};
use crate::support::{
    proxy::{Fate, Proxy},
    redis::TestRedis,
    sessions::{HOUR, copy, hash_of, state},
};

/// Loses the reply to the script when it runs for the n-th time, and lets something happen before
/// the next time.
async fn proxy_losing(
    redis: &TestRedis,
    n: usize,
    meanwhile: impl Future<Output = ()> + 'static,
) -> Proxy {
    let mut runs = 0;
    let mut meanwhile = Some(meanwhile.boxed_local());
    Proxy::before(redis, move |command| {
        runs += usize::from(command.is_script());
        match meanwhile.take_if(|_| runs > n) {
            Some(event) => Fate::ForwardAfter(event),
            None if command.is_script() && runs == n => Fate::LoseReply,
            None => Fate::Forward,
        }
    })
    .await
}

/// Redis that knows the scripts, and a session that has counted to 3.
async fn counted_to_3() -> (TestRedis, RedisSessionStore, SessionKey) {
    let redis = TestRedis::start().await;
    let store = redis.store_with(counting_n);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    count_up_twice_at_once(&store, &key).await;
    (redis, store, key)
}

#[actix_web::test]
async fn a_counter_is_not_counted_twice_when_the_reply_is_lost() {
    let (redis, store, key) = counted_to_3().await;
    let proxy = proxy_losing(&redis, 1, async {}).await;
    count_up(&proxy.store_with(counting_n), &key).await;
    assert_n(&store, &key, "4").await;
    assert_eq!(proxy.seen("EVALSHA").len(), 2);
}

#[actix_web::test]
async fn a_counter_is_not_counted_twice_when_others_count_before_the_retry() {
    let (redis, store, key) = counted_to_3().await;
    let (other, same) = (store.clone(), copy(&key));
    let proxy = proxy_losing(&redis, 1, async move { count_up(&other, &same).await }).await;
    count_up(&proxy.store_with(counting_n), &key).await;
    assert_n(&store, &key, "5").await;
}

#[actix_web::test]
async fn a_large_counter_is_not_counted_twice_when_the_reply_is_lost() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(counting_n);
    let large = |n: u64| (u64::MAX - 10 + n).to_string();
    let key = store.save(state("n", &large(0)), &HOUR).await.unwrap();
    let count_up = async |store: &RedisSessionStore, key: &SessionKey| {
        let counted = change(store, key, async |state| {
            let n: u64 = state["n"].parse().unwrap();
            drop(state.insert("n".into(), (n + 1).to_string()))
        });
        counted.await.unwrap();
    };
    count_up(&store, &key).await; // The server learns the script.
    let (other, same) = (store.clone(), copy(&key));
    let meanwhile = async move { count_up(&other, &same).await };
    let proxy = proxy_losing(&redis, 1, meanwhile).await;
    count_up(&proxy.store_with(counting_n), &key).await;
    assert_n(&store, &key, &large(3)).await;
}

#[actix_web::test]
async fn a_merge_function_is_not_applied_twice_when_the_reply_is_lost() {
    let appending = |options: RedisSessionStoreBuilder| {
        options.merge_field("log", |_, theirs, ours| {
            format!("{}{ours}", theirs.unwrap()).into()
        })
    };
    let redis = TestRedis::start().await;
    let store = redis.store_with(appending);
    let key = store.save(state("log", "0"), &HOUR).await.unwrap();
    let write = async |store: &RedisSessionStore, key: &SessionKey, log: &'static str| {
        let written = change(store, key, async |state| {
            drop(state.insert("log".into(), log.into()))
        });
        written.await.unwrap();
    };
    let (other, same) = (store.clone(), copy(&key));
    let meanwhile = async move { write(&other, &same, "2").await };
    // The first time, the server does not know the script.
    let proxy = proxy_losing(&redis, 2, meanwhile).await;
    write(&proxy.store_with(appending), &key, "1").await;
    assert_eq!(store.load(&key).await.unwrap(), Some(state("log", "2")));
}

#[actix_web::test]
async fn an_end_between_a_lost_reply_and_the_retry_is_an_end() {
    let (redis, store, key) = counted_to_3().await;
    let (other, same) = (store.clone(), copy(&key));
    let end = async move { other.delete(&same).await.unwrap() };
    let proxy = proxy_losing(&redis, 1, end).await;
    count_up(&proxy.store_with(counting_n), &key).await;
    assert_eq!(redis.sessions(), [""; 0]);
    assert_eq!(store.load(&key).await.unwrap(), None);
}

#[actix_web::test]
async fn a_session_that_expires_between_a_lost_reply_and_the_retry_stays_gone() {
    let (redis, store, key) = counted_to_3().await;
    let redis = Rc::new(redis);
    let (server, redis_key) = (Rc::clone(&redis), hash_of(&key));
    let expiry = async move { server.expire_now(&redis_key) };
    let proxy = proxy_losing(&redis, 1, expiry).await;
    let losing = proxy.store_with(counting_n);
    let counted = change(&losing, &key, async |state| {
        drop(state.insert("n".to_owned(), "4".to_owned()))
    });
    assert_eq!(counted.await.unwrap(), key);
    assert_eq!(store.load(&key).await.unwrap(), None);
    assert_eq!(redis.keys(), [""; 0]);
}

#[actix_web::test]
async fn however_often_it_is_counted_a_session_is_one_redis_key_of_bounded_size() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(counting_n);
    let key = store.save(state("n", "10"), &HOUR).await.unwrap();
    let size = || redis.run::<u64>(&format!("MEMORY USAGE {} SAMPLES 0", hash_of(&key)));
    for _ in 0..16 {
        count_up(&store, &key).await;
    }
    let before = size();
    for _ in 0..50 {
        count_up(&store, &key).await;
    }
    assert_eq!(size(), before);
    assert_eq!(redis.keys(), [hash_of(&key)]);
    assert_n(&store, &key, "76").await;
}
