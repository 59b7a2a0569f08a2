use actix_session::storage::{SessionKey, SessionStore};
use actix_session_redis::{Error, RedisSessionStore, RedisSessionStoreBuilder};

use crate::support::{
    app::{Setup, TestApp},
    redis::{TestRedis, commands},
    scope::in_a_request,
    sealing,
    sessions::{HOUR, State, Typed, copy, hash_of, state},
};

const LIMIT: usize = 256 << 10;

/// A state whose field name and value are this many bytes together.
fn state_of_size(bytes: usize) -> State {
    let quotes = 2;
    let json = format!("\"{}\"", "x".repeat(bytes - "field".len() - quotes));
    state("field", &json)
}

#[actix_web::test]
async fn up_to_a_quarter_of_a_mebibyte_is_stored_by_default() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state_of_size(LIMIT), &HOUR).await.unwrap();
    let stored: usize = redis.run(&format!("HSTRLEN {} field", hash_of(&key)));
    let more = if sealing::is_on() {
        sealing::BYTES_MORE
    } else {
        0
    };
    assert_eq!("field".len() + stored, LIMIT + more);
    let key = store
        .update(key, state_of_size(LIMIT), &HOUR)
        .await
        .unwrap();
    assert_eq!(store.load(&key).await.unwrap(), Some(state_of_size(LIMIT)));
}

#[actix_web::test]
async fn a_byte_more_is_refused_and_nothing_is_sent() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let save = store.save(state_of_size(LIMIT + 1), &HOUR);
    let (saved, asked) = redis.commands_during(save).await;
    assert_matches!(
        saved.unwrap_err().typed(),
        Error::StateTooLarge { bytes, limit } if (bytes, limit) == (LIMIT + 1, LIMIT)
    );
    assert_eq!(asked, commands([]));
}

#[actix_web::test]
async fn what_was_stored_stays_when_an_update_is_too_large() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(|options| options.max_state_bytes(100));
    let key = store.save(state_of_size(100), &HOUR).await.unwrap();
    let before = redis.dump(&hash_of(&key));
    let longer = HOUR * 2;
    let updated = store.update(copy(&key), state_of_size(101), &longer).await;
    assert_matches!(
        updated.unwrap_err().typed(),
        Error::StateTooLarge {
            bytes: 101,
            limit: 100
        }
    );
    assert_eq!(redis.dump(&hash_of(&key)), before);
}

#[actix_web::test]
async fn what_is_already_stored_is_read_whatever_its_size() {
    let redis = TestRedis::start().await;
    let key = redis.store().save(state_of_size(500), &HOUR).await.unwrap();
    let stricter = redis.store_with(|options| options.max_state_bytes(100));
    assert_eq!(stricter.load(&key).await.unwrap(), Some(state_of_size(500)));
}

#[actix_web::test]
async fn the_visitor_gets_an_empty_500_and_keeps_the_session() {
    for setup in [Setup::default(), Setup::consistent()] {
        let redis = TestRedis::start().await;
        let app = TestApp::with(redis.store(), &setup);
        let browser = app.browser();
        browser.get("/count").await.text();
        browser.get("/grow/300000").await.assert_empty_500();
        assert_eq!(browser.get("/count").await.text(), "n=2");
    }
}

const MANY: usize = 20_000;

/// Whose names and values are all different.
fn many_fields(first_value: usize) -> State {
    let fields = (0..MANY).map(|n| (format!("field {n}"), (first_value + n).to_string()));
    fields.collect()
}

/// What a request makes of the session that it has loaded.
async fn change(store: &RedisSessionStore, key: &SessionKey, change: fn(&mut State)) {
    let (store, key) = (store.clone(), copy(key));
    in_a_request(async move {
        let mut state = store.load(&key).await.unwrap().unwrap();
        change(&mut state);
        let updated = store.update(copy(&key), state, &HOUR).await;
        assert_eq!(updated.unwrap(), key);
    })
    .await;
}

