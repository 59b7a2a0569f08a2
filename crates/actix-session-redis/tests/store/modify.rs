use std::{rc::Rc, time::Duration};

use actix_session::storage::SessionStore;
use actix_session_redis::{Error, RedisSessionStoreBuilder};
use futures_util::{FutureExt, future::join_all};

use crate::support::{
    proxy::{Fate, Proxy},
    redis::TestRedis,
    sessions::{HOUR, State, copy, hash_of, session_key, state},
    visit::Visit,
};

#[actix_web::test]
async fn modify_changes_a_session_from_outside_and_keeps_its_ttl() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    redis.run::<()>(&format!("PEXPIRE {} 60000", hash_of(&key)));
    let before = store.modify(&key, |state| state.insert("n".into(), "2".into()));
    assert_eq!(before.await.unwrap().as_deref(), Some("1"));
    let removed = store.modify(&key, |state| {
        state.insert("m".into(), "3".into());
        state.remove("n")
    });
    removed.await.unwrap();
    assert_eq!(store.load(&key).await.unwrap(), Some(state("m", "3")));
    assert!((50_000..=60_000).contains(&redis.pttl(&hash_of(&key))));
}

#[actix_web::test]
async fn modify_of_a_session_that_is_gone_is_an_error_and_stores_nothing() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    store.delete(&key).await.unwrap();
    let modified = store.modify(&key, |state| state.insert("n".into(), "2".into()));
    assert_matches!(modified.await, Err(Error::Gone));
    assert_eq!(redis.sessions(), [""; 0]);
}

#[actix_web::test]
async fn modify_is_one_change_whatever_others_do_at_the_same_time() {
    let redis = TestRedis::start().await;
    // Until the last of them is served, whatever else the machine does.
    let patient = |options: RedisSessionStoreBuilder| options.deadline(Duration::from_secs(60));
    let stores: [_; 4] = std::array::from_fn(|_| redis.store_with(patient));
    let key = stores[0].save(state("n", "0"), &HOUR).await.unwrap();
    let count = |state: &mut State| {
        let n: u32 = state["n"].parse().unwrap();
        state.insert("n".to_owned(), (n + 1).to_string());
        // It always is, whoever looks.
        state.insert("double".to_owned(), (2 * (n + 1)).to_string());
    };
    let changes = (0..100)
        .flat_map(|_| &stores)
        .map(|store| store.modify(&key, count));
    let mut counted = 0;
    for modified in join_all(changes).await {
        match modified {
            Ok(()) => counted += 1,
            Err(error) => assert_matches!(error, Error::Contended { .. }),
        }
    }
    assert!(counted > 0);
    let mut expected = state("n", &counted.to_string());
    expected.extend(state("double", &(2 * counted).to_string()));
    assert_eq!(stores[0].load(&key).await.unwrap(), Some(expected));
}

/// Neither sees what the other one adds.
#[actix_web::test]
async fn modify_is_called_again_if_others_have_added_a_field() {
    let redis = Rc::new(TestRedis::start().await);
    let key = redis.store().save(state("n", "1"), &HOUR).await.unwrap();
    let seat = |name: &'static str| {
        move |state: &mut State| {
            if state.len() == 1 {
                state.insert(name.to_owned(), "1".to_owned());
            }
        }
    };
    let (other, same) = (redis.store(), copy(&key));
    let mut meanwhile = Some(async move { other.modify(&same, seat("b")).await.unwrap() });
    let proxy = Proxy::before(&redis, move |command| {
        match meanwhile.take_if(|_| command.is_write()) {
            Some(meanwhile) => Fate::ForwardAfter(meanwhile.boxed_local()),
            None => Fate::Forward,
        }
    })
    .await;
    proxy.store().modify(&key, seat("a")).await.unwrap();
    let mut expected = state("n", "1");
    expected.extend(state("b", "1"));
    assert_eq!(redis.store().load(&key).await.unwrap(), Some(expected));
}

#[actix_web::test]
async fn a_request_that_is_under_way_keeps_what_modify_has_changed() {
    let visit = Visit::begin().await;
    let browser = visit.browser();
    let current = browser.get("/current").await.text();
    let key = session_key(current.split(' ').next().unwrap());
    let store = visit.redis.store();
    let modify = store.modify(&key, |state| state.insert("discount".into(), "10".into()));
    let (slow, modified) = browser.get_slowly("/login/Ada", modify).await;
    assert_eq!((slow.status, modified.is_ok()), (200, true));
    let fields = browser.get("/read").await.text();
    assert_eq!(fields, "discount=10 secret=\"old\" user=\"Ada\"");
}
