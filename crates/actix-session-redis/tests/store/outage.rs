use std::time::{Duration, Instant};

use actix_session::storage::SessionStore;
use actix_session_redis::{Error, RedisSessionStore};
use futures_util::future::{join, join_all};

use crate::support::{
    app::TestApp,
    eventually,
    redis::TestRedis,
    sessions::{HOUR, Typed, copy, session_key, state},
};

const DEADLINE: Duration = Duration::from_millis(200);

/// So much later than the deadline an answer may come on a busy machine. Less than the default
/// deadline: one that is not ours would be noticed.
const SLACK: Duration = Duration::from_millis(1_500);

fn impatient_store(redis: &TestRedis) -> RedisSessionStore {
    redis.store_with(|options| options.deadline(DEADLINE))
}

/// How long the operation waited for Redis in vain.
#[track_caller]
fn waited(error: Error) -> Duration {
    match error {
        Error::Unavailable { waited, .. } => waited,
        other => panic!("{other:?}"),
    }
}

/// How long each of many parallel reads waited for Redis in vain.
async fn parallel_waits(store: &RedisSessionStore) -> Vec<Duration> {
    let key = session_key("any");
    let loads = join_all((0..50).map(|_| store.load(&key))).await;
    let errors = loads.into_iter().map(|load| load.unwrap_err().typed());
    errors.map(waited).collect()
}

#[actix_web::test]
async fn a_visitor_gets_an_empty_500_within_the_deadline() {
    let redis = TestRedis::start().await;
    let app = TestApp::on(impatient_store(&redis));
    let (browser, newcomer) = (app.browser(), app.browser());
    browser.get("/count").await.text();
    redis.kill();

    for (visitor, path) in [
        (&browser, "/read"),
        (&browser, "/purge"),
        (&newcomer, "/count"),
    ] {
        let start = Instant::now();
        visitor.get(path).await.assert_empty_500();
        assert!(start.elapsed() < DEADLINE + SLACK);
    }
    assert!(browser.has_cookie(), "nobody is logged out by an outage");
}

#[actix_web::test]
async fn a_visitor_without_a_session_does_not_notice() {
    let redis = TestRedis::start().await;
    let app = TestApp::on(impatient_store(&redis));
    redis.kill();
    assert_eq!(app.browser().get("/hello").await.text(), "hello");
    assert_eq!(app.browser().get("/read").await.text(), "empty");
}

#[actix_web::test]
async fn every_operation_says_that_redis_is_unavailable() {
    let redis = TestRedis::not_started();
    let store = impatient_store(&redis);
    let key = session_key("any");
    let n = || state("n", "1");
    let errors = [
        store.load(&key).await.unwrap_err().typed(),
        store.save(n(), &HOUR).await.unwrap_err().typed(),
        store
            .update(copy(&key), n(), &HOUR)
            .await
            .unwrap_err()
            .typed(),
        store.update_ttl(&key, &HOUR).await.unwrap_err().typed(),
        store.delete(&key).await.unwrap_err().typed(),
        store.ping().await.unwrap_err(),
    ];
    for error in errors {
        assert!(waited(error) < DEADLINE + SLACK);
    }
}

#[actix_web::test]
async fn requests_that_meet_the_outage_together_wait_no_longer_than_one() {
    let redis = TestRedis::start().await;
    let store = impatient_store(&redis);
    store.ping().await.unwrap();
    redis.kill();
    let start = Instant::now();
    parallel_waits(&store).await;
    assert!(start.elapsed() < DEADLINE + SLACK);
}

#[actix_web::test]
async fn a_request_that_came_later_fails_as_soon_as_the_outage_is_known() {
    let redis = TestRedis::not_started();
    let deadline = Duration::from_secs(2);
    let store = redis.store_with(|options| options.deadline(deadline));
    let start = Instant::now();
    let later = async {
        eventually("half the time is over", || start.elapsed() > deadline / 2).await;
        store.ping().await
    };
    let (_, later) = join(store.ping(), later).await;
    assert!(waited(later.unwrap_err()) < deadline * 3 / 4);
}

