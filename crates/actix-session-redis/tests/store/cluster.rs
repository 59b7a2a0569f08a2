use std::{pin::pin, time::Duration};

use actix_session::storage::{SessionKey, SessionStore};
use actix_session_redis::{
    RedisSessionStore, RedisSessionStoreBuilder,
    deadpool_redis::{
        Runtime,
        cluster::Config,
        redis::{
            InfoDict,
            cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
            cmd,
        },
    },
};
use futures_util::{
    FutureExt,
    future::{Either, join, select},
};
use testbed::{Cluster, Server};

use crate::{
    refusals::COMMANDS,
    support::{
        app::{Setup, TestApp},
        browser::Browser,
        eventually, eventually_async, is_back, on_a_worker, rights,
        scope::in_a_request,
        sealing,
        sessions::{HOUR, Typed, assert_works, copy, hash_of, session_key, state, tombstone_of},
        tally::Tally,
    },
};

pub(crate) fn start() -> Cluster {
    rights::start_cluster(Cluster::start_with, &[])
}

/// For stores.
fn urls(redis: &Cluster) -> Vec<String> {
    redis.urls().iter().map(|url| rights::url(url)).collect()
}

pub(crate) fn options(redis: &Cluster) -> RedisSessionStoreBuilder {
    let pool = Config::from_urls(urls(redis)).create_pool(Some(Runtime::Tokio1));
    // Time enough for whatever the test does to the cluster, on the busiest machine.
    sealing::options(pool.unwrap()).deadline(Duration::from_secs(20))
}

/// A session with `n` at 1 on this master.
async fn session_on(store: &RedisSessionStore, redis: &Cluster, master: &Server) -> SessionKey {
    loop {
        let key = store.save(state("n", "1"), &HOUR).await.unwrap();
        if redis.node_of_key(&hash_of(&key)) == master {
            return key;
        }
    }
}

/// Loads the session in one request, changes `n` to this, and stores it.
async fn change(store: &RedisSessionStore, key: &SessionKey, n: &'static str) {
    let (store, key) = (store.clone(), copy(key));
    in_a_request(async move {
        store.load(&key).await.unwrap().unwrap();
        let updated = store.update(copy(&key), state("n", n), &HOUR).await;
        assert_eq!(updated.unwrap(), key);
    })
    .await;
}

#[actix_web::test]
async fn sessions_live_and_end_on_every_master() {
    let redis = start();
    let store = options(&redis).counter("n").build();
    assert_works(&store).await;
    for master in redis.masters() {
        let key = session_on(&store, &redis, master).await;
        change(&store, &key, "2").await;
        assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "2")));
        store.update_ttl(&key, &(HOUR * 2)).await.unwrap();
        let pttl: i64 = master.run(&format!("PTTL {}", hash_of(&key)));
        assert!(pttl > 3_600_000);

        store.delete(&key).await.unwrap();
        assert_eq!(store.load(&key).await.unwrap(), None);
        assert_eq!(
            master.run::<u64>(&format!("EXISTS {}", tombstone_of(&key))),
            1
        );
        let late = store.update(copy(&key), state("n", "3"), &HOUR).await;
        assert_eq!(store.load(&late.unwrap()).await.unwrap(), None);
    }
}

#[actix_web::test]
async fn requests_that_overlap_lose_nothing() {
    let redis = start();
    let app = TestApp::consistent_on(options(&redis).counter("n").build());
    let browser = app.browser();
    browser.get("/count").await.text();
    let (slow, ()) = browser
        .get_slowly("/count", async {
            browser.get("/count").await.text();
            browser.get("/set/name/Ada").await.text();
        })
        .await;
    slow.text();
    let read = browser.get("/read").await.text();
    assert_eq!(read, "n=3 name=\"Ada\"");
}

/// The Redis key of the browser's session, which its signed cookie ends with.
fn session_of(browser: &Browser<'_>) -> String {
    let cookie = browser.cookie();
    hash_of(&session_key(&cookie[cookie.len() - 64..]))
}

/// Of an interrupted `redis-cli --cluster reshard`, too.
#[actix_web::test]
async fn a_session_between_two_masters_is_read_and_written() {
    let tally = Tally::of_this_test();
    let redis = start();
    let setup = Setup::consistent_and_sliding();
    let app = TestApp::with(options(&redis).counter("visits").build(), &setup);
    let masters = redis.masters();
    for moved in [false, true] {
        let browser = app.browser();
        browser.get("/count").await.text();
        let session = session_of(&browser);
        let source = redis.node_of_key(&session);
        let target = *masters.iter().find(|&&master| master != source).unwrap();
        let slot = redis.begin_move(redis.slot_of_key(&session), target);
        if moved {
            slot.move_keys();
        }
        for n in 2..=10 {
            for path in ["/count", "/add/visits/1", "/read"] {
                tally.send(browser.get(path)).await.text();
            }
            let read = tally.send(browser.get("/read")).await;
            assert_eq!(read.text(), format!("n={n} visits={}", n - 1));
        }
        slot.move_keys();
        slot.finish();
        tally.check(browser.get("/read").await.text(), "n=10 visits=9");
    }
}

