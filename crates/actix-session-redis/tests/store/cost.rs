use std::collections::HashMap;

use actix_session::config::TtlExtensionPolicy;
use futures_util::future::join_all;

use crate::support::{
    app::{Setup, TestApp},
    redis::{Commands, TestRedis, commands},
};

/// What a request to `path` costs when the visitor has a session and the worker its connection.
async fn cost_of(path: &str, policy: TtlExtensionPolicy) -> Commands {
    let redis = TestRedis::start().await;
    let setup = Setup {
        policy,
        ..Setup::default()
    };
    let app = TestApp::with(redis.store(), &setup);
    let browser = app.browser();
    browser.get("/count").await.text();
    let (answer, asked) = redis.commands_during(browser.get(path)).await;
    answer.text();
    asked
}

#[actix_web::test]
async fn a_request_that_reads_costs_one_command() {
    let cost = cost_of("/read", TtlExtensionPolicy::OnStateChanges).await;
    assert_eq!(cost, commands([("get", 1)]));
}

#[actix_web::test]
async fn a_request_that_reads_and_writes_costs_two_commands() {
    let cost = cost_of("/count", TtlExtensionPolicy::OnStateChanges).await;
    assert_eq!(cost, commands([("get", 1), ("set", 1)]));
    let cost = cost_of("/count", TtlExtensionPolicy::OnEveryRequest).await;
    assert_eq!(cost, commands([("get", 1), ("set", 1)]));
}

#[actix_web::test]
async fn a_request_that_prolongs_the_session_costs_two_commands() {
    let cost = cost_of("/read", TtlExtensionPolicy::OnEveryRequest).await;
    assert_eq!(cost, commands([("get", 1), ("pexpire", 1)]));
}

#[actix_web::test]
async fn a_request_that_ends_the_session_costs_a_read_and_a_script() {
    let redis = TestRedis::start().await;
    let app = TestApp::on(redis.store());
    let (first, second) = (app.browser(), app.browser());
    first.get("/count").await.text();
    second.get("/count").await.text();
    // The first one teaches Redis the script.
    first.get("/purge").await.text();
    let (answer, asked) = redis.commands_during(second.get("/purge")).await;
    answer.text();
    let in_the_script = ["set", "get", "del", "get"];
    let by_the_app = ["get", "evalsha"];
    let mut cost = Commands::new();
    for command in in_the_script.into_iter().chain(by_the_app) {
        *cost.entry(command.to_owned()).or_default() += 1;
    }
    assert_eq!(asked, cost);
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
    assert_eq!(asked, commands([("set", 1)]));
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
        // Ten new visitors have no session to get at first.
        assert_eq!(asked, commands([("get", 390), ("set", 200)]));
        assert_eq!(redis.client_count(), workers);
        let all_ever = 1 + u64::try_from(workers).unwrap();
        assert_eq!(redis.connections_made(), all_ever);
    }
}
