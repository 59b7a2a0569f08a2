use actix_session::storage::{LoadError, SessionStore};
use actix_session_redis::Error;

use crate::support::{
    app::{Setup, TestApp},
    redis::TestRedis,
    sessions::{Typed, session_key, state_of},
};

/// Bytes that are not a session state.
const UNREADABLE: [(&str, &[u8]); 10] = [
    ("nothing", b""),
    ("not-utf8", b"\xff\xfe"),
    ("not-utf8-within", b"{\"name\":\"\xff\"}"),
    ("cut-off", br#"{"name":"\"A"#),
    ("text", b"random-thing-which-is-not-json"),
    ("list", b"[]"),
    ("null", b"null"),
    ("other-fields", br#"{"name":1}"#),
    ("later-version", br#"{"v":2,"state":{}}"#),
    ("other-version", br#"{"v":1,"state":[]}"#),
];

/// Puts each of them under the session key of its name, and a value of another type too. Returns
/// the session keys.
fn put_unreadable(redis: &TestRedis) -> Vec<&'static str> {
    redis.run::<()>("RPUSH session:other-type a b");
    let mut session_keys = vec!["other-type"];
    for (session_key, bytes) in UNREADABLE {
        redis.put(&format!("session:{session_key}"), bytes);
        session_keys.push(session_key);
    }
    session_keys
}

#[actix_web::test]
async fn an_unreadable_session_is_a_deserialization_error_to_actix_session() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    for key in put_unreadable(&redis) {
        let error = store.load(&session_key(key)).await.unwrap_err();
        assert_matches!(&error, LoadError::Deserialization(_));
        assert_matches!(error.typed(), Error::Unreadable { .. });
    }
}

#[actix_web::test]
async fn an_unreadable_session_is_a_fresh_one_to_the_visitor() {
    let redis = TestRedis::start().await;
    let setup = Setup::default();
    let app = TestApp::with(redis.store(), &setup);
    for key in put_unreadable(&redis) {
        let browser = app.browser_with_cookie(setup.signed_cookie(key));
        assert_eq!(browser.get("/read").await.text(), "empty", "{key}");
        assert_eq!(browser.get("/count").await.text(), "n=1", "{key}");
        assert_eq!(browser.get("/count").await.text(), "n=2", "{key}");
    }
}

/// actix-session 0.11 keeps the session key, and an update cannot tell.
#[actix_web::test]
async fn an_unreadable_session_stays_as_it_is_until_a_write_replaces_it_in_place() {
    let redis = TestRedis::start().await;
    let setup = Setup::default();
    let app = TestApp::with(redis.store(), &setup);
    for key in put_unreadable(&redis) {
        let redis_key = state_of(&session_key(key));
        let before = redis.dump(&redis_key);
        let cookie = setup.signed_cookie(key);
        let browser = app.browser_with_cookie(cookie.clone());
        browser.get("/read").await.text();
        assert!(
            redis.dump(&redis_key) == before,
            "{key}: reading changed it"
        );
        browser.get("/count").await.text();
        assert_eq!(redis.value(&redis_key).unwrap(), br#"{"n":"1"}"#, "{key}");
        assert_eq!(browser.cookie(), cookie, "{key}");
    }
}