#[actix_web::test]
async fn once_a_deadline_has_passed_only_one_request_at_a_time_waits() {
    let redis = TestRedis::start().await;
    let store = impatient_store(&redis);
    store.ping().await.unwrap();
    redis.kill();
    assert!(waited(store.ping().await.unwrap_err()) >= DEADLINE / 2);

    for _ in 0..2 {
        let waits = parallel_waits(&store).await;
        let fail_fast = |wait: &Duration| *wait < DEADLINE / 4;
        let (fast, slow): (Vec<_>, Vec<_>) = waits.into_iter().partition(fail_fast);
        assert_eq!((fast.len(), slow.len()), (49, 1), "the others: {slow:?}");
    }
}

#[actix_web::test]
async fn once_redis_is_back_the_app_works_without_a_restart() {
    let redis = TestRedis::start_with(&["--appendonly", "yes"]).await;
    let patient = Duration::from_secs(1);
    let app = TestApp::on(redis.store_with(|options| options.deadline(patient)));
    let browser = app.browser();
    browser.get("/count").await.text();
    redis.stop();
    browser.get("/count").await.assert_empty_500();
    redis.start_again().await;
    assert_eq!(browser.get("/count").await.text(), "n=2");
    let all = join_all((0..20).map(|_| browser.get("/read"))).await;
    assert!(all.into_iter().all(|answer| answer.text() == "n=2"));
}

#[actix_web::test]
async fn the_app_may_start_before_redis() {
    let redis = TestRedis::not_started();
    let patient = Duration::from_secs(1);
    let store = redis.store_with(|options| options.deadline(patient));
    let app = TestApp::on(store.clone());
    let browser = app.browser();
    assert_eq!(browser.get("/hello").await.text(), "hello");
    browser.get("/count").await.assert_empty_500();
    redis.start_again().await;
    assert_eq!(browser.get("/count").await.text(), "n=1");
    store.ping().await.unwrap();
}

/// The thread that waits is the one that would have to notice the answer.
#[actix_web::test]
async fn handlers_that_block_their_worker_are_no_outage() {
    let redis = TestRedis::start().await;
    let app = TestApp::on(impatient_store(&redis));
    let browsers: Vec<_> = (0..8).map(|_| app.browser()).collect();
    let blocking = join_all((0..20).map(async |_| {
        let browser = app.browser();
        for _ in 0..4 {
            browser.get("/compute").await.text();
        }
    }));
    let counting = join_all(browsers.iter().map(async |browser| {
        for n in 1..=5 {
            assert_eq!(browser.get("/count").await.text(), format!("n={n}"));
        }
    }));
    join(blocking, counting).await;
}

#[actix_web::test]
async fn a_replica_that_comes_up_in_the_place_of_the_master_serves_reads() {
    let redis = TestRedis::start_with(&["--appendonly", "yes"]).await;
    let store = impatient_store(&redis);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    redis.stop();
    waited(store.ping().await.unwrap_err());
    redis.start_again().await;
    redis.run::<()>("REPLICAOF 127.0.0.1 1");

    let writes = join_all((0..16).map(|_| store.save(state("n", "2"), &HOUR)));
    let (writes, ()) = join(writes, async {
        // A probe that writes finds out that Redis is there, though it may not write. By its
        // second try it has read the answer to the first.
        let asked_again = || redis.command_count("set") > 1;
        eventually("a write was refused", asked_again).await;
        for _ in 0..10 {
            assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "1")));
        }
    })
    .await;
    assert!(writes.into_iter().all(|write| write.is_err()));
}

#[actix_web::test]
async fn a_redis_that_hangs_is_an_outage_too() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(|options| options.deadline(Duration::from_secs(1)));
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    redis.pause();
    let start = Instant::now();
    let waits = parallel_waits(&store).await;
    assert!(
        start.elapsed() < Duration::from_secs(1) + SLACK,
        "{waits:?}"
    );
    redis.resume();
    assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "1")));
}
