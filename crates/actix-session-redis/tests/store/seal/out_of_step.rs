use std::time::Duration;

use actix_session::storage::{SessionKey, SessionStore as _};
use actix_session_redis::RedisSessionStore;
use futures_util::future::join_all;

use super::{A, ring, sealed};
use crate::support::{
    proxy::{Fate, Proxy},
    redis::{TestRedis, pool_at},
    sessions::{HOUR, state},
    tally::Tally,
};

/// Everybody's pages, once more and once more.
async fn look_around(tally: &Tally, store: &RedisSessionStore, keys: &[SessionKey]) {
    for _ in 0..3 {
        let loads = keys.iter().enumerate().map(async |(visitor, key)| {
            let loaded = tally.send(store.load(key)).await.unwrap();
            assert_eq!(loaded, Some(state("of", &visitor.to_string())));
        });
        join_all(loads).await;
    }
}

#[actix_web::test]
async fn a_reply_that_comes_twice_shows_nobody_what_is_somebody_elses() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let mut keys = Vec::new();
    for visitor in 0..8 {
        let state = state("of", &visitor.to_string());
        keys.push(sealed(&redis, &[A]).save(state, &HOUR).await.unwrap());
    }
    let mut reads = 0;
    let proxy = Proxy::before(&redis, move |command| {
        reads += usize::from(command.name() == "HGETALL");
        match command.name() == "HGETALL" && reads == 3 {
            true => Fate::ReplyTwice,
            false => Fate::Forward,
        }
    })
    .await;
    let pool = pool_at(&proxy.store_url());
    let options = RedisSessionStore::builder(pool).deadline(Duration::from_secs(20));
    let store = options.seal(ring(&[A])).build();
    let before = redis.connections_made();
    look_around(&tally, &store, &keys).await;
    assert_eq!(
        redis.connections_made() - before,
        2,
        "the connection was replaced"
    );
}

#[actix_web::test]
async fn a_session_that_does_not_open_costs_one_connection_and_is_no_outage() {
    let redis = TestRedis::start().await;
    let store = sealed(&redis, &[A]);
    let [one, other] = [0, 1].map(|n| state("n", &n.to_string()));
    let one = store.save(one, &HOUR).await.unwrap();
    let other = store.save(other, &HOUR).await.unwrap();
    super::copy_session(&redis, &other, &one);
    let before = redis.connections_made();
    super::load_error(&store, &one).await;
    assert_eq!(redis.connections_made() - before, 1);
    assert!(store.load(&other).await.unwrap().is_some());
    assert_eq!(redis.connections_made() - before, 1);
}
