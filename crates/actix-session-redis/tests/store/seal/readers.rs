use actix_session::storage::SessionStore as _;

use super::{A, B, builder, fields, key_id, ring, sealed};
use crate::support::{
    app::{Setup, TestApp},
    redis::TestRedis,
    sessions::{HOUR, copy, session_key, state},
};

/// All that Redis holds, byte by byte, but for names of keys and fields.
fn all_values(redis: &TestRedis) -> Vec<u8> {
    let mut all = Vec::new();
    for key in redis.keys() {
        match redis.run::<String>(&format!("TYPE {key}")).as_str() {
            "hash" => {
                let values: Vec<Vec<u8>> = redis.run(&format!("HVALS {key}"));
                all.extend(values.concat());
            }
            "string" => all.extend(redis.run::<Vec<u8>>(&format!("GET {key}"))),
            _ => {}
        }
    }
    all
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|it| it == text.as_bytes())
}

/// Everything that the workflow of an application leaves there.
async fn after_a_workflow(redis: &TestRedis, is_sealed: bool) -> Vec<u8> {
    let options = builder(redis)
        .user_field("user")
        .label_field("device")
        .counter("n");
    let store = match is_sealed {
        true => options.seal(ring(&[A])).build(),
        false => options.build(),
    };
    let app = TestApp::with(store.clone(), &Setup::consistent_and_sliding());
    let browser = app.browser();
    for path in [
        "/set/color/vermilion",
        "/count",
        "/login/Xanthippe",
        "/set/device/Telephone",
        "/count",
        "/clear-and-set/poem/daffodils",
        "/login/Xanthippe",
        "/set/device/Telephone",
        "/renew",
        "/count",
        "/read",
    ] {
        browser.get(path).await.text();
    }
    let list = store.sessions_of("Xanthippe").list().await.unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].label(), Some("Telephone"));
    all_values(redis)
}

#[actix_web::test]
async fn neither_values_nor_labels_nor_users_can_be_read_in_redis() {
    let secrets = ["vermilion", "daffodils", "Xanthippe", "Telephone"];
    let redis = TestRedis::start().await;
    let values = after_a_workflow(&redis, true).await;
    for secret in secrets {
        assert!(!contains(&values, secret), "{secret}");
    }
    // Whoever knows the name of a user cannot guess what it is called, either.
    let hash = SHA256_OF_XANTHIPPE;
    assert!(redis.keys().iter().all(|key| !key.contains(hash)));
    let redis = TestRedis::start().await;
    let values = after_a_workflow(&redis, false).await;
    assert!(
        contains(&values, "Telephone"),
        "the search finds what is there"
    );
    assert!(redis.keys().iter().any(|key| key.contains(hash)));
}

/// Of `"Xanthippe"`, in base64url.
const SHA256_OF_XANTHIPPE: &str = "BAf9Q4JFT6-CRNBuJF1zzBUj47Ywr-pBDw0jXE-vSe0";

#[actix_web::test]
async fn any_value_of_any_field_is_read_back() {
    let redis = TestRedis::start().await;
    let store = sealed(&redis, &[A]);
    let long = format!("\"{}\"", "x".repeat(100_000));
    let mut state = state("", "\"of no name\"");
    for (field, json) in [
        ("한글", "\"글\""),
        ("n", "18446744073709551615"),
        ("exact", "1.00"),
        ("empty", ""),
        ("long", &long),
    ] {
        state.insert(field.to_owned(), json.to_owned());
    }
    let key = store.save(state.clone(), &HOUR).await.unwrap();
    assert_eq!(store.load(&key).await.unwrap(), Some(state.clone()));
    state.remove("long");
    state.insert("n".to_owned(), "1".to_owned());
    let updated = store.update(copy(&key), state.clone(), &HOUR).await;
    assert_eq!(updated.unwrap(), key);
    assert_eq!(store.load(&key).await.unwrap(), Some(state));
}

#[actix_web::test]
async fn the_same_value_never_looks_the_same() {
    let redis = TestRedis::start().await;
    let store = sealed(&redis, &[A]);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let key = store.save(state("n", "1"), &HOUR).await.unwrap();
        for _ in 0..3 {
            seen.push(fields(&redis, &key)[&b"n"[..]].clone());
            store
                .update(copy(&key), state("n", "1"), &HOUR)
                .await
                .unwrap();
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 9);
}

#[actix_web::test]
async fn the_master_key_opens_nothing_without_the_cookie() {
    let redis = TestRedis::start().await;
    let store = sealed(&redis, &[A]);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    // Somebody with the master key and all of Redis guesses a session key, and has the session
    // answer to that.
    let guessed = session_key(&"A".repeat(64));
    super::copy_session(&redis, &key, &guessed);
    super::load_error(&store, &guessed).await;
    assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "1")));
}

#[actix_web::test]
async fn what_is_written_is_sealed_with_the_newest_key() {
    let redis = TestRedis::start().await;
    let store = sealed(&redis, &[B, A]);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    let written = &fields(&redis, &key)[&b"n"[..]];
    assert_eq!(key_id(written), super::ids(&[B])[0]);
}
