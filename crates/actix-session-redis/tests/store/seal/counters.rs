use std::time::Duration;

use actix_session_redis::RedisSessionStoreBuilder;
use futures_util::future::join_all;

use super::{A, builder, ring};
use crate::support::{
    app::{Setup, TestApp},
    redis::TestRedis,
    report,
    tally::Tally,
};

/// So many write one session at once, each so often; nothing of it is lost.
async fn count_together(
    tally: &Tally,
    options: impl FnOnce(RedisSessionStoreBuilder) -> RedisSessionStoreBuilder,
    (writers, times): (usize, usize),
) {
    let redis = TestRedis::start().await;
    // Until the last of them is served, whatever else the machine does.
    let patient = builder(&redis).deadline(Duration::from_secs(60));
    let store = options(patient.seal(ring(&[A]))).build();
    let setup = Setup {
        workers: 2,
        ..Setup::consistent()
    };
    let app = TestApp::with(store, &setup);
    let browser = app.browser();
    browser.get("/add/n/0").await.text();
    let before = redis.command_count("evalsha");
    let counts = (0..writers).map(async |_| {
        for _ in 0..times {
            tally.send(browser.get("/count")).await.text();
        }
    });
    join_all(counts).await;
    let scripts = redis.command_count("evalsha") - before;
    let writes = writers * times;
    report(format!(
        "{writers} writers of one sealed counter: {:.2} scripts for each write",
        scripts as f64 / writes as f64
    ));
    // If they did not take turns, each write would make all others try again.
    assert!(scripts < 5 * writes as u64);
    let read = browser.get("/read").await.text();
    tally.check(read, format!("n={writes}"));
}

#[actix_web::test]
async fn a_sealed_counter_is_exact_with_six_and_with_sixty_four_writers() {
    let tally = Tally::of_this_test();
    for extent in [(6, 20), (64, 5)] {
        count_together(&tally, |options| options.counter("n"), extent).await;
    }
}

#[actix_web::test]
async fn so_is_a_sealed_field_with_a_merge_function() {
    let tally = Tally::of_this_test();
    let add_up = |options: RedisSessionStoreBuilder| {
        options.merge_field("n", |base, theirs, ours| {
            let number =
                |it: Option<&serde_json::Value>| it.and_then(|it| it.as_i64()).unwrap_or(0);
            (number(theirs) + number(Some(ours)) - number(base)).into()
        })
    };
    for extent in [(6, 10), (64, 2)] {
        count_together(&tally, add_up, extent).await;
    }
}
