use std::{
    cell::Cell,
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};

use actix_session::storage::SessionStore;
use actix_session_redis::{Error, RedisSessionStore, SessionId, deadpool_redis::redis::InfoDict};
use actix_web::rt::spawn;
use futures_util::future::{Either, select};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::{
    refusals::COMMANDS,
    support::{
        eventually, eventually_async,
        proxy::{Fate, Proxy},
        redis::{TestRedis, pool_at},
        sessions::{HOUR, state},
    },
};

/// Time enough for whatever the test does to Redis, on the busiest machine. What fails in less than
/// half of it was not tried again until then.
const PATIENT: Duration = Duration::from_secs(20);

fn patient_store(redis: &TestRedis) -> RedisSessionStore {
    redis.store_with(|options| options.deadline(PATIENT))
}

/// The names of the commands that requests need, in order.
fn commands_of_requests() -> Vec<String> {
    let names = COMMANDS.split_whitespace();
    let mut names: Vec<_> = names.map(|name| name[1..].to_owned()).collect();
    names.retain(|name| name != "ping");
    names.sort();
    names
}

/// The check fails at once, since Redis has replied with this code to this command.
async fn assert_fails_at_once(store: &RedisSessionStore, code: &str, command: &str) {
    let begun = Instant::now();
    let error = store.check().await.unwrap_err();
    assert!(
        begun.elapsed() < PATIENT / 2,
        "{:?} {error:?}",
        begun.elapsed()
    );
    let refused = format!("Redis refused {command} ({code}): ");
    assert!(error.to_string().starts_with(&refused), "{error}");
    assert_matches!(error, Error::Refused { code: c, command: name, .. } if c == code && name == command);
}

/// The same where Redis may reply something else in a moment.
async fn assert_is_told_at_once(store: &RedisSessionStore, code: &str) {
    let begun = Instant::now();
    let error = store.check().await.unwrap_err();
    assert!(begun.elapsed() < PATIENT / 2, "{:?}", begun.elapsed());
    assert!(error.to_string().ends_with(code), "{error}");
    assert_matches!(error, Error::Unavailable { .. });
}

#[actix_web::test]
async fn it_does_all_that_requests_do_and_leaves_nothing_behind() {
    let redis = TestRedis::start().await;
    let key = redis.store().save(state("n", "1"), &HOUR).await.unwrap();
    let before = (redis.keys(), redis.dump(&redis.only_session()));
    let store = patient_store(&redis);
    store.ping().await.unwrap();
    let (checked, asked) = redis.commands_during(store.check()).await;
    checked.unwrap();
    let asked: Vec<_> = asked.into_keys().collect();
    assert_eq!(asked, commands_of_requests());
    assert_eq!((redis.keys(), redis.dump(&redis.only_session())), before);
    assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "1")));
}

#[actix_web::test]
async fn it_costs_one_round_trip() {
    let redis = TestRedis::start().await;
    let held_back = Rc::new(Cell::new(false));
    let holds_back = Rc::clone(&held_back);
    let proxy = Proxy::before(&redis, move |_| match holds_back.get() {
        true => Fate::Latency(PATIENT * 3),
        false => Fate::Forward,
    })
    .await;
    let store = proxy.store_with(|options| options.deadline(PATIENT));
    store.check().await.unwrap();
    let (all, made) = (proxy.seen_in_all(), redis.connections_made());
    store.check().await.unwrap();
    let all = proxy.seen_in_all() - all;
    assert_eq!(redis.connections_made(), made);

    held_back.set(true);
    let before = proxy.seen_in_all();
    let check = pin!(store.check());
    let sends = pin!(eventually("it has sent all of it", || {
        proxy.seen_in_all() == before + all
    }));
    if let Either::Left((answered, _)) = select(check, sends).await {
        panic!("{answered:?} before it has sent all of it");
    }
    assert_eq!(proxy.seen("EVALSHA").len(), 3, "that is the last of it");
}

#[actix_web::test]
async fn many_at_once_do_not_disturb_each_other() {
    let redis = TestRedis::start().await;
    let store = patient_store(&redis);
    let checks = (0..50).map(|_| store.check());
    for checked in futures_util::future::join_all(checks).await {
        checked.unwrap();
    }
    assert_eq!(redis.keys(), [""; 0]);
}

