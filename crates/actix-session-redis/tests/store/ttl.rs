use std::time::Instant;

use actix_session::storage::SessionStore;
use actix_session_redis::Error;
use actix_web::cookie::time::Duration;

use crate::support::{
    app::{Setup, TestApp},
    eventually,
    redis::{TestRedis, commands},
    scope::in_a_request,
    sessions::{HOUR, Typed, copy, hash_of, state},
};

const WITHOUT_A_TTL: [Duration; 4] = [
    Duration::ZERO,
    Duration::seconds(-1),
    Duration::microseconds(999),
    Duration::MAX,
];

/// Half a second that would be lost, or a whole one won, if seconds were what counts.
const TTL: Duration = Duration::milliseconds(90_500);

/// The key lives for [`TTL`] from some moment since `start` on.
#[track_caller]
fn assert_ttl_set_since(start: Instant, redis: &TestRedis, key: &str) {
    let left = redis.pttl(key);
    let passed = i64::try_from(start.elapsed().as_millis()).unwrap();
    let ttl = 90_500;
    assert!((ttl - passed - 1..=ttl).contains(&left), "{left} ms left");
}

#[actix_web::test]
async fn a_saved_session_lives_to_the_millisecond() {
    let redis = TestRedis::start().await;
    let start = Instant::now();
    let key = redis.store().save(state("n", "1"), &TTL).await.unwrap();
    assert_ttl_set_since(start, &redis, &hash_of(&key));
}

#[actix_web::test]
async fn an_updated_session_lives_to_the_millisecond() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    let start = Instant::now();
    let key = store.update(key, state("n", "2"), &TTL).await.unwrap();
    assert_ttl_set_since(start, &redis, &hash_of(&key));
}

#[actix_web::test]
async fn a_prolonged_session_lives_to_the_millisecond() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    let start = Instant::now();
    store.update_ttl(&key, &TTL).await.unwrap();
    assert_ttl_set_since(start, &redis, &hash_of(&key));
}

/// There, a change is a transaction, or a script if something is counted.
#[actix_web::test]
async fn a_session_that_is_changed_inside_consistent_sessions_lives_to_the_millisecond() {
    for counter in ["none", "n"] {
        let redis = TestRedis::start().await;
        let store = redis.store_with(|options| options.counter(counter));
        let key = store.save(state("n", "1"), &HOUR).await.unwrap();
        let (start, same) = (Instant::now(), copy(&key));
        in_a_request(async move {
            store.load(&same).await.unwrap().unwrap();
            store.update(same, state("n", "2"), &TTL).await.unwrap();
        })
        .await;
        assert_ttl_set_since(start, &redis, &hash_of(&key));
    }
}

#[actix_web::test]
async fn a_renewed_session_lives_to_the_millisecond() {
    let redis = TestRedis::start().await;
    let setup = Setup {
        ttl: TTL,
        ..Setup::consistent()
    };
    let app = TestApp::with(redis.store(), &setup);
    let browser = app.browser();
    browser.get("/count").await.text();
    redis.run::<()>(&format!("PEXPIRE {} 1000000", redis.only_session()));
    let start = Instant::now();
    browser.get("/renew").await.text();
    assert_ttl_set_since(start, &redis, &redis.only_session());
}

#[actix_web::test]
async fn without_a_ttl_nothing_is_created() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    for ttl in WITHOUT_A_TTL {
        let (saved, asked) = redis
            .commands_during(store.save(state("n", "1"), &ttl))
            .await;
        assert_matches!(saved.unwrap_err().typed(), Error::InvalidTtl { ttl: t } if t == ttl);
        assert_eq!(asked, commands([]));
    }
    assert_eq!(redis.connections_made(), 1, "only the one that asks this");
}

#[actix_web::test]
async fn without_a_ttl_nothing_is_replaced_or_prolonged() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    let before = redis.dump(&hash_of(&key));
    for ttl in WITHOUT_A_TTL {
        let attempts = async {
            let updated = store.update(copy(&key), state("n", "2"), &ttl).await;
            let prolonged = store.update_ttl(&key, &ttl).await;
            [updated.unwrap_err().typed(), prolonged.unwrap_err().typed()]
        };
        let (errors, asked) = redis.commands_during(attempts).await;
        for error in errors {
            assert_matches!(error, Error::InvalidTtl { ttl: t } if t == ttl);
        }
        assert_eq!(asked, commands([]));
    }
    assert_eq!(redis.dump(&hash_of(&key)), before);
}

#[actix_web::test]
async fn the_longest_ttl_is_still_one() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let ten_thousand_years = Duration::days(365 * 10_000);
    let key = store.save(state("n", "1"), &ten_thousand_years).await;
    let key = key.unwrap();
    store.update_ttl(&key, &ten_thousand_years).await.unwrap();
    assert!(redis.pttl(&hash_of(&key)) > 0);
}

#[actix_web::test]
async fn a_session_expires_by_itself() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let ttl = Duration::milliseconds(1);
    let key = store.save(state("n", "1"), &ttl).await.unwrap();
    eventually("it expires", || redis.pttl(&hash_of(&key)) == -2).await;
    assert_eq!(store.load(&key).await.unwrap(), None);
}
