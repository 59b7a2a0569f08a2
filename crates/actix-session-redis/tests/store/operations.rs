use std::collections::HashMap;

use actix_session::storage::SessionStore;
use actix_session_redis::RedisSessionStore;

use crate::support::{
    redis::{TestRedis, commands},
    sessions::{HOUR, assert_works, copy, marker_of, session_key, state, state_of},
};

#[actix_web::test]
async fn a_missing_session_loads_as_none() {
    let redis = TestRedis::start().await;
    let missing = session_key("nobody");
    assert_eq!(redis.store().load(&missing).await.unwrap(), None);
}

#[actix_web::test]
async fn a_session_loads_as_it_was_saved() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let state = HashMap::from([
        (
            "name".to_owned(),
            r#""가나다 \u0000 \"quoted\"\r\n""#.to_owned(),
        ),
        ("cart".to_owned(), r#"[{"id":1},null]"#.to_owned()),
        (String::new(), "null".to_owned()),
    ]);
    let key = store.save(state.clone(), &HOUR).await.unwrap();
    assert_eq!(store.load(&key).await.unwrap(), Some(state));
}

#[actix_web::test]
async fn a_session_is_stored_under_the_prefix_and_64_alphanumerics() {
    let redis = TestRedis::start().await;
    let key = redis.store().save(state("n", "1"), &HOUR).await.unwrap();
    assert_eq!(key.as_ref().len(), 64);
    assert!(key.as_ref().bytes().all(|b| b.is_ascii_alphanumeric()));
    assert_eq!(redis.keys(), [format!("session:{}", key.as_ref())]);
}

#[actix_web::test]
async fn an_update_replaces_the_state_and_keeps_the_key() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state("old", "1"), &HOUR).await.unwrap();
    let updated = store.update(copy(&key), state("new", "2"), &HOUR).await;
    assert_eq!(updated.unwrap(), key);
    assert_eq!(store.load(&key).await.unwrap(), Some(state("new", "2")));
    assert_eq!(redis.keys(), [state_of(&key)]);
}

#[actix_web::test]
async fn update_ttl_prolongs_a_session_and_leaves_its_state() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    store.update_ttl(&key, &(HOUR * 2)).await.unwrap();
    assert!(redis.pttl(&state_of(&key)) > 3_600_000);
    assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "1")));
}

#[actix_web::test]
async fn a_deleted_session_is_gone() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    store.delete(&key).await.unwrap();
    assert_eq!(store.load(&key).await.unwrap(), None);
    assert_eq!(redis.keys(), [marker_of(&key)]);
}

#[actix_web::test]
async fn prolonging_or_deleting_a_missing_session_is_no_error() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let missing = session_key("nobody");
    store.update_ttl(&missing, &HOUR).await.unwrap();
    store.delete(&missing).await.unwrap();
    store.delete(&missing).await.unwrap();
    assert!(redis.sessions().is_empty());
}

#[actix_web::test]
async fn clones_share_sessions_and_connection() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    let loaded = store.clone().load(&key).await.unwrap();
    assert_eq!(loaded, Some(state("n", "1")));
    assert_eq!(redis.client_count(), 1);
}

#[actix_web::test]
async fn ping_is_a_ping() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    store.ping().await.unwrap();
    let (pong, asked) = redis.commands_during(store.ping()).await;
    pong.unwrap();
    assert_eq!(asked, commands([("ping", 1)]));
}

#[actix_web::test]
async fn a_store_works_from_a_tcp_url() {
    let redis = TestRedis::start().await;
    assert_works(&RedisSessionStore::from_url(redis.url()).unwrap()).await;
}

#[actix_web::test]
async fn a_store_works_over_a_unix_socket() {
    let redis = TestRedis::start_on_unix_socket().await;
    assert_works(&RedisSessionStore::from_url(redis.url()).unwrap()).await;
    assert_works(&redis.store()).await;
}

#[actix_web::test]
async fn the_url_chooses_the_database() {
    let redis = TestRedis::start().await;
    let url = format!("{}/3", redis.url());
    assert_works(&RedisSessionStore::from_url(url).unwrap()).await;
    assert!(redis.keys().is_empty(), "nothing in database 0");
    redis.run::<()>("SELECT 3");
    assert_eq!(redis.keys().len(), 1);
}

#[actix_web::test]
async fn the_url_carries_user_and_password() {
    let redis = TestRedis::start().await;
    redis.run::<()>("ACL SETUSER shop on >ladder ~session:* +get +set +del +pexpire +exists +ping");
    redis.run::<()>("CONFIG SET requirepass sesame");
    for credentials in [":sesame@", "shop:ladder@"] {
        let url = redis.url_as(credentials);
        assert_works(&RedisSessionStore::from_url(url).unwrap()).await;
    }
}

#[actix_web::test]
async fn stores_with_different_prefixes_do_not_see_each_other() {
    let redis = TestRedis::start().await;
    let shop = redis.store_with(|options| options.key_prefix("shop:"));
    let blog = redis.store_with(|options| options.key_prefix("blog:"));
    let key = shop.save(state("n", "1"), &HOUR).await.unwrap();
    assert_eq!(blog.load(&key).await.unwrap(), None);
    blog.delete(&key).await.unwrap();
    assert_eq!(shop.load(&key).await.unwrap(), Some(state("n", "1")));
    // Nor does one session's end mean anything to the other store.
    let updated = shop.update(copy(&key), state("n", "2"), &HOUR).await;
    assert_eq!(updated.unwrap(), key);
}
