use actix_session::storage::{SessionKey, SessionStore as _};
use actix_session_redis::{AtLimit, Error, RedisSessionStore, SessionId};
use futures_util::future::join_all;

use super::{A, B, C, builder, ring};
use crate::support::{
    app::{Setup, TestApp},
    redis::TestRedis,
    sessions::{HOUR, State, Typed, state},
};

fn store(redis: &TestRedis, keys: &[[u8; 32]]) -> RedisSessionStore {
    let options = builder(redis).user_field("user").label_field("device");
    options.seal(ring(keys)).build()
}

fn limited(redis: &TestRedis, keys: &[[u8; 32]], at: AtLimit) -> RedisSessionStore {
    let options = builder(redis).user_field("user").session_limit(3, at);
    options.seal(ring(keys)).build()
}

fn of_ada(device: &str) -> State {
    let mut state = state("user", "\"Ada\"");
    state.insert("device".to_owned(), format!("{device:?}"));
    state
}

async fn log_in(store: &RedisSessionStore, device: &str) -> SessionKey {
    store.save(of_ada(device), &HOUR).await.unwrap()
}

async fn devices(store: &RedisSessionStore) -> Vec<String> {
    let list = store.sessions_of("Ada").list().await.unwrap();
    let labels = list
        .iter()
        .map(|it| it.label().unwrap_or("none").to_owned());
    labels.collect()
}

#[actix_web::test]
async fn sessions_from_before_a_change_of_keys_are_listed_and_ended() {
    let redis = TestRedis::start().await;
    let [old, both, new] = [&[A][..], &[A, B], &[B, A]].map(|keys| store(&redis, keys));
    let first = log_in(&old, "phone").await;
    let second = log_in(&both, "laptop").await;
    log_in(&new, "tablet").await;
    for store in [&both, &new] {
        assert_eq!(devices(store).await, ["phone", "laptop", "tablet"]);
        assert_eq!(store.sessions_of("Ada").count().await.unwrap(), 3);
    }
    let began = new.sessions_of("Ada").list().await.unwrap()[0].began();
    assert!(began.elapsed().unwrap().as_secs() < 60);
    assert!(
        new.sessions_of("Ada")
            .end(&SessionId::of(&first))
            .await
            .unwrap()
    );
    assert_eq!(new.load(&first).await.unwrap(), None);
    assert_eq!(devices(&both).await, ["laptop", "tablet"]);
    assert_eq!(both.sessions_of("Ada").end_all().await.unwrap(), 2);
    assert_eq!(new.load(&second).await.unwrap(), None);
    assert_eq!(devices(&new).await, [""; 0]);
}

#[actix_web::test]
async fn a_session_moves_to_the_index_under_the_newest_key_and_is_listed_once() {
    let redis = TestRedis::start().await;
    let key = log_in(&store(&redis, &[A]), "phone").await;
    let new = store(&redis, &[B, A]);
    let index = |redis: &TestRedis| {
        let mut keys = redis.keys();
        keys.retain(|key| key.starts_with("session:user:"));
        keys
    };
    let before = index(&redis);
    let renamed = |state: &mut State| state.insert("device".to_owned(), "\"new\"".to_owned());
    new.modify(&key, renamed).await.unwrap();
    let after = index(&redis);
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before, after);
    assert_eq!(devices(&new).await, ["new"]);
    assert_eq!(devices(&store(&redis, &[B])).await, ["new"]);
}

#[actix_web::test]
async fn what_was_under_way_does_not_outlast_end_all_while_keys_change() {
    let redis = TestRedis::start().await;
    let setup = Setup::consistent();
    let (old, new) = (store(&redis, &[A, B]), store(&redis, &[B, A]));
    let (app, new_app) = (
        TestApp::with(old, &setup),
        TestApp::with(new.clone(), &setup),
    );
    for slow in ["/count", "/renew", "/login/Ada", "/clear-and-login/Ada"] {
        let browser = app.browser();
        browser.get("/login/Ada").await.text();
        // It is under way on an instance that moves it to the other index.
        let ended = async { new.sessions_of("Ada").end_all().await.unwrap() };
        let slow_browser = browser.at(&new_app);
        let (_, ended) = slow_browser.get_slowly(slow, ended).await;
        assert!(ended >= 1, "{slow}");
        let left = new.sessions_of("Ada").count().await.unwrap();
        // A login that was not begun before is one after it, if it needs no session to begin with.
        let read = browser.get("/read").await.text();
        assert!(left == 0 && read == "empty", "{slow}: {left} {read}");
    }
}

