use actix_session::storage::SessionStore as _;
use actix_session_redis::{Error, RedisSessionStore};

use super::{A, B, builder, copy_session, fields, load_error, put, ring, sealed};
use crate::support::{
    app::{Setup, TestApp},
    log::Log,
    redis::TestRedis,
    rights,
    sessions::{HOUR, copy, hash_of, session_key, state},
};

/// Two fields of one session.
async fn two_fields(store: &RedisSessionStore) -> actix_session::storage::SessionKey {
    let mut two = state("name", "\"Ada\"");
    two.insert("admin".to_owned(), "false".to_owned());
    store.save(two, &HOUR).await.unwrap()
}

#[actix_web::test]
async fn a_session_that_was_copied_over_another_one_does_not_open_and_both_stay() {
    let redis = TestRedis::start().await;
    let store = sealed(&redis, &[A]);
    let app = TestApp::with(store.clone(), &Setup::consistent());
    let [admin, mallory] = [app.browser(), app.browser()];
    admin.get("/login/admin").await.text();
    let of_admin = redis.only_session();
    mallory.get("/login/mallory").await.text();
    let both = redis.sessions();
    let of_mallory = both.iter().find(|key| **key != of_admin).unwrap();
    redis.run::<i64>(&format!("COPY {of_admin} {of_mallory} REPLACE"));
    let before = redis.dump(of_mallory);
    for path in ["/read", "/count", "/login/mallory", "/purge"] {
        let answer = mallory.get(path).await;
        answer.assert_empty_500();
        assert!(!answer.touches_session_cookie());
    }
    assert_eq!(redis.dump(of_mallory), before);
    assert_eq!(admin.get("/read").await.text(), "user=\"admin\"");
}

#[actix_web::test]
async fn a_value_that_was_moved_or_changed_does_not_open() {
    let redis = TestRedis::start().await;
    let store = sealed(&redis, &[A]);
    let key = two_fields(&store).await;
    let other = two_fields(&store).await;
    let (ours, theirs) = (fields(&redis, &key), fields(&redis, &other));
    let mut flipped = ours[&b"admin"[..]].clone();
    *flipped.last_mut().unwrap() ^= 1;
    for (what, value) in [
        ("of another field", &ours[&b"name"[..]]),
        (
            "of the same field in another session",
            &theirs[&b"admin"[..]],
        ),
        ("with a bit flipped", &flipped),
        ("cut to its header", &ours[&b"admin"[..]][..17].to_vec()),
        ("cut to one byte", &vec![0xF9]),
        (
            "with a byte more",
            &[&ours[&b"admin"[..]][..], b"x"].concat(),
        ),
        ("of a note", &ours[&b"\xFFborn"[..]]),
    ] {
        put(&redis, &key, b"admin", value);
        let error = load_error(&store, &key).await;
        assert!(matches!(error, Error::BrokenSeal), "{what}: {error:?}");
        put(&redis, &key, b"admin", &ours[&b"admin"[..]]);
        assert!(store.load(&key).await.unwrap().is_some(), "{what}");
    }
    // A field that somebody else adds is no less of a forgery.
    put(&redis, &key, b"root", &ours[&b"admin"[..]]);
    assert_matches!(load_error(&store, &key).await, Error::BrokenSeal);
}

#[actix_web::test]
async fn what_another_application_has_sealed_with_the_same_key_does_not_open() {
    let redis = TestRedis::start().await;
    let ours = sealed(&redis, &[A]);
    redis.run::<()>(&rights::grant("~shop:*"));
    let theirs = builder(&redis).key_prefix("shop:").seal(ring(&[A])).build();
    let key = theirs.save(state("n", "1"), &HOUR).await.unwrap();
    let id = hash_of(&key);
    let theirs = id.replace("session:", "shop:");
    redis.run::<i64>(&format!("COPY {theirs} {id}"));
    assert_matches!(load_error(&ours, &key).await, Error::BrokenSeal);
}

#[actix_web::test]
async fn clear_text_is_refused_and_left_alone() {
    let redis = TestRedis::start().await;
    let clear = builder(&redis).build();
    let key = two_fields(&clear).await;
    let before = redis.dump(&hash_of(&key));
    let store = sealed(&redis, &[A]);
    assert_matches!(load_error(&store, &key).await, Error::Unsealed);
    let modified = store.modify(&key, |state| state.clear()).await;
    assert_matches!(modified, Err(Error::Unsealed));
    assert_eq!(redis.dump(&hash_of(&key)), before);

    // Nor is a single field, or a whole session that somebody has made up.
    let key = two_fields(&store).await;
    put(&redis, &key, b"admin", b"true");
    assert_matches!(load_error(&store, &key).await, Error::Unsealed);
    let made_up = session_key(&"A".repeat(64));
    put(&redis, &made_up, b"\xFFborn", b"1");
    assert_matches!(load_error(&store, &made_up).await, Error::Unsealed);
}

#[actix_web::test]
async fn an_unknown_key_is_an_error_that_names_it_and_leaves_the_session_as_it_is() {
    let (log, redis) = (Log::of_operators(), TestRedis::start().await);
    let key = two_fields(&sealed(&redis, &[B])).await;
    let before = redis.dump(&hash_of(&key));
    let id = super::ids(&[B]).remove(0);
    // Without any key ring, too: a deploy that forgot it empties no session.
    for store in [sealed(&redis, &[A]), builder(&redis).build()] {
        let error = load_error(&store, &key).await;
        assert_matches!(&error, Error::UnknownSealKey { key_id } if *key_id == id);
        assert!(error.to_string().contains(&id), "{error}");
        let setup = Setup::consistent();
        let app = TestApp::with(store.clone(), &setup);
        let browser = app.browser_with_cookie(setup.signed_cookie(key.as_ref()));
        for path in ["/read", "/count", "/login/Ada", "/purge"] {
            let answer = browser.get(path).await;
            answer.assert_empty_500();
            assert!(!answer.touches_session_cookie());
        }
        assert_eq!(redis.dump(&hash_of(&key)), before);
    }
    assert!(log.count(&format!("sealed with the key {id}")) > 0);
    let known = sealed(&redis, &[A, B]).load(&key).await.unwrap();
    assert_eq!(known.unwrap()["admin"], "false");
}

