use std::{cell::Cell, time::Duration};

use actix_session::storage::SessionStore;
use actix_session_redis::RedisSessionStore;
use futures_util::future::{join, join_all};
use tokio::time::timeout;

use crate::support::{
    app::{Setup, TestApp},
    eventually,
    proxy::{Fate, Proxy},
    redis::TestRedis,
    sessions::{HOUR, state},
    tally::Tally,
};

/// Time enough for whatever the test does to Redis, on the busiest machine.
fn patient_store(redis: &TestRedis) -> RedisSessionStore {
    redis.store_with(|options| options.deadline(Duration::from_secs(20)))
}

/// Keeps eight visitors counting while `trouble` goes on and a little longer. No request may
/// fail, and none may count twice or in vain.
async fn visit_during(tally: &Tally, app: &TestApp, trouble: impl Future<Output = ()>) {
    let over = Cell::new(false);
    let visit = async |_| {
        let browser = app.browser();
        let mut n = 0;
        let mut last_round = false;
        while !last_round {
            last_round = over.get();
            n += 1;
            let counted = tally.send(browser.get("/count")).await;
            assert_eq!(counted.text(), format!("n={n}"));
        }
        tally.check(browser.get("/read").await.text(), format!("n={n}"));
    };
    let trouble = async {
        trouble.await;
        over.set(true);
    };
    join(join_all((0..8).map(visit)), trouble).await;
}

/// The app reads some more sessions.
async fn more_requests(redis: &TestRedis) {
    let before = redis.command_count("hgetall");
    let more = || redis.command_count("hgetall") >= before + 8;
    eventually("there are more requests", more).await;
}

#[actix_web::test]
async fn no_request_fails_when_connections_break_between_requests() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let app = TestApp::on(patient_store(&redis));
    let browser = app.browser();
    for n in 1..=20 {
        let counted = tally.send(browser.get("/count")).await;
        assert_eq!(counted.text(), format!("n={n}"));
        redis.kill_clients();
    }
    tally.check(browser.get("/read").await.text(), "n=20");
}

#[actix_web::test]
async fn no_request_fails_when_connections_break_during_requests() {
    let tally = Tally::of_this_test();
    // Inside `ConsistentSessions`, what changes a session is a transaction, or a script that counts.
    for (counter, setup) in [
        ("none", Setup::default()),
        ("none", Setup::consistent()),
        ("n", Setup::consistent()),
    ] {
        let redis = TestRedis::start().await;
        let setup = Setup {
            workers: 2,
            ..setup
        };
        let patient = Duration::from_secs(20);
        let store = redis.store_with(|options| options.deadline(patient).counter(counter));
        let app = TestApp::with(store, &setup);
        visit_during(&tally, &app, async {
            for _ in 0..20 {
                more_requests(&redis).await;
                redis.kill_clients();
            }
            more_requests(&redis).await;
        })
        .await;
        eventually("one connection per worker", || redis.client_count() == 2).await;
    }
}

#[actix_web::test]
async fn no_request_fails_and_no_session_is_lost_when_redis_restarts() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start_with(&["--appendonly", "yes"]).await;
    let setup = Setup {
        workers: 2,
        ..Setup::default()
    };
    let app = TestApp::with(patient_store(&redis), &setup);
    let bystander = app.browser();
    bystander.get("/set/name/Ada").await.text();
    visit_during(&tally, &app, async {
        for _ in 0..3 {
            more_requests(&redis).await;
            redis.stop();
            redis.start_again().await;
        }
        more_requests(&redis).await;
    })
    .await;
    tally.check(bystander.get("/read").await.text(), "name=\"Ada\"");
    eventually("one connection per worker", || redis.client_count() == 2).await;
}

