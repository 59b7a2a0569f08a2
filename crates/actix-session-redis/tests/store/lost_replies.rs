//! Redis carries a command out, and the connection breaks before the store hears of it.

use std::time::Duration;

use actix_session::storage::{SessionKey, SessionStore};
use actix_session_redis::RedisSessionStore;
use futures_util::future::join;
use tokio::sync::oneshot;

use crate::support::{
    proxy::{Command, Fate, Proxy},
    redis::TestRedis,
    scope::in_an_answered_request,
    sessions::{HOUR, copy, hash_of, long_key, state, tombstone_of},
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
    let proxy = proxy_losing(&redis, |command| command.name() == "HGETALL").await;
    let loaded = proxy.store().load(&key).await.unwrap();
    assert_eq!(loaded, Some(state("n", "1")));
    assert_eq!(proxy.seen("HGETALL").len(), 2);
}

/// The first tries the script that Redis may not know, the second sends it.
const CALLS: [&str; 2] = ["EVALSHA", "EVAL"];

#[actix_web::test]
async fn a_save_is_repeated_under_the_same_key_and_leaves_no_orphan() {
    for lost in CALLS {
        let redis = TestRedis::start().await;
        let knows_the_script = lost == "EVALSHA";
        if knows_the_script {
            redis.store().save(state("n", "1"), &HOUR).await.unwrap();
            redis.run::<()>("FLUSHALL");
        }
        let proxy = proxy_losing(&redis, move |command| command.name() == lost).await;
        let store = proxy.store();
        let key = store.save(state("n", "1"), &HOUR).await.unwrap();
        assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "1")));
        assert_eq!(redis.keys(), [hash_of(&key)], "after losing {lost}");
    }
}

#[actix_web::test]
async fn an_update_is_repeated() {
    for lost in CALLS {
        let redis = TestRedis::start().await;
        let direct = redis.store();
        let key = direct.save(state("n", "1"), &HOUR).await.unwrap();
        let knows_the_script = lost == "EVALSHA";
        if knows_the_script {
            let same = direct.update(copy(&key), state("n", "1"), &HOUR).await;
            same.unwrap();
        }
        let proxy = proxy_losing(&redis, move |command| command.name() == lost).await;
        let store = proxy.store();
        let updated = store.update(copy(&key), state("n", "2"), &HOUR).await;
        assert_eq!(updated.unwrap(), key);
        assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "2")));
        assert_eq!(redis.keys(), [hash_of(&key)], "after losing {lost}");
    }
}

#[actix_web::test]
async fn an_update_of_a_session_that_is_gone_is_dropped_all_the_same() {
    for lost in CALLS {
        let redis = TestRedis::start().await;
        let proxy = proxy_losing(&redis, move |command| command.name() == lost).await;
        let store = proxy.store();
        let gone = long_key("gone");
        let key = store.update(copy(&gone), state("n", "1"), &HOUR).await;
        assert_eq!(key.unwrap(), gone);
        assert_eq!(redis.keys(), [""; 0], "after losing {lost}");
    }
}

/// What a write of ordinary fields consists of.
const TRANSACTION: [&str; 6] = ["MULTI", "HSET", "HDEL", "PEXPIRE", "HEXISTS", "EXEC"];

/// How the connection breaks, or goes on without replies.
const CUTS: [fn() -> Fate; 4] = [
    || Fate::LoseReply,
    || Fate::CutReply,
    || Fate::Reset,
    || Fate::Silence,
];

/// A request loads the session, sets one field and removes another, and `meanwhile` happens before
/// it stores that.
async fn change_both(store: &RedisSessionStore, key: &SessionKey, meanwhile: impl FnOnce()) -> u16 {
    let (in_scope, key) = (store.clone(), copy(key));
    let (is_loaded, loaded) = oneshot::channel();
    let (let_go, goes) = oneshot::channel();
    let request = in_an_answered_request(async move {
        let mut changed = in_scope.load(&key).await.unwrap().unwrap();
        is_loaded.send(()).unwrap();
        goes.await.unwrap();
        changed.remove("old");
        changed.insert("n".to_owned(), "2".to_owned());
        in_scope.update(key, changed, &HOUR).await.unwrap();
    });
    let meanwhile = async {
        loaded.await.unwrap();
        meanwhile();
        let_go.send(()).unwrap();
    };
    join(request, meanwhile).await.0.1
}

async fn session_of_two_fields(redis: &TestRedis) -> SessionKey {
    let mut fields = state("n", "1");
    fields.insert("old".to_owned(), "1".to_owned());
    redis.store().save(fields, &HOUR).await.unwrap()
}

#[track_caller]
fn assert_all_expire(redis: &TestRedis) {
    for key in redis.keys() {
        let left = redis.pttl(&key);
        assert!((1..=3_600_000).contains(&left), "{key} lives for {left} ms");
    }
}

#[actix_web::test]
async fn a_transaction_is_repeated_wherever_the_connection_breaks() {
    for (cut, name) in CUTS.iter().flat_map(|cut| TRANSACTION.map(|it| (cut, it))) {
        let redis = TestRedis::start().await;
        let key = session_of_two_fields(&redis).await;
        let mut left = 1;
        let proxy = Proxy::before(&redis, move |command| {
            if command.name() == name && left > 0 {
                left -= 1;
                return cut();
            }
            Fate::Forward
        })
        .await;
        let store = proxy.store();
        assert_eq!(change_both(&store, &key, || ()).await, 200, "{name}");
        assert_all_expire(&redis);
        assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "2")));
    }
}

/// The session is gone when the request writes, and the write is never answered: what it leaves is no
/// session, and expires.
#[actix_web::test]
async fn a_transaction_that_is_cut_for_good_leaves_no_key_without_a_ttl() {
    for (cut, name) in CUTS.iter().flat_map(|cut| TRANSACTION.map(|it| (cut, it))) {
        let redis = TestRedis::start().await;
        let key = session_of_two_fields(&redis).await;
        let proxy = Proxy::before(&redis, move |command| match command.name() == name {
            true => cut(),
            false => Fate::Forward,
        })
        .await;
        let deadline = Duration::from_millis(400);
        let store = proxy.store_with(|options| options.deadline(deadline));
        let gone = || redis.run::<()>("FLUSHALL");
        assert_eq!(change_both(&store, &key, gone).await, 503, "{name}");
        assert_all_expire(&redis);
        let loaded = redis.store().load(&key).await.unwrap();
        assert_eq!(loaded, None, "{name}");
    }
}

#[actix_web::test]
async fn a_prolongation_is_repeated() {
    let redis = TestRedis::start().await;
    let key = redis.store().save(state("n", "1"), &HOUR).await.unwrap();
    let proxy = proxy_losing(&redis, |command| command.name() == "PEXPIRE").await;
    proxy.store().update_ttl(&key, &(HOUR * 2)).await.unwrap();
    assert!(redis.pttl(&hash_of(&key)) > 3_600_000);
    assert_eq!(proxy.seen("PEXPIRE").len(), 2);
}

#[actix_web::test]
async fn a_delete_is_repeated_whichever_of_its_replies_is_lost() {
    for lost in CALLS {
        let redis = TestRedis::start().await;
        let key = redis.store().save(state("n", "1"), &HOUR).await.unwrap();
        let proxy = proxy_losing(&redis, move |command| command.name() == lost).await;
        proxy.store().delete(&key).await.unwrap();
        assert_eq!(redis.keys(), [tombstone_of(&key)], "after losing {lost}");
    }
}
