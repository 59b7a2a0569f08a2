use std::collections::HashMap;

use actix_session::storage::SessionStore;
use actix_session_redis::{Error, RedisSessionStore, RedisSessionStoreBuilder};
use actix_web::{ResponseError as _, body::to_bytes};

use crate::support::{
    redis::{TestRedis, commands},
    rights,
    scope::in_a_request,
    sessions::{HOUR, State, assert_works, copy, hash_of, long_key, state, tombstone_of},
};

#[actix_web::test]
async fn a_missing_session_loads_as_none() {
    let redis = TestRedis::start().await;
    let missing = long_key("nobody");
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

/// Names that may be anything, and such that look like ours; and texts that nobody takes apart.
fn odd_state() -> State {
    let names = [
        "",
        " ",
        "\0",
        "\r\n",
        "born",
        "written",
        "\u{ff}born",
        "\u{ff}written",
        "\\xFFborn",
        "=",
        "{}",
        "*",
        "가나다",
        "\u{10ffff}",
        "-1",
        "PX",
    ];
    let texts = [
        "null",
        "1",
        "-0.0",
        "1e400",
        "\"\"",
        r#""\u0000\ud800""#,
        " [ 1 , 2 ] ",
        r#"{"b":1,"a":1,"b":2}"#,
        "12345678901234567890123",
        "",
        "no JSON",
        "\0",
        "=",
        "\u{feff}1",
        "true",
        "[]",
    ];
    let fields = names.into_iter().zip(texts);
    fields
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .collect()
}

/// The state as it is when one text has gone round among the fields.
fn changed(state: &State) -> State {
    let mut fields: Vec<_> = state.clone().into_iter().collect();
    fields.sort();
    let texts: Vec<_> = fields.iter().map(|(_, text)| text.clone()).collect();
    let texts = texts.iter().cycle().skip(1);
    let fields = fields.into_iter().zip(texts);
    fields
        .map(|((name, _), text)| (name, text.clone()))
        .collect()
}

#[actix_web::test]
async fn whatever_fields_are_called_and_hold_they_are_kept_as_they_are() {
    let redis = TestRedis::start().await;
    let odd = odd_state();
    assert_eq!(odd.len(), 16);
    // What is declared of a field goes by another way.
    let declared = |mut options: RedisSessionStoreBuilder| {
        for (number, field) in odd.keys().enumerate() {
            options = match number % 2 {
                0 => options.counter(field),
                _ => options.merge_field(field, |_, _, ours| ours.clone()),
            };
        }
        options
    };
    for store in [redis.store(), redis.store_with(declared)] {
        let key = store.save(odd.clone(), &HOUR).await.unwrap();
        assert_eq!(store.load(&key).await.unwrap(), Some(odd.clone()));
        let other = changed(&odd);
        let replaced = store.update(copy(&key), other.clone(), &HOUR).await;
        assert_eq!(replaced.unwrap(), key);
        assert_eq!(store.load(&key).await.unwrap(), Some(other));
        for mut next in [odd.clone(), changed(&odd)] {
            for field in ["", "\u{ff}born", "PX"] {
                next.remove(field);
            }
            let (in_scope, same, written) = (store.clone(), copy(&key), next.clone());
            in_a_request(async move {
                // As a handler does it: what was loaded is changed, not built anew.
                let mut state = in_scope.load(&same).await.unwrap().unwrap();
                state.retain(|field, _| written.contains_key(field));
                state.extend(written);
                in_scope.update(same, state, &HOUR).await.unwrap();
            })
            .await;
            assert_eq!(store.load(&key).await.unwrap(), Some(next));
        }
        let modified = store.modify(&key, |state| {
            state.insert("\0".to_owned(), "\0\0".to_owned())
        });
        modified.await.unwrap();
        let loaded = store.load(&key).await.unwrap().unwrap();
        assert_eq!(loaded["\0"], "\0\0");
    }
}

#[actix_web::test]
async fn a_session_key_is_64_alphanumerics_and_not_to_be_found_in_redis() {
    let redis = TestRedis::start().await;
    let key = redis.store().save(state("n", "1"), &HOUR).await.unwrap();
    assert_eq!(key.as_ref().len(), 64);
    assert!(key.as_ref().bytes().all(|b| b.is_ascii_alphanumeric()));
    assert_eq!(redis.keys(), [hash_of(&key)]);
    assert!(!hash_of(&key).contains(key.as_ref()));
    let stored: Vec<u8> = redis.run(&format!("DUMP {}", hash_of(&key)));
    let is_key = |bytes: &[u8]| bytes == key.as_ref().as_bytes();
    assert!(!stored.windows(64).any(is_key));
}

#[actix_web::test]
async fn an_update_replaces_the_state_and_keeps_the_key() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state("old", "1"), &HOUR).await.unwrap();
    let updated = store.update(copy(&key), state("new", "2"), &HOUR).await;
    assert_eq!(updated.unwrap(), key);
    assert_eq!(store.load(&key).await.unwrap(), Some(state("new", "2")));
    assert_eq!(redis.keys(), [hash_of(&key)]);
}

