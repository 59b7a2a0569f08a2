use actix_session::storage::SessionStore;
use actix_session_redis::{Error, SessionId, deadpool_redis::redis::Value};

use crate::support::{
    app::{Setup, TestApp},
    log::Log,
    redis::TestRedis,
    sessions::{HOUR, copy, hash_of, long_key, state},
};

/// Their names and values.
type Fields = &'static [(&'static [u8], &'static [u8])];

/// Hashes that no store of ours has written, by a name.
const NO_SESSIONS: [(&str, Fields); 6] = [
    ("neverborn", &[(b"n", b"1")]),
    (
        "bornlikeours",
        &[(b"born", b"1"), ("\u{ff}born".as_bytes(), b"1")],
    ),
    ("onlywritten", &[(b"\xFFwritten", b"abc"), (b"n", b"1")]),
    ("namenotutf8", &[(b"\xFFborn", b"1"), (b"n\xC3\x28", b"1")]),
    (
        "valuenotutf8",
        &[(b"\xFFborn", b"1"), (b"n", b"\"\xC3\x28\"")],
    ),
    (
        "surrogate",
        &[(b"\xFFborn", b"1"), (b"n", b"\"\xED\xA0\x80\"")],
    ),
];

/// Commands that put something else there than a hash.
const OTHER_TYPES: [(&str, &str); 5] = [
    ("text", "SET {key} random-thing-which-is-no-hash"),
    ("builtin", r#"SET {key} {"n":"1"}"#),
    ("list", "RPUSH {key} n 1"),
    ("set", "SADD {key} n"),
    ("stream", "XADD {key} * n 1"),
];

/// Puts each of them where a session of its name would be. Returns the names.
fn put_all(redis: &TestRedis) -> Vec<&'static str> {
    for (name, fields) in NO_SESSIONS {
        let redis_key = hash_of(&long_key(name));
        match is_told(name) {
            true => redis.put_in_session(&redis_key, fields),
            false => redis.put_fields(&redis_key, fields),
        }
    }
    for (name, command) in OTHER_TYPES {
        let redis_key = hash_of(&long_key(name));
        redis.run::<Value>(&command.replace("{key}", &redis_key));
    }
    let hashes = NO_SESSIONS.iter().map(|(name, _)| *name);
    let others = OTHER_TYPES.iter().map(|(name, _)| *name);
    hashes.chain(others).collect()
}

/// Whether something is told of it: a hash without our mark is none of our business.
fn is_told(name: &str) -> bool {
    !["neverborn", "bornlikeours", "onlywritten"].contains(&name)
}

#[actix_web::test]
async fn what_is_no_session_is_none_and_what_cannot_be_read_is_told_to_operators() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    for name in put_all(&redis) {
        let log = Log::of_operators();
        let key = long_key(name);
        assert_eq!(store.load(&key).await.unwrap(), None, "{name}");
        assert_eq!(log.lines().len(), usize::from(is_told(name)), "{name}");
        if is_told(name) {
            let line = log.only("a session is unreadable");
            assert!(line.contains(" WARN "), "{line}");
            let id = SessionId::of(&key);
            assert!(line.contains(&format!("session={id}")), "{line}");
        }
    }
}

#[actix_web::test]
async fn the_visitor_gets_a_fresh_session_under_a_new_key_and_what_was_there_stays() {
    for setup in [Setup::default(), Setup::consistent()] {
        let redis = TestRedis::start().await;
        let app = TestApp::with(redis.store_with(|options| options.counter("n")), &setup);
        for name in put_all(&redis) {
            let key = long_key(name);
            let before = redis.dump(&hash_of(&key));
            let cookie = setup.signed_cookie(key.as_ref());
            let browser = app.browser_with_cookie(&cookie);
            for (path, text) in [
                ("/read", "empty"),
                ("/count", "n=1"),
                ("/count", "n=2"),
                ("/login/Ada", "n=2 user=\"Ada\""),
                ("/purge", "empty"),
            ] {
                assert_eq!(browser.get(path).await.text(), text, "{name}");
            }
            for path in ["/renew", "/clear", "/set/a/b", "/purge"] {
                app.browser_with_cookie(&cookie).get(path).await.text();
            }
            assert!(redis.dump(&hash_of(&key)) == before, "{name}");
        }
    }
}

/// Somebody puts it there while a request has the session loaded. (It may expire with the session
/// that the request takes it for.)
#[actix_web::test]
async fn what_takes_the_place_of_a_session_meanwhile_stays_and_the_write_is_dropped() {
    for setup in [Setup::default(), Setup::consistent()] {
        for path in ["/set/a/b", "/count", "/clear"] {
            for (name, command) in OTHER_TYPES {
                let redis = TestRedis::start().await;
                let app = TestApp::with(redis.store_with(|options| options.counter("n")), &setup);
                let key = redis.store().save(state("m", "1"), &HOUR).await.unwrap();
                let redis_key = hash_of(&key);
                let browser = app.browser_with_cookie(setup.signed_cookie(key.as_ref()));
                let replace = async {
                    redis.run::<()>(&format!("DEL {redis_key}"));
                    redis.run::<Value>(&command.replace("{key}", &redis_key));
                    redis.dump(&redis_key).0
                };
                let (answer, before) = browser.get_slowly(path, replace).await;
                answer.text();
                assert!(redis.dump(&redis_key).0 == before, "{name}, {path}");
                assert_eq!(redis.sessions(), [&*redis_key], "{name}, {path}");
            }
        }
    }
}

#[actix_web::test]
async fn by_hand_it_is_changed_by_nothing_but_a_delete() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    for name in put_all(&redis) {
        let (key, redis_key) = (long_key(name), hash_of(&long_key(name)));
        // For what is prolonged is whatever lives under the key.
        redis.run::<()>(&format!("PEXPIRE {redis_key} 100000000"));
        let before = redis.dump(&redis_key);
        let is_readable = !is_told(name);
        match store.modify(&key, |state| drop(state.remove("n"))).await {
            Err(Error::Gone) => assert!(is_readable, "{name}"),
            Err(Error::Unreadable { .. }) => assert!(!is_readable, "{name}"),
            other => panic!("{other:?}, {name}"),
        }
        assert!(redis.dump(&redis_key) == before, "{name}");
        store.delete(&copy(&key)).await.unwrap();
        assert_eq!(redis.run::<u8>(&format!("EXISTS {redis_key}")), 0, "{name}");
    }
}
