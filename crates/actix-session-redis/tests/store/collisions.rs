//! Session keys are random, so the proxy makes the collision: when a new session is about to be
//! stored, somebody else takes its key.

use std::{collections::HashSet, rc::Rc};

use actix_session::storage::SessionStore;
use futures_util::future::join_all;

use crate::support::{
    proxy::{Fate, Proxy},
    redis::TestRedis,
    sessions::{HOUR, session_key, state, state_of},
};

const SOMEBODY_ELSES: &[u8] = br#"{"user":"\"somebody else\""}"#;

/// Takes the keys of the first `n` sessions.
async fn proxy_with_collisions(redis: &Rc<TestRedis>, mut n: usize) -> Proxy {
    let others = Rc::clone(redis);
    Proxy::before(redis, move |command| {
        if command.is_save() && n > 0 {
            n -= 1;
            others.put(command.key(), SOMEBODY_ELSES);
        }
        Fate::Forward
    })
    .await
}

/// What is in Redis: somebody else's sessions and ours.
fn count_sessions(redis: &TestRedis) -> (usize, usize) {
    let is_somebody_elses = |key: &String| redis.value(key).unwrap() == SOMEBODY_ELSES;
    let sessions = redis.sessions();
    let (others, ours): (Vec<_>, Vec<_>) = sessions.into_iter().partition(is_somebody_elses);
    (others.len(), ours.len())
}

#[actix_web::test]
async fn a_new_session_never_overwrites_an_existing_one() {
    let redis = Rc::new(TestRedis::start().await);
    let proxy = proxy_with_collisions(&redis, 3).await;
    let store = proxy.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "1")));
    assert_eq!(count_sessions(&redis), (3, 1));
}

#[actix_web::test]
async fn an_expired_session_that_is_saved_anew_never_overwrites_an_existing_one() {
    let redis = Rc::new(TestRedis::start().await);
    let proxy = proxy_with_collisions(&redis, 3).await;
    let store = proxy.store();
    let expired = session_key("expired");
    let key = store.update(expired, state("n", "1"), &HOUR).await.unwrap();
    assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "1")));
    assert_eq!(count_sessions(&redis), (3, 1));
}

#[actix_web::test]
async fn of_many_parallel_new_sessions_each_gets_a_key_of_its_own() {
    let redis = Rc::new(TestRedis::start().await);
    let proxy = proxy_with_collisions(&redis, 25).await;
    let store = proxy.store();
    let saved = (0..100).map(|n| store.save(state("n", &n.to_string()), &HOUR));
    let keys: Vec<_> = join_all(saved)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    for (n, key) in keys.iter().enumerate() {
        let loaded = store.load(key).await.unwrap();
        assert_eq!(loaded, Some(state("n", &n.to_string())));
    }
    let distinct: HashSet<_> = keys.iter().map(state_of).collect();
    assert_eq!(distinct.len(), 100);
    assert_eq!(count_sessions(&redis), (25, 100));
}
