use testbed::{Browser, Cluster, Sentinels};

use crate::running::Up;

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
        command.env("REDIS_URL", redis.url());
    });
    assert_counts(&up);
}

#[test]
fn up_works_on_the_master_that_sentinels_name() {
    let redis = Sentinels::start();
    for server in redis.servers() {
        server.run::<()>("ACL SETUSER demo on >sesame ~session:* +@all");
    }
    let up = Up::start_with(|command| {
        command.env("REDIS_URL", redis.url_as("demo:sesame@"));
    });
    assert_counts(&up);
    let users: String = redis.master().run("CLIENT LIST TYPE normal");
    assert!(users.contains("user=demo"), "{users}");
}
