//! Redis carries a command out, and the connection breaks before the store hears of it.

use actix_session::storage::SessionStore;

use crate::support::{
    proxy::{Command, Fate, Proxy},
    redis::TestRedis,
    sessions::{HOUR, copy, marker_of, session_key, state, state_of},
};

/// Loses the reply to the first command of this kind.
async fn proxy_losing(redis: &TestRedis, kind: impl Fn(&Command) -> bool + 'static) -> Proxy {
    let mut lost = false;
    Proxy::before(redis, move |command| {
        if !lost && kind(command) {
            lost = true;
            return Fate::LoseReply;
        }
        Fate::Forward
    })
    .await
}

#[actix_web::test]
async fn a_read_is_repeated() {
    let redis = TestRedis::start().await;
    let key = redis.store().save(state("n", "1"), &HOUR).await.unwrap();
    let proxy = proxy_losing(&redis, |command| command.name() == "GET").await;
    let loaded = proxy.store().load(&key).await.unwrap();
    assert_eq!(loaded, Some(state("n", "1")));
    assert_eq!(proxy.seen("GET").len(), 2);
}

#[actix_web::test]
async fn a_save_draws_another_key_and_the_orphan_expires() {
    let redis = TestRedis::start().await;
    let proxy = proxy_losing(&redis, Command::is_save).await;
    let store = proxy.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "1")));

    let mut orphans = redis.keys();
    orphans.retain(|orphan| *orphan != state_of(&key));
    assert_eq!(orphans.len(), 1);
    assert!((1..=3_600_000).contains(&redis.pttl(&orphans[0])));
}

#[actix_web::test]
async fn an_update_is_repeated() {
    let redis = TestRedis::start().await;
    let key = redis.store().save(state("n", "1"), &HOUR).await.unwrap();
    let proxy = proxy_losing(&redis, Command::is_update).await;
    let store = proxy.store();
    let updated = store.update(copy(&key), state("n", "2"), &HOUR).await;
    assert_eq!(updated.unwrap(), key);
    assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "2")));
    assert_eq!(redis.keys(), [state_of(&key)]);
    assert_eq!(proxy.seen("SET").len(), 2);
}

#[actix_web::test]
async fn an_update_of_an_expired_session_ends_in_a_session_under_another_key() {
    let redis = TestRedis::start().await;
    let proxy = proxy_losing(&redis, Command::is_save).await;
    let store = proxy.store();
    let expired = session_key("expired");
    let key = store.update(expired, state("n", "1"), &HOUR).await.unwrap();
    assert_ne!(key.as_ref(), "expired");
    assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "1")));
}

#[actix_web::test]
async fn a_prolongation_is_repeated() {
    let redis = TestRedis::start().await;
    let key = redis.store().save(state("n", "1"), &HOUR).await.unwrap();
    let proxy = proxy_losing(&redis, |command| command.name() == "PEXPIRE").await;
    proxy.store().update_ttl(&key, &(HOUR * 2)).await.unwrap();
    assert!(redis.pttl(&state_of(&key)) > 3_600_000);
    assert_eq!(proxy.seen("PEXPIRE").len(), 2);
}

#[actix_web::test]
async fn a_delete_is_repeated_whichever_of_its_replies_is_lost() {
    for lost in ["EVALSHA", "EVAL"] {
        let redis = TestRedis::start().await;
        let key = redis.store().save(state("n", "1"), &HOUR).await.unwrap();
        let proxy = proxy_losing(&redis, move |command| command.name() == lost).await;
        proxy.store().delete(&key).await.unwrap();
        assert_eq!(redis.keys(), [marker_of(&key)], "after losing {lost}");
    }
}