#[actix_web::test]
async fn its_redis_key_is_no_sessions_and_lives_for_a_second_at_most() {
    let redis = TestRedis::start().await;
    // So the script ends before it has tidied up.
    redis.run::<()>(&format!(
        "ACL SETUSER shop on >ladder ~session:* {COMMANDS} -unlink"
    ));
    let store = RedisSessionStore::new(pool_at(&redis.url_as("shop:ladder@")));
    store.check().await.unwrap_err();
    let keys = redis.keys();
    for key in &keys {
        let pttl = redis.pttl(key);
        assert!(pttl <= 1_000 && pttl != -1, "{key} lives for {pttl} ms");
    }
    let [key] = &keys[..] else {
        panic!("{keys:?}");
    };
    let name = key.strip_prefix("session:").unwrap();
    name.parse::<SessionId>().unwrap_err();
}

/// As requests name it: of what a script may not do, the script.
#[actix_web::test]
async fn a_right_that_requests_need_is_missing_and_the_command_is_named() {
    let redis = TestRedis::start().await;
    for missing in commands_of_requests() {
        redis.run::<()>(&format!(
            "ACL SETUSER shop reset on >ladder ~session:* {COMMANDS} -{missing}"
        ));
        let pool = pool_at(&redis.url_as("shop:ladder@"));
        let store = RedisSessionStore::builder(pool).deadline(PATIENT).build();
        store.ping().await.unwrap();
        let named = match &*missing {
            "hgetall" | "pttl" | "hset" | "hdel" | "hexists" | "pexpire" | "multi" | "exec"
            | "eval" | "evalsha" => &missing.to_uppercase(),
            _ => "EVAL",
        };
        assert_fails_at_once(&store, "NOPERM", named).await;
    }
}

#[actix_web::test]
async fn rights_to_the_keys_of_others_do_not_help() {
    let redis = TestRedis::start().await;
    redis.run::<()>("ACL SETUSER shop on >ladder ~other:* +@all");
    let pool = || RedisSessionStore::builder(pool_at(&redis.url_as("shop:ladder@")));
    let store = pool().deadline(PATIENT).build();
    store.ping().await.unwrap();
    assert_fails_at_once(&store, "NOPERM", "HSET").await;
    let other = pool().deadline(PATIENT).key_prefix("other:").build();
    other.check().await.unwrap();
}

#[actix_web::test]
async fn whoever_may_only_read_is_told_what_is_missing() {
    let redis = TestRedis::start().await;
    redis.run::<()>("ACL SETUSER shop on >ladder %R~session:* +@all");
    let pool = pool_at(&redis.url_as("shop:ladder@"));
    let store = RedisSessionStore::builder(pool).deadline(PATIENT).build();
    assert_fails_at_once(&store, "NOPERM", "HSET").await;
}

#[actix_web::test]
async fn a_replica_fails_at_once() {
    let redis = TestRedis::start().await;
    let store = patient_store(&redis);
    store.check().await.unwrap();
    redis.run::<()>("REPLICAOF 127.0.0.1 1");
    store.ping().await.unwrap();
    assert_is_told_at_once(&store, "READONLY").await;
    redis.run::<()>("REPLICAOF NO ONE");
    store.check().await.unwrap();
}

#[actix_web::test]
async fn a_full_redis_fails_at_once() {
    let redis = TestRedis::start().await;
    let store = patient_store(&redis);
    redis.run::<()>("CONFIG SET maxmemory 1");
    store.ping().await.unwrap();
    assert_fails_at_once(&store, "OOM", "HSET").await;
    redis.run::<()>("CONFIG SET maxmemory 0");
    store.check().await.unwrap();
}

#[actix_web::test]
async fn a_redis_that_cannot_write_to_its_disk_fails_at_once() {
    let disk = TempDir::new().unwrap();
    let folder = disk.path().to_str().unwrap();
    let redis = TestRedis::start_with(&["--save", "3600 1", "--dir", folder]).await;
    let store = patient_store(&redis);
    store.check().await.unwrap();
    disk.close().unwrap();
    redis.run::<()>("BGSAVE");
    eventually("it could not save", || {
        let info: InfoDict = redis.run("INFO persistence");
        info.get::<String>("rdb_last_bgsave_status").as_deref() == Some("err")
    })
    .await;
    assert_fails_at_once(&store, "MISCONF", "HSET").await;
}

#[actix_web::test]
async fn disabled_commands_are_named() {
    for command in [
        "EVAL", "EVALSHA", "HGETALL", "PTTL", "MULTI", "HSET", "HDEL", "HEXISTS", "PEXPIRE",
    ] {
        let redis = TestRedis::start_with(&["--rename-command", command, ""]).await;
        let store = patient_store(&redis);
        store.ping().await.unwrap();
        assert_fails_at_once(&store, "ERR", command).await;
    }
}