/// Its tombstone is where the session is not. (Only for as long as one slot moves.)
#[actix_web::test]
async fn a_login_and_a_logout_between_two_masters_wait_for_the_end_of_the_move() {
    let tally = Tally::of_this_test();
    let redis = start();
    let app = TestApp::consistent_on(options(&redis).build());
    let browser = app.browser();
    browser.get("/count").await.text();
    for (path, moved, then) in [
        ("/login/Ada", false, "n=1 user=\"Ada\""),
        ("/login/Bea", true, "n=1 user=\"Bea\""),
        ("/purge", false, "empty"),
    ] {
        let session = session_of(&browser);
        let source = redis.node_of_key(&session);
        let target = *redis.masters().iter().find(|&&m| m != source).unwrap();
        let slot = redis.begin_move(redis.slot_of_key(&session), target);
        if moved {
            slot.move_keys();
        }
        let told_to_wait = || -> u64 {
            let replies = [source, target].map(|node| node.run::<InfoDict>("INFO errorstats"));
            let try_again = |stats: &InfoDict| stats.get::<String>("errorstat_TRYAGAIN");
            replies
                .iter()
                .filter_map(try_again)
                .map(|count| count["count=".len()..].parse::<u64>().unwrap())
                .sum()
        };
        let before = told_to_wait();
        let finish = async {
            eventually("it is told to wait", || told_to_wait() > before).await;
            slot.move_keys();
            slot.finish();
        };
        let (answer, ()) = join(tally.send(browser.get(path)), finish).await;
        answer.text();
        tally.check(browser.get("/read").await.text(), then);
    }
}

#[actix_web::test]
async fn one_visitor_of_a_dead_shard_is_no_outage_to_the_others() {
    let tally = Tally::of_this_test();
    let redis = rights::start_cluster(
        Cluster::start_with,
        &["--cluster-require-full-coverage", "no"],
    );
    let store = options(&redis).deadline(Duration::from_secs(1)).build();
    let masters = redis.masters();
    let lost = session_on(&store, &redis, masters[0]).await;
    let alive = session_on(&store, &redis, masters[1]).await;
    // So that the cluster is not what it was when the store connected.
    let alive_slot = redis.slot_of_key(&hash_of(&alive));
    redis.move_slots([alive_slot], masters[2]);
    tally.send(store.load(&alive)).await.unwrap();
    redis.replica_of(masters[0]).kill();
    masters[0].pause();

    // Alone, so that nobody else is answered in that time.
    assert_matches!(tally.send(store.load(&lost)).await, Err(_));
    for _ in 0..5 {
        let in_vain = tally.send(store.load(&lost));
        // Polled second: the other one is under way.
        let (in_vain, read) = join(in_vain, tally.send(store.load(&alive))).await;
        assert_matches!(in_vain, Err(_));
        assert_eq!(read.unwrap(), Some(state("n", "1")));
    }
    tally.check(store.load(&alive).await.unwrap(), Some(state("n", "1")));
    masters[0].resume();
    let asked = || -> Option<u32> {
        let stats: InfoDict = masters[0].run("INFO commandstats");
        let gets: String = stats.get("cmdstat_hgetall")?;
        gets["calls=".len()..].split(',').next()?.parse().ok()
    };
    eventually("it gets to what it was asked", || asked().is_some()).await;
    // Once it is known to be silent, nobody asks it any more.
    let asked = asked().unwrap();
    assert!((1..=3).contains(&asked), "{asked}");
}

/// Another thread shares the connection, meets the silence, and ends.
#[actix_web::test]
async fn a_silent_master_is_looked_after_again_if_the_runtime_that_did_so_has_ended() {
    let tally = Tally::of_this_test();
    let redis = rights::start_cluster(
        Cluster::start_with,
        &["--cluster-require-full-coverage", "no"],
    );
    let pool = Config::from_urls(urls(&redis)).builder().unwrap();
    let pool = pool.max_size(1).runtime(Runtime::Tokio1).build().unwrap();
    let options = sealing::options(pool);
    let store = options.deadline(Duration::from_secs(1)).build();
    let master = redis.masters()[0];
    let key = session_on(&store, &redis, master).await;
    redis.replica_of(master).kill();
    master.pause();
    let (theirs, their_key) = (store.clone(), copy(&key));
    let load = move || async move { theirs.load(&their_key).await.map_err(Typed::typed) };
    assert_matches!(on_a_worker(load).await, Err(_));
    master.resume();
    eventually_async("it is asked again", async || {
        tally.send(store.load(&key)).await.is_ok()
    })
    .await;
    tally.check(store.load(&key).await.unwrap(), Some(state("n", "1")));
}