/// Lua unpacks no more than some 8,000 arguments at once.
#[actix_web::test]
async fn a_session_of_20_000_fields_is_created_read_and_changed_in_every_way() {
    let redis = TestRedis::start().await;
    let patient = std::time::Duration::from_secs(20);
    let store = redis.store_with(|options| {
        let options = options.max_state_bytes(1 << 20).deadline(patient);
        options.counter("visits")
    });
    let holds = async |key: &SessionKey, expected: State| {
        let loaded = store.load(key).await.unwrap().unwrap();
        assert_eq!(loaded.len(), expected.len());
        assert!(loaded == expected);
        assert!(redis.pttl(&hash_of(key)) > 0);
    };
    let key = store.save(many_fields(0), &HOUR).await.unwrap();
    holds(&key, many_fields(0)).await;

    let replaced = store.update(copy(&key), many_fields(1), &HOUR).await;
    assert_eq!(replaced.unwrap(), key);
    holds(&key, many_fields(1)).await;

    change(&store, &key, |state| state.extend(many_fields(2))).await;
    holds(&key, many_fields(2)).await;

    // With a counter, all of it is one script.
    change(&store, &key, |state| {
        state.extend(many_fields(3));
        state.insert("visits".to_owned(), "1".to_owned());
    })
    .await;
    let mut counted = many_fields(3);
    counted.insert("visits".to_owned(), "1".to_owned());
    holds(&key, counted.clone()).await;
    change(&store, &key, |state| {
        state.retain(|field, _| field == "visits");
        state.insert("visits".to_owned(), "2".to_owned());
    })
    .await;
    holds(&key, state("visits", "2")).await;

    change(&store, &key, |state| state.extend(many_fields(4))).await;
    change(&store, &key, |state| {
        state.retain(|field, _| field == "visits")
    })
    .await;
    holds(&key, state("visits", "2")).await;

    let modified = store.modify(&key, |state| state.extend(many_fields(5)));
    modified.await.unwrap();
    let modified = store.modify(&key, |state| drop(state.remove("visits")));
    modified.await.unwrap();
    holds(&key, many_fields(5)).await;
}

#[actix_web::test]
async fn a_session_of_20_000_fields_is_renewed_cleared_and_ended() {
    let redis = TestRedis::start().await;
    let patient = std::time::Duration::from_secs(20);
    let options =
        |options: RedisSessionStoreBuilder| options.max_state_bytes(1 << 20).deadline(patient);
    let store = redis.store_with(options);
    let setup = Setup::consistent();
    let app = TestApp::with(store.clone(), &setup);
    let key = store.save(many_fields(0), &HOUR).await.unwrap();
    let browser = app.browser_with_cookie(setup.signed_cookie(key.as_ref()));
    let other = async {
        browser.get("/count").await.text();
    };
    browser.get_slowly("/renew", other).await.0.text();
    let mut renewed = many_fields(0);
    renewed.insert("n".to_owned(), "1".to_owned());
    assert!(redis.state(&redis.only_session()) == Some(renewed));
    browser.get("/clear").await.text();
    assert_eq!(browser.get("/read").await.text(), "empty");

    let key = store.save(many_fields(0), &HOUR).await.unwrap();
    store.delete(&key).await.unwrap();
    assert_eq!(store.load(&key).await.unwrap(), None);
}

/// Because the limit was another one, or requests that overlapped have stored more together.
#[actix_web::test]
async fn a_session_above_the_limit_is_read_and_prolonged_also_if_it_has_to_be_entered_for_its_user()
{
    let redis = TestRedis::start().await;
    let setup = Setup::consistent_and_sliding();
    let app = TestApp::with(redis.store(), &setup);
    let browser = app.browser();
    browser.get("/set/user/Ada").await.text();
    browser.get("/grow/1000").await.text();
    let stricter = redis.store_with(|options| options.max_state_bytes(100).user_field("user"));
    let app = TestApp::with(stricter.clone(), &setup);
    let browser = browser.at(&app);
    browser.get("/read").await.text();
    assert_eq!(stricter.sessions_of("Ada").count().await.unwrap(), 1);
    browser.get("/count").await.assert_empty_500();
}