#[actix_web::test]
async fn replicas_that_are_away_fail_at_once_where_writes_need_them() {
    let redis = TestRedis::start().await;
    let store = patient_store(&redis);
    redis.run::<()>("CONFIG SET min-replicas-to-write 1");
    store.ping().await.unwrap();
    assert_is_told_at_once(&store, "NOREPLICAS").await;
}

#[actix_web::test]
async fn whatever_else_passes_by_itself_fails_at_once() {
    for code in ["LOADING", "MASTERDOWN", "BUSY", "CLUSTERDOWN", "TRYAGAIN"] {
        let redis = TestRedis::start().await;
        let proxy = Proxy::before(&redis, move |command| match command.name() {
            "CLIENT" | "SELECT" => Fate::Forward,
            _ => Fate::Reply(format!("-{code} not now\r\n").into()),
        })
        .await;
        let store = proxy.store_with(|options| options.deadline(PATIENT));
        assert_is_told_at_once(&store, code).await;
    }
}

#[actix_web::test]
async fn a_redis_that_is_away_fails_at_the_deadline_and_then_at_once() {
    let redis = TestRedis::not_started();
    let deadline = Duration::from_millis(200);
    let store = redis.store_with(|options| options.deadline(deadline));
    for _ in 0..2 {
        assert_matches!(store.check().await, Err(Error::Unavailable { .. }));
    }
    redis.start_again().await;
    eventually_async("Redis is back", async || store.check().await.is_ok()).await;
}

/// A name, or a load balancer, that leads to one server and then to another.
struct Switch {
    address: String,
    leads_to: Rc<Cell<usize>>,
}

impl Switch {
    async fn between(servers: [&TestRedis; 2]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let servers = servers.map(TestRedis::tcp_address);
        let leads_to = Rc::new(Cell::new(0));
        let current = Rc::clone(&leads_to);
        spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let server = TcpStream::connect(&servers[current.get()]).await;
                let mut server = server.unwrap();
                spawn(async move { copy_bidirectional(&mut client, &mut server).await });
            }
        });
        Self { address, leads_to }
    }
}

/// Its connection stays open, and is the only one that still leads there.
#[actix_web::test]
async fn after_a_failover_it_succeeds_on_the_new_master() {
    let (old, new) = (TestRedis::start().await, TestRedis::start().await);
    let switch = Switch::between([&old, &new]).await;
    let pool = pool_at(&format!("redis://{}", switch.address));
    let store = RedisSessionStore::builder(pool).deadline(PATIENT).build();
    store.check().await.unwrap();
    old.run::<()>("REPLICAOF 127.0.0.1 1");
    assert_is_told_at_once(&store, "READONLY").await;

    switch.leads_to.set(1);
    eventually_async("it finds the new master", async || {
        store.check().await.is_ok()
    })
    .await;
    // What is between them closes it when this thread lets it.
    eventually("no connection leads to the old one", || {
        old.client_count() == 0
    })
    .await;
    assert!(new.command_count("evalsha") > 0);
}

#[cfg(feature = "sentinel")]
#[actix_web::test]
async fn after_a_planned_failover_it_succeeds_on_the_master_that_sentinels_name() {
    use crate::sentinel::pool;
    use testbed::Sentinels;

    let redis = Sentinels::start();
    let store = RedisSessionStore::builder(pool(&redis)).deadline(PATIENT);
    let store = store.build();
    store.check().await.unwrap();
    let old = redis.master();
    redis.begin_planned_failover();
    let new = redis.wait_for_failover_from(old);
    // The old one takes itself for the master until it is told.
    eventually_async("it succeeds on the new master", async || {
        let succeeds = store.check().await.is_ok();
        let stats: String = new.run("INFO commandstats");
        succeeds && stats.contains("cmdstat_evalsha:")
    })
    .await;
}

#[cfg(feature = "cluster")]
#[actix_web::test]
async fn it_succeeds_in_a_cluster_and_names_what_is_missing_there() {
    use crate::cluster::options;
    use testbed::Cluster;

    let redis = Cluster::start();
    let store = options(&redis).deadline(PATIENT).build();
    store.check().await.unwrap();
    store.check().await.unwrap();
    for node in redis.masters() {
        assert_eq!(node.run::<u64>("DBSIZE"), 0);
        node.run::<()>("ACL SETUSER default -pexpire");
    }
    store.ping().await.unwrap();
    assert_fails_at_once(&store, "NOPERM", "EVAL").await;
}
