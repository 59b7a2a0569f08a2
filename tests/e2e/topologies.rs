use redis_fixtures::{Cluster, Sentinels};
use support::browser::Browser;

use crate::running::{Up, demo, refusal};

/// The page counts, whichever instance answers.
fn assert_counts(up: &Up) {
    let browser = Browser::new(&up.url);
    for n in 0..6 {
        assert_eq!(browser.refresh(), n);
    }
}

#[test]
fn up_works_on_a_cluster() {
    let redis = Cluster::start();
    let up = Up::start_with(|command| {
        command.env("REDIS_URL", redis.urls().join(","));
        command.arg("--cluster");
    });
    assert_counts(&up);
}

#[test]
fn up_works_on_the_master_that_sentinels_name() {
    let redis = Sentinels::start();
    for server in redis.servers() {
        server.run::<()>("ACL SETUSER demo on >sesame ~session:* +@all");
    }
    let with_credentials = |url: String| url.replace("redis://", "redis://demo:sesame@");
    let urls: Vec<_> = redis.urls().into_iter().map(with_credentials).collect();
    let up = Up::start_with(|command| {
        command.env("REDIS_URL", urls.join(","));
        command.env("REDIS_SENTINEL_MASTER", redis.master_name());
    });
    assert_counts(&up);
    let users: String = redis.master().run("CLIENT LIST TYPE normal");
    assert!(users.contains("user=demo"), "{users}");
}

#[test]
fn several_addresses_need_a_word_on_what_they_are() {
    let two = [("REDIS_URL", "redis://127.0.0.1:1,redis://127.0.0.1:2")];
    let said = refusal(demo(&["up"], &two));
    assert!(said.contains("--cluster or --sentinel-master"), "{said}");
    let said = refusal(demo(&["up", "--cluster"], &[]));
    assert!(said.contains("--redis-url"), "{said}");
    let both = ["up", "--cluster", "--sentinel-master", "sessions"];
    let said = refusal(demo(&both, &two));
    assert!(said.contains("cannot be used with"), "{said}");
}
