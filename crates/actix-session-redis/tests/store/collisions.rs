//! Session keys are random, so the proxy makes the collision: when a new session is about to be
//! stored, somebody else takes its key.

use std::{collections::HashSet, rc::Rc};

use actix_session::storage::SessionStore;
use futures_util::future::join_all;

use crate::support::{
    app::{Setup, TestApp},
    proxy::{Fate, Proxy},
    redis::TestRedis,
    sessions::{HOUR, hash_of, state},
};

/// What nobody but them can read, if it is sealed.
const SOMEBODY_ELSES: &[u8] = b"\"somebody else\"";

/// Takes the keys of the first `n` sessions, before they are there.
async fn proxy_with_collisions(redis: &Rc<TestRedis>, mut n: usize) -> Proxy {
    let others = Rc::clone(redis);
    Proxy::before(redis, move |command| {
        if command.is_create() && n > 0 && !others.run::<bool>(&format!("EXISTS {}", command.key()))
        {
            n -= 1;
            let fields = [(&b"\xFFborn"[..], &b"1"[..]), (b"user", SOMEBODY_ELSES)];
            others.put_fields(command.key(), &fields);
        }
        Fate::Forward
    })
    .await
}

/// What is in Redis: somebody else's sessions and ours.
fn count_sessions(redis: &TestRedis) -> (usize, usize) {
    let user_of = |key: &str| redis.run::<Option<Vec<u8>>>(&format!("HGET {key} user"));
    let is_somebody_elses = |key: &String| user_of(key).as_deref() == Some(SOMEBODY_ELSES);
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
async fn a_renewed_session_never_overwrites_an_existing_one() {
    let redis = Rc::new(TestRedis::start().await);
    let key = redis.store().save(state("n", "1"), &HOUR).await.unwrap();
    let proxy = proxy_with_collisions(&redis, 3).await;
    let setup = Setup::consistent();
    let app = TestApp::with(proxy.store(), &setup);
    let browser = app.browser_with_cookie(setup.signed_cookie(key.as_ref()));
    browser.get("/login/Ada").await.text();
    assert_eq!(browser.get("/read").await.text(), "n=1 user=\"Ada\"");
    assert_eq!(count_sessions(&redis), (3, 1));
}

/// Whatever holds it.
#[actix_web::test]
async fn a_new_session_never_overwrites_what_is_no_session() {
    let redis = Rc::new(TestRedis::start().await);
    let (server, mut first) = (Rc::clone(&redis), true);
    let proxy = Proxy::before(&redis, move |command| {
        if command.is_create() && std::mem::take(&mut first) {
            server.put(command.key(), b"taken");
        }
        Fate::Forward
    })
    .await;
    let store = proxy.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "1")));
    let others = redis.sessions().into_iter().find(|it| *it != hash_of(&key));
    assert_eq!(
        redis.run::<String>(&format!("GET {}", others.unwrap())),
        "taken"
    );
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
    let distinct: HashSet<_> = keys.iter().map(hash_of).collect();
    assert_eq!(distinct.len(), 100);
    assert_eq!(count_sessions(&redis), (25, 100));
}