/// As when a firewall has forgotten about it.
#[actix_web::test]
async fn a_connection_to_one_master_that_goes_silent_is_replaced() {
    let tally = Tally::of_this_test();
    let redis = start();
    for node in redis.nodes() {
        // For the silence below.
        node.run::<()>(&rights::grant("+client|reply"));
    }
    let pool = Config::from_urls(urls(&redis)).create_pool(Some(Runtime::Tokio1));
    let pool = pool.unwrap();
    // The store will lease the same one.
    let mut connection = pool.get().await.unwrap().clone();
    let deadline = Duration::from_secs(4);
    let store = sealing::options(pool).deadline(deadline).build();
    let key = session_on(&store, &redis, redis.masters()[0]).await;

    let mut no_replies = cmd("CLIENT");
    no_replies.arg(&["REPLY", "OFF"]);
    let slot = redis.slot_of_key(&hash_of(&key));
    let master = SingleNodeRoutingInfo::SpecificNode(Route::new(slot, SlotAddr::Master));
    let silence = connection.route_command(no_replies, RoutingInfo::SingleNode(master));
    match select(pin!(silence), pin!(tally.send(store.load(&key)))).await {
        Either::Left((replied, _)) => panic!("{replied:?}"),
        Either::Right((loaded, _)) => tally.check(loaded.unwrap(), Some(state("n", "1"))),
    }
}

fn is_down(node: &Server) -> bool {
    let info: InfoDict = node.run("CLUSTER INFO");
    info.get::<String>("cluster_state").unwrap() == "fail"
}

#[actix_web::test]
async fn a_cluster_that_serves_nobody_is_an_outage() {
    let tally = Tally::of_this_test();
    let redis = start();
    let store = options(&redis).deadline(Duration::from_secs(1)).build();
    let masters = redis.masters();
    let key = session_on(&store, &redis, masters[1]).await;
    redis.replica_of(masters[0]).kill();
    masters[0].kill();
    eventually("the cluster is down", || is_down(masters[1])).await;

    // The first one or two may not yet know why they are not answered.
    eventually_async("the outage is known", async || {
        let error = tally.send(store.load(&key)).await.unwrap_err().typed();
        error.to_string().contains("CLUSTERDOWN")
    })
    .await;
    for _ in 0..50 {
        let failed = tally.send(store.load(&key)).now_or_never();
        assert_matches!(failed, Some(Err(_)));
    }
    let error = store.ping().await.unwrap_err().to_string();
    assert!(error.contains("CLUSTERDOWN"), "{error}");

    masters[0].start_again();
    eventually("the cluster is up", || !is_down(masters[1])).await;
    is_back(&store).await;
    tally.check(store.load(&key).await.unwrap(), Some(state("n", "1")));
}

/// Another thread shares the connection, learns that the cluster is down, and ends.
#[actix_web::test]
async fn a_cluster_that_is_down_is_looked_after_again_if_the_runtime_that_did_so_has_ended() {
    let tally = Tally::of_this_test();
    let redis = start();
    let pool = Config::from_urls(urls(&redis)).builder().unwrap();
    let pool = pool.max_size(1).runtime(Runtime::Tokio1).build().unwrap();
    let options = sealing::options(pool);
    let store = options.deadline(Duration::from_secs(1)).build();
    let masters = redis.masters();
    let key = session_on(&store, &redis, masters[0]).await;
    redis.replica_of(masters[0]).kill();
    masters[0].pause();
    eventually("the cluster is down", || is_down(masters[1])).await;
    let (theirs, their_key) = (store.clone(), copy(&key));
    let load_until_known = move || async move {
        eventually_async("the outage is known", async || {
            let error = theirs.load(&their_key).await.unwrap_err().typed();
            error.to_string().contains("CLUSTERDOWN")
        })
        .await;
    };
    on_a_worker(load_until_known).await;

    masters[0].resume();
    eventually("the cluster is up", || !is_down(masters[1])).await;
    eventually_async("it is asked again", async || {
        tally.send(store.load(&key)).await.is_ok()
    })
    .await;
    tally.check(store.load(&key).await.unwrap(), Some(state("n", "1")));
}

#[actix_web::test]
async fn the_commands_that_the_remedy_names_are_enough() {
    let redis = Cluster::start();
    for node in redis.nodes() {
        node.run::<()>(&format!(
            "ACL SETUSER shop on >ladder ~session:* {COMMANDS} +cluster|slots +cluster|info +cluster|myid +asking"
        ));
    }
    let urls: Vec<_> = redis
        .urls()
        .iter()
        .map(|url| url.replace("://", "://shop:ladder@"))
        .collect();
    let pool = Config::from_urls(urls).create_pool(Some(Runtime::Tokio1));
    let store = sealing::options(pool.unwrap()).counter("n").build();
    assert_works(&store).await;
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    change(&store, &key, "2").await;
    store.update_ttl(&key, &HOUR).await.unwrap();
    store.delete(&key).await.unwrap();
    store.check().await.unwrap();
}
