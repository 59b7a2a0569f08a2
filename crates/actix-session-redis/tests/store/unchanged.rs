use actix_session::{config::TtlExtensionPolicy, storage::SessionStore};

use crate::support::{
    app::{Setup, TestApp},
    redis::{Commands, TestRedis, commands},
    scope::in_a_request,
    sealing,
    sessions::{HOUR, state},
};

const HOUR_MS: i64 = 3_600_000;

/// What a request to `path` costs `age` milliseconds after the TTL was set, and how long the
/// session lives afterwards.
async fn cost_at_age(path: &str, policy: TtlExtensionPolicy, age: i64) -> (Commands, i64) {
    let redis = TestRedis::start().await;
    let setup = Setup {
        policy,
        ..Setup::consistent()
    };
    let app = TestApp::with(
        redis.store_with(|options| options.counter("counter")),
        &setup,
    );
    let browser = app.browser();
    // Redis learns the scripts, and the store whether the policy asks for refreshes.
    for path in ["/set/name/Ada", "/count", path, path] {
        browser.get(path).await.text();
    }
    let session = redis.only_session();
    redis.run::<()>(&format!("PEXPIRE {session} {}", HOUR_MS - age));
    let (answer, asked) = redis.commands_during(browser.get(path)).await;
    answer.text();
    (asked, redis.pttl(&session))
}

/// Less than 1 % of an hour, with time for a slow machine, and more.
const FRESH: i64 = 1_000;
const NOT_FRESH: i64 = 36_000;

#[actix_web::test]
async fn a_value_that_is_set_again_is_not_written() {
    use TtlExtensionPolicy::{OnEveryRequest, OnStateChanges};
    let (short, long) = ("Ada".to_owned(), "Ada".repeat(5_000));
    for (policy, value) in [
        (OnStateChanges, &short),
        (OnEveryRequest, &short),
        (OnEveryRequest, &long),
    ] {
        let path = format!("/set/name/{value}");
        let (cost, left) = cost_at_age(&path, policy.clone(), FRESH).await;
        assert_eq!(cost, commands([("hgetall", 1), ("pttl", 1)]));
        assert!(left <= HOUR_MS - FRESH);

        let (cost, left) = cost_at_age(&path, policy, NOT_FRESH).await;
        assert_eq!(
            cost,
            commands([("hgetall", 1), ("pttl", 1), ("pexpire", 1)])
        );
        assert!(left > HOUR_MS - FRESH);
    }
}

#[actix_web::test]
async fn a_visitor_who_only_reads_costs_one_round_trip_until_one_percent_of_the_ttl_has_passed() {
    let policy = TtlExtensionPolicy::OnEveryRequest;
    let (cost, left) = cost_at_age("/read", policy.clone(), FRESH).await;
    assert_eq!(cost, commands([("hgetall", 1), ("pttl", 1)]));
    assert!(left <= HOUR_MS - FRESH);

    let (cost, left) = cost_at_age("/read", policy, NOT_FRESH).await;
    assert_eq!(
        cost,
        commands([("hgetall", 1), ("pttl", 1), ("pexpire", 1)])
    );
    assert!(left > HOUR_MS - FRESH);
}

/// The commands inside the script are counted as well.
#[actix_web::test]
async fn a_change_costs_one_transaction_and_only_a_declared_field_a_script() {
    let policy = TtlExtensionPolicy::OnStateChanges;
    let (cost, _) = cost_at_age("/count", policy.clone(), FRESH).await;
    let write = [
        ("multi", 1),
        ("hset", 1),
        ("pexpire", 1),
        ("hexists", 1),
        ("exec", 1),
    ];
    assert_eq!(cost, sum(&[("hgetall", 1)], &write));

    let (cost, _) = cost_at_age("/add/counter/1", policy, FRESH).await;
    let asked = [("hgetall", 1), ("evalsha", 1)];
    let inside: &[_] = match sealing::is_on() {
        false => &[("hmget", 1), ("hincrby", 1), ("hset", 1), ("pexpire", 1)],
        // Redis cannot add to what it cannot read: the sum is set, if nobody else has set another.
        true => &[("hmget", 1), ("hset", 2), ("pexpire", 1)],
    };
    assert_eq!(cost, sum(&asked, inside));
}

/// As an application does that stores what it has read, in its own words.
#[actix_web::test]
async fn a_value_that_is_only_spelled_differently_is_not_written() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state("cart", "[1, 2]"), &HOUR).await.unwrap();
    let ((), cost) = redis
        .commands_during(in_a_request(async move {
            store.load(&key).await.unwrap().unwrap();
            store
                .update(key, state("cart", "[1,2]"), &HOUR)
                .await
                .unwrap();
        }))
        .await;
    assert_eq!(cost, commands([("hgetall", 1), ("pexpire", 1)]));
}

fn sum(some: &[(&str, u64)], others: &[(&str, u64)]) -> Commands {
    let mut sum = commands([]);
    for &(name, n) in some.iter().chain(others) {
        *sum.entry(name.to_owned()).or_default() += n;
    }
    sum
}

#[actix_web::test]
async fn a_session_whose_ttl_was_taken_away_gets_one_again() {
    let redis = TestRedis::start().await;
    let setup = Setup::consistent_and_sliding();
    let app = TestApp::with(redis.store(), &setup);
    let browser = app.browser();
    browser.get("/set/name/Ada").await.text();
    let session = redis.only_session();
    for path in ["/read", "/set/name/Ada", "/set/name/Bea"] {
        assert_eq!(redis.run::<i64>(&format!("PERSIST {session}")), 1);
        browser.get(path).await.text();
        assert!(redis.pttl(&session) > 0, "after {path}");
    }
}

#[actix_web::test]
async fn a_persistent_cookie_is_prolonged_together_with_its_session_and_only_then() {
    let redis = TestRedis::start().await;
    let setup = Setup {
        policy: TtlExtensionPolicy::OnEveryRequest,
        persistent: true,
        ..Setup::consistent()
    };
    let app = TestApp::with(redis.store(), &setup);
    let browser = app.browser();
    browser.get("/count").await.text();
    assert!(browser.get("/read").await.touches_session_cookie());
    let session = redis.only_session();

    let before = redis.dump(&session);
    assert!(!browser.get("/read").await.touches_session_cookie());
    assert!(redis.dump(&session) == before, "nor is the session");

    redis.run::<()>(&format!("PEXPIRE {session} {}", HOUR_MS - NOT_FRESH));
    assert!(browser.get("/read").await.touches_session_cookie());
    assert!(redis.pttl(&session) > HOUR_MS - FRESH);
}
