use std::thread;

use testbed::{Browser, Server};

use crate::lone_instance::{LoneInstance, all_open, outage};

#[test]
fn every_metric_is_there_from_the_start() {
    let redis = Server::start();
    let instance = LoneInstance::on(&redis.url(), "");
    for (name, kind) in [
        ("retries_total", "counter"),
        ("connections_replaced_total", "counter"),
        ("merges_total", "counter"),
        ("conflicts_total", "counter"),
        ("dropped_writes_total", "counter"),
        ("outage", "gauge"),
    ] {
        assert_eq!(instance.metric(name), 0.0, "{name}");
        let metrics = instance.metrics();
        for line in [
            format!("# HELP actix_session_redis_{name} "),
            format!("# TYPE actix_session_redis_{name} {kind}\n"),
        ] {
            assert!(metrics.contains(&line), "{line} in {metrics}");
        }
    }
}

#[test]
fn operations_are_counted_and_timed_by_their_outcome() {
    let redis = Server::start();
    let instance = LoneInstance::on(&redis.url(), "");
    let browser = instance.browser();
    for count in 0..4 {
        assert_eq!(browser.refresh(), count);
    }
    browser.open("/kill");
    for (operation, times) in [
        ("save", 2.0),
        ("load", 4.0),
        ("update", 3.0),
        ("delete", 1.0),
    ] {
        let metric = |part| {
            let labels = format!("{{operation=\"{operation}\",outcome=\"ok\"}}");
            instance.metric(&format!("operation_duration_seconds_{part}{labels}"))
        };
        assert_eq!(metric("count"), times, "{operation}");
        assert!((0.0..times * 2.0).contains(&metric("sum")), "{operation}");
    }
    // Two fresh sessions and three changes, each of `refreshed` and a digit.
    assert_eq!(instance.metric("state_bytes_count"), 5.0);
    assert_eq!(instance.metric("state_bytes_sum"), 5.0 * 10.0);
    assert_eq!(instance.metric("state_bytes_bucket{le=\"64\"}"), 5.0);
}

#[test]
fn tabs_that_overlap_are_no_conflicts_for_a_counter() {
    let redis = Server::start();
    let instance = LoneInstance::on(&redis.url(), "");
    let browser = instance.browser();
    assert_eq!(browser.refresh(), 0);
    let cookie = browser.cookie().unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let tab = Browser::with_cookie(instance.url(), &cookie);
                for _ in 0..20 {
                    tab.refresh();
                }
            });
        }
    });
    assert_eq!(instance.metric("conflicts_total"), 0.0);
    assert_eq!(browser.refresh(), 161);
}

#[test]
fn an_outage_shows_and_so_does_its_end() {
    let redis = Server::start();
    let instance = LoneInstance::on(&redis.url(), "error");
    let crowd = instance.crowd();
    all_open(&crowd, "/", 200);
    outage(&redis, &crowd, || {
        assert_eq!(instance.metric("outage"), 1.0)
    });
    assert_eq!(instance.metric("outage"), 0.0);
    let replaced = instance.metric("connections_replaced_total");
    assert!((1.0..=4.0).contains(&replaced), "{replaced}");
    assert!(instance.metric("retries_total") >= replaced);
}
