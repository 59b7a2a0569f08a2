use testbed::{Server, eventually_holds};

use crate::lone_instance::{LoneInstance, all_open, outage, wait_until_served};

#[test]
fn an_outage_is_one_warning_and_its_end_another_however_many_threads_see_it() {
    let redis = Server::start();
    let instance = LoneInstance::on(&redis.url(), "");
    let crowd = instance.crowd();
    all_open(&crowd, "/", 200);
    for n in 1..=2 {
        outage(&redis, &crowd, || {
            assert_eq!(instance.times_logged("Redis is unavailable"), n);
        });
        eventually_holds("its end is told", || {
            all_open(&crowd, "/", 200);
            instance.times_logged("Redis is available again") == n
        });
    }
    assert_eq!(instance.times_logged("Redis is unavailable"), 2);
    let lost = instance.times_logged("lost a Redis connection");
    assert!((2..=8).contains(&lost), "one for each worker: {lost}");
}

#[test]
fn neither_the_log_at_its_loudest_nor_the_metrics_give_a_secret_away() {
    let redis = Server::start();
    redis.run::<()>("ACL SETUSER demo on >sesame ~session:* +@all");
    let url = redis.url().replace("redis://", "redis://demo:sesame@");
    let instance = LoneInstance::on(&url, "actix_session_redis=trace");
    let crowd = instance.crowd();
    all_open(&crowd, "/dbset/hidden", 200);
    let session_keys: Vec<String> = redis.run("KEYS session:*");
    assert!(session_keys.len() >= crowd.len());

    redis.run::<()>("ACL SETUSER demo -set -evalsha -eval");
    all_open(&crowd, "/", 500);
    redis.run::<()>("ACL SETUSER demo +@all");
    redis.kill();
    all_open(&crowd, "/", 503);
    redis.start_again();
    redis.run::<()>("ACL SETUSER demo on >sesame ~session:* +@all");
    wait_until_served(&crowd);
    all_open(&crowd, "/kill", 200);

    let said = [instance.log(), instance.metrics()].concat();
    for part in [
        "operation=\"update\" outcome=\"refused\"",
        "operation=\"load\" outcome=\"unavailable\"",
        "operation=\"delete\" outcome=\"ok\"",
        "outcome=\"refused\"} ",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let mut secrets = vec!["hidden", "sesame"];
    secrets.extend(session_keys.iter().map(|key| &key["session:".len()..]));
    for secret in secrets {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
}