#[actix_web::test]
async fn update_ttl_prolongs_a_session_and_leaves_its_state() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    store.update_ttl(&key, &(HOUR * 2)).await.unwrap();
    assert!(redis.pttl(&hash_of(&key)) > 3_600_000);
    assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "1")));
}

#[actix_web::test]
async fn a_deleted_session_is_gone() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    store.delete(&key).await.unwrap();
    assert_eq!(store.load(&key).await.unwrap(), None);
    assert_eq!(redis.keys(), [tombstone_of(&key)]);
}

#[actix_web::test]
async fn prolonging_or_deleting_a_missing_session_is_no_error() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let missing = long_key("nobody");
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
    assert_works(&RedisSessionStore::from_url(redis.store_url()).unwrap()).await;
}

#[actix_web::test]
async fn a_store_works_over_a_unix_socket() {
    let redis = TestRedis::start_on_unix_socket().await;
    assert_works(&RedisSessionStore::from_url(redis.store_url()).unwrap()).await;
    assert_works(&redis.store()).await;
}

#[actix_web::test]
async fn the_url_chooses_the_database() {
    let redis = TestRedis::start().await;
    redis.run::<()>(&rights::grant(&rights::needed_if(
        "the URL names a database",
    )));
    let url = format!("{}/3", redis.store_url());
    assert_works(&RedisSessionStore::from_url(url).unwrap()).await;
    assert!(redis.keys().is_empty(), "nothing in database 0");
    redis.run::<()>("SELECT 3");
    assert_eq!(redis.keys().len(), 1);
}

#[actix_web::test]
async fn the_url_carries_user_and_password() {
    let redis = TestRedis::start().await;
    redis.run::<()>("ACL SETUSER shop on >ladder ~session:* +@all");
    redis.run::<()>("CONFIG SET requirepass sesame");
    for credentials in [":sesame@", "shop:ladder@"] {
        let url = redis.url_as(credentials);
        assert_works(&RedisSessionStore::from_url(url).unwrap()).await;
    }
}

#[actix_web::test]
async fn stores_with_different_prefixes_do_not_see_each_other() {
    let redis = TestRedis::start().await;
    redis.run::<()>(&rights::grant("~shop:* ~blog:*"));
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

#[actix_web::test]
async fn in_a_handler_an_error_answers_by_itself_and_says_nothing_of_the_server() {
    let store = RedisSessionStore::from_url("redis+unix:///nowhere/secret.sock").unwrap();
    let away = store.ping().await.unwrap_err();
    let limit = Error::SessionLimit { limit: 3 };
    let unsealed = Error::Unsealed;
    for (error, status) in [(away, 503), (limit, 409), (unsealed, 500)] {
        let answer = error.error_response();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers().contains_key("retry-after"), status == 503);
        let body = to_bytes(answer.into_body()).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(!body.is_empty() && !error.to_string().contains(&body));
        assert!(!body.contains("secret"), "{body}");
    }
}
