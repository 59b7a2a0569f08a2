use actix_session::storage::SessionStore;
use actix_session_redis::{
    RedisSessionStore,
    deadpool_redis::{
        RedisConnectionInfo, Runtime,
        sentinel::{Config, Pool, SentinelNodeConnectionInfo, SentinelServerType},
    },
};
use testbed::{Sentinels, Server};

use crate::{
    refusals::COMMANDS,
    support::{
        eventually,
        sessions::{HOUR, assert_works, copy, hash_of, state},
        tally::Tally,
    },
};

pub(crate) fn pool(redis: &Sentinels) -> Pool {
    let master = redis.master_name().to_owned();
    let config = Config::from_urls(redis.urls(), master, SentinelServerType::Master);
    config.create_pool(Some(Runtime::Tokio1)).unwrap()
}

/// How many commands with these names a server was asked for.
fn commands(server: &Server, names: &[&str]) -> usize {
    let stats: String = server.run("INFO commandstats");
    let is_named = |line: &&str| {
        let name = line.strip_prefix("cmdstat_");
        name.is_some_and(|line| {
            names
                .iter()
                .any(|name| line.starts_with(&format!("{name}:")))
        })
    };
    stats.lines().filter(is_named).count()
}

#[actix_web::test]
async fn a_store_works_through_sentinel() {
    let redis = Sentinels::start();
    assert_works(&RedisSessionStore::new(pool(&redis))).await;
    assert!(commands(redis.master(), &["hset"]) > 0);
}

#[actix_web::test]
async fn the_commands_that_the_remedy_names_are_enough() {
    let redis = Sentinels::start();
    for server in redis.servers() {
        server.run::<()>(&format!(
            "ACL SETUSER shop on >ladder ~session:* {COMMANDS} +role"
        ));
    }
    let master = redis.master_name().to_owned();
    let mut config = Config::from_urls(redis.urls(), master, SentinelServerType::Master);
    let credentials = RedisConnectionInfo {
        username: Some("shop".to_owned()),
        password: Some("ladder".to_owned()),
        ..RedisConnectionInfo::default()
    };
    config.node_connection_info = Some(SentinelNodeConnectionInfo {
        redis_connection_info: Some(credentials),
        ..SentinelNodeConnectionInfo::default()
    });
    let pool = config.create_pool(Some(Runtime::Tokio1)).unwrap();
    let store = RedisSessionStore::new(pool);
    assert_works(&store).await;
    store.check().await.unwrap();
}

#[actix_web::test]
async fn a_store_works_while_one_sentinel_answers() {
    let redis = Sentinels::start();
    redis.sentinels()[0].pause();
    redis.sentinels()[1].kill();
    assert_works(&RedisSessionStore::new(pool(&redis))).await;
}

#[actix_web::test]
async fn writes_go_to_the_new_master_and_never_to_the_old_one_when_it_returns() {
    let tally = Tally::of_this_test();
    let redis = Sentinels::start();
    let store = RedisSessionStore::new(pool(&redis));
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    let old = redis.master();
    let replicas = redis.replicas();
    let exists = format!("EXISTS {}", hash_of(&key));
    let has_it = || replicas.iter().all(|it| it.run::<u64>(&exists) == 1);
    eventually("the replicas have the session", has_it).await;

    old.kill();
    let new = redis.wait_for_failover_from(old);
    let update = store.update(copy(&key), state("n", "2"), &HOUR);
    assert_eq!(tally.send(update).await.unwrap(), key);
    assert!(commands(new, &["hset"]) > 0);

    redis.wait_until_agreed();
    // For a moment it takes itself for a master.
    old.start_again();
    for n in 3..=20 {
        let n = state("n", &n.to_string());
        let update = store.update(copy(&key), n, &HOUR);
        tally.send(update).await.unwrap();
    }
    redis.wait_until_replica(old);
    let another = RedisSessionStore::new(pool(&redis));
    tally.check(another.load(&key).await.unwrap(), Some(state("n", "20")));
    assert_works(&another).await;
}
