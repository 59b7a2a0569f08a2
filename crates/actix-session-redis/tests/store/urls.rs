#[cfg(any(feature = "cluster", feature = "sentinel"))]
use actix_session_redis::RedisSessionStore;
use actix_session_redis::{Error, RedisPool};
#[cfg(any(feature = "cluster", feature = "sentinel"))]
use testbed::Server;

#[cfg(any(feature = "cluster", feature = "sentinel"))]
use crate::support::sessions::assert_works;

/// What a topology's URL says between `://` and the end.
#[cfg(any(feature = "cluster", feature = "sentinel"))]
fn hosts<'a>(servers: impl IntoIterator<Item = &'a Server>) -> String {
    let addresses = servers.into_iter().map(|it| it.address().to_string());
    addresses.collect::<Vec<_>>().join(",")
}

#[cfg(feature = "cluster")]
#[actix_web::test]
async fn one_url_names_a_cluster() {
    let redis = testbed::Cluster::start();
    for node in redis.nodes() {
        node.run::<()>("ACL SETUSER shop on >la,dd@er ~session:* +@all");
    }
    let nodes = hosts(redis.nodes());
    for rest in ["", "/", "/0"] {
        let url = format!("redis-cluster://shop:la,dd%40er@{nodes}{rest}");
        let store = RedisSessionStore::from_url(url).unwrap();
        assert_works(&store).await;
        store.check().await.unwrap();
    }
    let one = redis.nodes()[0].address();
    let url = format!("redis-cluster://shop:la,dd%40er@{one}");
    assert_works(&RedisSessionStore::from_url(url).unwrap()).await;
    // The URL's user is who asks.
    let stranger = RedisSessionStore::from_url(format!("redis-cluster://shop:x@{nodes}"));
    stranger.unwrap().ping().await.unwrap_err();
}

#[cfg(feature = "sentinel")]
#[actix_web::test]
async fn one_url_names_sentinels_and_the_master_that_they_know() {
    let redis = testbed::Sentinels::start();
    for server in redis.servers() {
        server.run::<()>("ACL SETUSER shop on >ladder ~session:* +@all");
    }
    for sentinel in redis.sentinels() {
        sentinel.run::<()>("ACL SETUSER watch on >a&b +@all");
        sentinel.run::<()>("ACL SETUSER default off");
    }
    let (sentinels, master) = (hosts(redis.sentinels()), redis.master_name());
    let url = format!(
        "redis-sentinel://shop:ladder@{sentinels}/3?master={master}&sentinel_user=watch&sentinel_password=a%26b"
    );
    let store = RedisSessionStore::from_url(&url).unwrap();
    assert_works(&store).await;
    let databases: String = redis.master().run("INFO keyspace");
    assert!(databases.contains("db3:keys=1"), "{databases}");
    let stranger = RedisSessionStore::from_url(url.replace("watch", "default"));
    stranger.unwrap().ping().await.unwrap_err();
}

#[test]
fn a_url_that_does_not_say_it_all_is_an_error_that_quotes_no_password() {
    for (url, expected) in [
        ("redis-cluster://", "a host is empty"),
        ("redis-cluster://:ladder@a,,b", "a host is empty"),
        ("redis-cluster://:ladder@a,b:port", ""),
        ("redis-cluster://:ladder@a/1", "database 0"),
        ("redis-cluster://:ladder@a?master=x", "no parameters"),
        ("redis-cluster://:la@dder@a,b", "percent-encoded"),
        ("redis-sentinel://:ladder@a,b", "?master=NAME"),
        ("redis-sentinel://:ladder@a,b/2?master=", "?master=NAME"),
        ("redis-sentinel://:ladder@a/x?master=m", ""),
        (
            "redis-sentinel://a?master=m&password=ladder",
            "none of `master`",
        ),
        (
            "redis-sentinel://a?master=m&sentinel_password=la&ladder",
            "`&` and `%` must be percent-encoded",
        ),
        (
            "redis+unix:///run/redis.sock?pass=la&ladder",
            "`&` and `%` must be percent-encoded",
        ),
        ("redis-sentinel://:la#dder@a?master=m", "percent-encoded"),
        ("redis-ring://:ladder@a", ""),
        ("http-cluster://:ladder@a", ""),
    ] {
        let needs_feature = (url.contains("cluster") && cfg!(not(feature = "cluster")))
            || (url.contains("sentinel") && cfg!(not(feature = "sentinel")));
        let error = RedisPool::from_url(url).expect_err(url);
        assert_matches!(&error, Error::InvalidUrl { .. });
        let text = error.to_string();
        assert!(text.contains(expected) || needs_feature, "{url}: {text}");
        assert!(!text.contains("ladder"), "{url}: {text}");
    }
}

#[cfg(feature = "sentinel")]
#[test]
fn schemes_and_hosts_are_read_as_everybody_writes_them() {
    for url in [
        "REDIS-SENTINEL://localhost?master=m",
        "redis-sentinel://[::1],[::1]:26380,localhost/?master=my%20master",
    ] {
        let pool = RedisPool::from_url(url).expect(url);
        assert!(format!("{pool:?}").contains("Sentinel"));
    }
}
