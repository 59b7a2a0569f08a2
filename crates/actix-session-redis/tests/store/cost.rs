use std::collections::HashMap;

use actix_session::config::TtlExtensionPolicy;
use futures_util::future::join_all;

use crate::support::{
    app::{Setup, TestApp},
    proxy::Proxy,
    redis::{Commands, TestRedis, commands},
};

/// What a request to `path` costs when the visitor has a session, the worker its connection, and
/// Redis knows the scripts.
async fn cost_of(path: &str, setup: &Setup) -> Commands {
    let redis = TestRedis::start().await;
    let app = TestApp::with(redis.store(), setup);
    let a_visitor = async || {
        let browser = app.browser();
        browser.get("/count").await.text();
        browser.get("/set/name/Ada").await.text();
        browser
    };
    a_visitor().await.get(path).await.text();
    let browser = a_visitor().await;
    let (answer, asked) = redis.commands_during(browser.get(path)).await;
    answer.text();
    asked
}

fn with_policy(policy: TtlExtensionPolicy) -> Setup {
    Setup {
        policy,
        ..Setup::default()
    }
}

/// Those inside scripts are counted as well.
fn sum<const N: usize>(parts: [&[(&str, u64)]; N]) -> Commands {
    let mut sum = Commands::new();
    for &(name, n) in parts.into_iter().flatten() {
        *sum.entry(name.to_owned()).or_default() += n;
    }
    sum
}

const READ: &[(&str, u64)] = &[("hgetall", 1)];
const SCRIPT: &[(&str, u64)] = &[("evalsha", 1)];
const CREATE: &[(&str, u64)] = &[("exists", 2), ("hset", 2), ("pexpire", 1)];
const REPLACE: &[(&str, u64)] = &[("hmget", 1), ("hset", 1), ("hlen", 1), ("pexpire", 1)];
const END: &[(&str, u64)] = &[("get", 1), ("hexists", 1), ("unlink", 1), ("set", 1)];
const END_FOR_A_SUCCESSOR: &[(&str, u64)] = &[
    ("get", 1),
    ("hexists", 2),
    ("rename", 1),
    ("pexpire", 1),
    ("hset", 1),
    ("set", 1),
    ("hgetall", 1),
];

#[actix_web::test]
async fn a_request_that_reads_costs_one_command() {
    for setup in [Setup::default(), Setup::consistent()] {
        assert_eq!(cost_of("/read", &setup).await, sum([READ]));
    }
}

#[actix_web::test]
async fn a_request_that_reads_and_writes_costs_a_read_and_a_script() {
    use TtlExtensionPolicy::{OnEveryRequest, OnStateChanges};
    for policy in [OnStateChanges, OnEveryRequest] {
        let cost = cost_of("/count", &with_policy(policy)).await;
        assert_eq!(cost, sum([READ, SCRIPT, REPLACE]));
    }
}

#[actix_web::test]
async fn inside_consistent_sessions_it_costs_a_read_and_a_transaction() {
    let transaction: &[_] = &[("multi", 1), ("pexpire", 1), ("hexists", 1), ("exec", 1)];
    for (path, write) in [("/count", "hset"), ("/remove/n", "hdel")] {
        let cost = cost_of(path, &Setup::consistent()).await;
        let set_or_removed: &[_] = &[(write, 1)];
        assert_eq!(cost, sum([READ, transaction, set_or_removed]), "{path}");
    }
}

/// The session itself travels once, when it is read.
#[actix_web::test]
async fn inside_consistent_sessions_a_write_sends_what_has_changed_however_large_the_session() {
    let redis = TestRedis::start().await;
    let proxy = Proxy::watching(&redis).await;
    let app = TestApp::consistent_on(proxy.store_with(|options| options.counter("counter")));
    for size in [100, 10_000, 100_000] {
        let browser = app.browser();
        browser.get(&format!("/grow/{size}")).await.text();
        for write in ["/count", "/set/name/Ada", "/add/counter/1", "/remove/name"] {
            browser.get(write).await.text();
            let before = proxy.bytes_seen();
            browser.get(write).await.text();
            let sent = proxy.bytes_seen() - before;
            assert!(sent < 1_000, "{sent} bytes for {write} at {size}");
        }
    }
}

#[actix_web::test]
async fn a_request_that_prolongs_the_session_costs_a_read_and_a_command() {
    let prolonging = with_policy(TtlExtensionPolicy::OnEveryRequest);
    let cost = cost_of("/read", &prolonging).await;
    assert_eq!(cost, sum([READ, &[("pexpire", 1)]]));
}

#[actix_web::test]
async fn a_request_that_ends_the_session_costs_a_read_and_a_script() {
    for setup in [Setup::default(), Setup::consistent()] {
        let cost = cost_of("/purge", &setup).await;
        assert_eq!(cost, sum([READ, SCRIPT, END]));
    }
}

#[actix_web::test]
async fn a_request_that_renews_the_session_costs_a_read_and_two_scripts() {
    let cost = cost_of("/renew", &Setup::consistent()).await;
    let (create, end) = (CREATE, END_FOR_A_SUCCESSOR);
    assert_eq!(cost, sum([READ, SCRIPT, create, SCRIPT, end]));
}

#[actix_web::test]
async fn a_request_without_a_cookie_costs_nothing_until_it_writes() {
    let redis = TestRedis::start().await;
    let app = TestApp::on(redis.store());
    for path in ["/hello", "/read"] {
        let browser = app.browser();
        let (answer, asked) = redis.commands_during(browser.get(path)).await;
        assert!(!answer.touches_session_cookie());
        assert_eq!(asked, commands([]), "{path}");
    }
    assert_eq!(redis.connections_made(), 1, "only the one that asks this");

    app.browser().get("/count").await.text();
    let browser = app.browser();
    let (_, asked) = redis.commands_during(browser.get("/count")).await;
    assert_eq!(asked, sum([SCRIPT, CREATE]));
}

/// Requests to each worker of the app, many at a time.
async fn keep_busy(app: &TestApp, workers: usize) {
    let browsers: Vec<_> = (0..10).map(|_| app.browser()).collect();
    let mut requests_of = HashMap::<String, u32>::new();
    for _ in 0..20 {
        join_all(browsers.iter().map(|browser| browser.get("/count"))).await;
        for answer in join_all(browsers.iter().map(|browser| browser.get("/worker"))).await {
            *requests_of.entry(answer.text()).or_default() += 1;
        }
    }
    assert_eq!(requests_of.len(), workers, "{requests_of:?}");
}

#[actix_web::test]
async fn many_requests_cost_nothing_on_top_and_one_connection_per_worker() {
    for workers in [1, 2, 4] {
        let redis = TestRedis::start().await;
        let setup = Setup {
            workers,
            ..Setup::default()
        };
        let app = TestApp::with(redis.store(), &setup);
        keep_busy(&app, workers).await;
        assert_eq!(redis.client_count(), workers);

        let ((), asked) = redis.commands_during(keep_busy(&app, workers)).await;
        // Ten new visitors have no session to read at first.
        let times = |n, part: &[(&'static str, u64)]| -> Vec<_> {
            part.iter().map(|&(name, each)| (name, n * each)).collect()
        };
        let (reads, scripts) = (times(390, READ), times(200, SCRIPT));
        let (creates, replaces) = (times(10, CREATE), times(190, REPLACE));
        assert_eq!(asked, sum([&reads, &scripts, &creates, &replaces]));
        assert_eq!(redis.client_count(), workers);
        let all_ever = 1 + u64::try_from(workers).unwrap();
        assert_eq!(redis.connections_made(), all_ever);
    }
}