#[actix_web::test]
async fn the_log_names_the_session_that_does_not_open_and_not_its_key() {
    let redis = TestRedis::start().await;
    let key = two_fields(&sealed(&redis, &[A])).await;
    let of_session = format!("session={} ", hash_of(&key).trim_start_matches("session:"));
    let log = Log::of_operators();
    // The key of the session is not in the ring; the session is not sealed; what is sealed was moved.
    load_error(&sealed(&redis, &[B]), &key).await;
    let changed = sealed(&redis, &[A]);
    let name = fields(&redis, &key)[&b"name"[..]].clone();
    for value in [&b"true"[..], &name] {
        put(&redis, &key, b"admin", value);
        load_error(&changed, &key).await;
    }
    let lines = log.lines();
    let said = |what: &str| {
        let names_it = |line: &&String| line.contains(what) && line.contains(&of_session);
        lines.iter().filter(names_it).count()
    };
    for what in [
        "not in the key ring",
        "is not sealed",
        "does not open: it was changed",
    ] {
        assert_eq!(said(what), 1, "{what} in {lines:#?}");
    }
    assert!(!lines.concat().contains(key.as_ref()), "{lines:#?}");
}

#[actix_web::test]
async fn when_a_session_began_cannot_be_put_off() {
    let redis = TestRedis::start().await;
    let options = builder(&redis).absolute_lifetime(std::time::Duration::from_secs(3600));
    let store = options.seal(ring(&[A])).build();
    let key = two_fields(&store).await;
    let later = two_fields(&store).await;
    let born = fields(&redis, &key)[&b"\xFFborn"[..]].clone();
    for (forged, expected) in [
        (&b"99999999999999"[..], "the session is not sealed"),
        (&fields(&redis, &later)[&b"\xFFborn"[..]], "does not open"),
    ] {
        put(&redis, &key, b"\xFFborn", forged);
        let error = load_error(&store, &key).await.to_string();
        assert!(error.contains(expected), "{error}");
    }
    put(&redis, &key, b"\xFFborn", &born);
    assert!(store.load(&key).await.unwrap().is_some());
}

#[actix_web::test]
async fn when_another_session_began_is_found_out_when_it_is_passed_on() {
    let redis = TestRedis::start().await;
    let (store, setup) = (sealed(&redis, &[A]), Setup::consistent());
    let app = TestApp::with(store.clone(), &setup);
    let key = two_fields(&store).await;
    let other = two_fields(&store).await;
    let [ours, theirs] = [&key, &other].map(|it| fields(&redis, it)[&b"\xFFborn"[..]].clone());
    let browser = app.browser_with_cookie(setup.signed_cookie(key.as_ref()));
    put(&redis, &key, b"\xFFborn", &theirs);
    let before = redis.dump(&hash_of(&key));
    browser.get("/renew").await.assert_empty_500();
    assert_eq!(redis.dump(&hash_of(&key)), before);
    // Even if nobody asks, it has to be sealed, with a key that is known.
    for (forged, is_refused) in [
        (&b"1"[..], "the session is not sealed"),
        (&ours[..1], "does not open"),
    ] {
        put(&redis, &key, b"\xFFborn", forged);
        let error = load_error(&store, &key).await.to_string();
        assert!(error.contains(is_refused), "{error}");
    }
    put(&redis, &key, b"\xFFborn", &ours);
    browser.get("/renew").await.text();
    assert_eq!(store.load(&key).await.unwrap(), None);
}

#[actix_web::test]
async fn a_session_that_is_nothing_but_the_beginning_of_another_one_does_not_open() {
    let redis = TestRedis::start().await;
    let store = sealed(&redis, &[A]);
    let key = two_fields(&store).await;
    let born = fields(&redis, &key)[&b"\xFFborn"[..]].clone();
    let made_up = session_key(&"A".repeat(64));
    put(&redis, &made_up, b"\xFFborn", &born);
    assert_matches!(load_error(&store, &made_up).await, Error::BrokenSeal);
}

#[actix_web::test]
async fn a_session_that_does_not_open_is_ended_by_its_handle() {
    let redis = TestRedis::start().await;
    let store = builder(&redis).user_field("user").seal(ring(&[A])).build();
    let [ours, theirs] = [0, 1].map(|_| state("user", "\"Ada\""));
    let key = store.save(ours, &HOUR).await.unwrap();
    let other = store.save(theirs, &HOUR).await.unwrap();
    copy_session(&redis, &other, &key);
    load_error(&store, &key).await;
    let sessions = store.sessions_of("Ada");
    assert_eq!(
        sessions.list().await.unwrap().len(),
        1,
        "that nobody can use it"
    );
    let handle = actix_session_redis::SessionId::of(&key);
    assert!(store.sessions_of("Ada").end(&handle).await.unwrap());
    assert_eq!(store.load(&key).await.unwrap(), None);
    assert!(store.load(&copy(&other)).await.unwrap().is_some());
}
