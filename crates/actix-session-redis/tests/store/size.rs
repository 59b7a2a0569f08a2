use actix_session::storage::SessionStore;
use actix_session_redis::Error;

use crate::support::{
    app::TestApp,
    redis::{TestRedis, commands},
    sessions::{HOUR, State, Typed, copy, state, state_of},
};

const LIMIT: usize = 256 << 10;

/// What comes on top of a state of more than 4 KiB.
const STAMP: usize = 32;

/// A state of this many bytes once encoded.
fn state_of_size(bytes: usize) -> State {
    let frame = r#"{"field":"\"\""}"#;
    let json = format!("\"{}\"", "x".repeat(bytes - frame.len()));
    state("field", &json)
}

#[actix_web::test]
async fn up_to_a_quarter_of_a_mebibyte_is_stored_by_default() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state_of_size(LIMIT), &HOUR).await.unwrap();
    let stored: usize = redis.run(&format!("STRLEN {}", state_of(&key)));
    assert_eq!(stored, LIMIT + STAMP);
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
    let before = redis.dump(&state_of(&key));
    let longer = HOUR * 2;
    let updated = store.update(copy(&key), state_of_size(101), &longer).await;
    assert_matches!(
        updated.unwrap_err().typed(),
        Error::StateTooLarge {
            bytes: 101,
            limit: 100
        }
    );
    assert_eq!(redis.dump(&state_of(&key)), before);
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
    let redis = TestRedis::start().await;
    let app = TestApp::on(redis.store());
    let browser = app.browser();
    browser.get("/count").await.text();
    browser.get("/grow/300000").await.assert_empty_500();
    assert_eq!(browser.get("/count").await.text(), "n=2");
}