#[actix_web::test]
async fn a_session_that_began_after_end_all_survives_the_change_of_keys() {
    let redis = TestRedis::start().await;
    let setup = Setup::consistent();
    let (old, new) = (store(&redis, &[A]), store(&redis, &[B, A]));
    let (app, new_app) = (
        TestApp::with(old.clone(), &setup),
        TestApp::with(new.clone(), &setup),
    );
    log_in(&old, "phone").await;
    new.sessions_of("Ada").end_all().await.unwrap();
    let browser = app.browser();
    browser.get("/login/Ada").await.text();
    assert_eq!(
        browser.at(&new_app).get("/count").await.text(),
        "n=1 user=\"Ada\""
    );
    assert_eq!(new.sessions_of("Ada").count().await.unwrap(), 1);
}

#[actix_web::test]
async fn the_limit_counts_sessions_under_all_keys() {
    let redis = TestRedis::start().await;
    let [old, new] = [&[A, B][..], &[B, A]].map(|keys| limited(&redis, keys, AtLimit::EndOldest));
    let mut keys = Vec::new();
    for store in [&old, &old, &old, &new, &old, &new] {
        keys.push(store.save(state("user", "1"), &HOUR).await.unwrap());
    }
    assert_eq!(new.sessions_of(1).count().await.unwrap(), 3);
    let oldest = keys.iter().take(3).map(|key| new.load(key));
    for loaded in join_all(oldest).await {
        assert_eq!(loaded.unwrap(), None);
    }
    let refusing = limited(&redis, &[C, B, A], AtLimit::Refuse);
    refusing.save(state("user", "1"), &HOUR).await.unwrap_err();
    new.sessions_of(1)
        .end(&SessionId::of(&keys[5]))
        .await
        .unwrap();
    refusing.save(state("user", "1"), &HOUR).await.unwrap();
    refusing.save(state("user", "1"), &HOUR).await.unwrap_err();
    assert_eq!(refusing.sessions_of(1).count().await.unwrap(), 3);
}

#[actix_web::test]
async fn of_many_logins_at_once_under_two_keys_as_many_are_left_as_may_be() {
    let redis = TestRedis::start().await;
    let stores = [&[A, B][..], &[B, A]].map(|keys| limited(&redis, keys, AtLimit::EndOldest));
    let logins = (0..40).map(|n| stores[n % 2].save(state("user", "1"), &HOUR));
    for login in join_all(logins).await {
        // Some have made room before they began.
        assert!(
            login.is_ok()
                || login
                    .map_err(Typed::typed)
                    .is_err_and(|it| matches!(it, Error::Gone))
        );
    }
    assert_eq!(stores[0].sessions_of(1).count().await.unwrap(), 3);
    assert_eq!(redis.sessions().len(), 3);
}

#[actix_web::test]
async fn the_index_from_before_sealing_counts_while_unsealed_sessions_are_accepted() {
    let redis = TestRedis::start().await;
    let clear = builder(&redis)
        .user_field("user")
        .label_field("device")
        .build();
    log_in(&clear, "phone").await;
    let options = builder(&redis).user_field("user").label_field("device");
    let migrating = options.seal(ring(&[A])).accept_unsealed(true).build();
    log_in(&migrating, "laptop").await;
    assert_eq!(devices(&migrating).await, ["phone", "laptop"]);
    assert_eq!(migrating.sessions_of("Ada").end_all().await.unwrap(), 2);
    assert!(redis.sessions().is_empty());
}

#[actix_web::test]
async fn a_label_that_was_moved_is_not_shown() {
    let redis = TestRedis::start().await;
    let store = store(&redis, &[A]);
    let [one, other] = [
        log_in(&store, "phone").await,
        log_in(&store, "laptop").await,
    ];
    let label = super::fields(&redis, &other)[&b"\xFFlabel"[..]].clone();
    super::put(&redis, &one, b"\xFFlabel", &label);
    assert_eq!(devices(&store).await, ["none", "laptop"]);
    assert_eq!(store.load(&one).await.unwrap(), Some(of_ada("phone")));
}