#[actix_web::test]
async fn commands_under_way_when_redis_crashes_are_repeated() {
    let tally = Tally::of_this_test();
    let always = ["--appendonly", "yes", "--appendfsync", "always"];
    let redis = TestRedis::start_with(&always).await;
    let store = patient_store(&redis);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    redis.pause();
    let loads = join_all((0..50).map(|_| tally.send(store.load(&key))));
    let crash = async {
        redis.kill();
        redis.start_again().await;
    };
    for loaded in join(loads, crash).await.0 {
        assert_eq!(loaded.unwrap(), Some(state("n", "1")));
    }
    eventually("one connection", || redis.client_count() == 1).await;
    tally.check(store.load(&key).await.unwrap(), Some(state("n", "1")));
}

#[actix_web::test]
async fn many_requests_that_see_one_loss_make_one_new_connection() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let store = patient_store(&redis);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    let before = redis.connections_made();
    redis.kill_clients();
    for loaded in join_all((0..50).map(|_| tally.send(store.load(&key)))).await {
        assert_eq!(loaded.unwrap(), Some(state("n", "1")));
    }
    tally.check(store.load(&key).await.unwrap(), Some(state("n", "1")));
    assert_eq!(redis.connections_made(), before + 1);
    assert_eq!(redis.client_count(), 1);
}

#[actix_web::test]
async fn a_connection_that_falls_silent_is_given_up_for_another_before_the_deadline() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let key = redis.store().save(state("n", "1"), &HOUR).await.unwrap();
    let mut fates = [Fate::Silence].into_iter();
    let proxy = Proxy::before(&redis, move |command| match command.name() {
        "HGETALL" => fates.next().unwrap_or(Fate::Forward),
        _ => Fate::Forward,
    })
    .await;
    let store = proxy.store();
    let loaded = tally.send(store.load(&key)).await.unwrap();
    assert_eq!(loaded, Some(state("n", "1")));
    assert_eq!(proxy.seen("HGETALL").len(), 2);
    tally.check(store.load(&key).await.unwrap(), loaded);
}

#[actix_web::test]
async fn many_writes_that_wait_for_a_failover_make_few_connections() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let store = redis.store_with(|options| options.deadline(Duration::from_secs(1)));
    store.ping().await.unwrap();
    redis.run::<()>("REPLICAOF 127.0.0.1 1");
    let before = redis.connections_made();
    let n = || state("n", "1");
    let writes = join_all((0..64).map(|_| tally.send(store.save(n(), &HOUR)))).await;
    assert!(writes.into_iter().all(|write| write.is_err()));
    let made = redis.connections_made() - before;
    assert!((1..=20).contains(&made), "{made} for 64 writes in a second");
}

/// The pool's own check, a `PING`, would find its connection in order.
#[actix_web::test]
async fn a_write_that_meets_a_demoted_master_is_repeated_on_new_connections() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let store = patient_store(&redis);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    redis.run::<()>("REPLICAOF 127.0.0.1 1");
    let before = redis.connections_made();
    let failover = async {
        let tries = || redis.connections_made() >= before + 3;
        eventually("it tries again on new connections", tries).await;
        redis.run::<()>("REPLICAOF NO ONE");
    };
    let update = tally.send(store.update(key, state("n", "2"), &HOUR));
    let updated = join(update, failover).await.0.unwrap();
    let stored = store.load(&updated).await.unwrap();
    tally.check(stored, Some(state("n", "2")));
    eventually("one connection", || redis.client_count() == 1).await;
}

/// As with an application that gives its handlers less time than a handshake takes.
#[actix_web::test]
async fn requests_that_wait_no_longer_leave_what_they_connect_to_those_that_follow() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let proxy = Proxy::before(&redis, |command| match command.name() {
        "CLIENT" => Fate::Latency(Duration::from_millis(200)),
        _ => Fate::Forward,
    })
    .await;
    let store = proxy.store();
    let before = redis.connections_made();
    let mut gave_up = 0;
    while timeout(Duration::from_millis(20), tally.send(store.ping()))
        .await
        .is_err()
    {
        gave_up += 1;
        assert!(gave_up < 500, "nobody gets a connection");
    }
    assert!(gave_up > 0);
    assert_eq!(redis.connections_made(), before + 1);
}
