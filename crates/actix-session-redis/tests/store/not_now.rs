use std::{
    cell::Cell,
    iter::repeat,
    rc::Rc,
    time::{Duration, Instant},
};

use actix_session::storage::SessionStore;
use actix_session_redis::{Error, RedisSessionStore, RedisSessionStoreBuilder};
use futures_util::future::{join, join_all, try_join};

use crate::support::{
    eventually,
    proxy::{Command, Fate, Proxy},
    redis::TestRedis,
    report,
    scope::in_a_request,
    sessions::{HOUR, Typed, copy, long_key, state},
    tally::{Outcome, Tally},
};

/// What Redis says when another try, or another connection, may be answered.
const NOT_NOW: [&str; 7] = [
    "READONLY",
    "MASTERDOWN",
    "LOADING",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "NOREPLICAS",
];

/// Time enough for whatever the test does to Redis, on the busiest machine.
const PATIENT: Duration = Duration::from_secs(20);

fn patient_store(redis: &TestRedis) -> RedisSessionStore {
    redis.store_with(|options| options.deadline(PATIENT))
}

fn says(code: &str) -> Fate {
    Fate::Reply(format!("-{code} not now\r\n").into())
}

/// Those that set a connection up are answered even then.
fn sets_up(command: &Command) -> bool {
    ["AUTH", "CLIENT", "SELECT"].contains(&command.name())
}

/// Says it to so many commands of those to come.
struct Moody {
    proxy: Proxy,
    times: Rc<Cell<usize>>,
    tally: Rc<Tally>,
}

impl Moody {
    async fn before(redis: &TestRedis, code: &'static str, tally: &Rc<Tally>) -> Self {
        let times = Rc::new(Cell::new(0));
        let left = Rc::clone(&times);
        let proxy = Proxy::before(redis, move |command| {
            if sets_up(command) || left.get() == 0 {
                return Fate::Forward;
            }
            left.set(left.get() - 1);
            says(code)
        })
        .await;
        let tally = Rc::clone(tally);
        Self {
            proxy,
            times,
            tally,
        }
    }

    /// Runs an operation of the store, of which three commands are told to come back later.
    async fn delays<T: Outcome>(&self, operation: impl Future<Output = T>) -> T {
        self.times.set(3);
        let output = self.tally.send(operation).await;
        assert_eq!(self.times.get(), 0);
        output
    }
}

#[actix_web::test]
async fn whoever_is_told_three_times_does_not_notice() {
    let tally = Rc::new(Tally::of_this_test());
    for code in NOT_NOW {
        let redis = TestRedis::start().await;
        let moody = Moody::before(&redis, code, &tally).await;
        let store = moody.proxy.store_with(|options| options.deadline(PATIENT));
        let [n1, n2] = ["1", "2"].map(|n| state("n", n));

        moody.delays(store.ping()).await.unwrap();
        let key = moody.delays(store.save(n1.clone(), &HOUR)).await.unwrap();
        let loaded = moody.delays(store.load(&key)).await.unwrap();
        assert_eq!(loaded, Some(n1), "{code}");
        let update = store.update(copy(&key), n2.clone(), &HOUR);
        assert_eq!(moody.delays(update).await.unwrap(), key, "{code}");
        let prolong = store.update_ttl(&key, &HOUR);
        moody.delays(prolong).await.unwrap();
        let stored = store.load(&key).await.unwrap();
        tally.check((code, stored), (code, Some(n2)));
        moody.delays(store.delete(&key)).await.unwrap();
        assert_eq!(redis.sessions(), [""; 0], "{code}");
    }
}

/// There, what changes a session is a transaction, or a script that counts.
#[actix_web::test]
async fn whoever_is_told_three_times_inside_consistent_sessions_does_not_notice() {
    let tally = Rc::new(Tally::of_this_test());
    for (code, counter) in NOT_NOW
        .iter()
        .flat_map(|code| [(code, "none"), (code, "n")])
    {
        let redis = TestRedis::start().await;
        let moody = Moody::before(&redis, code, &tally).await;
        let patient = |options: RedisSessionStoreBuilder| options.deadline(PATIENT);
        let store = moody.proxy.store_with(|it| patient(it).counter(counter));
        let key = store.save(state("n", "1"), &HOUR).await.unwrap();
        in_a_request(async move {
            let loaded = moody.delays(store.load(&key)).await.unwrap();
            assert_eq!(loaded, Some(state("n", "1")), "{code}");
            let update = store.update(copy(&key), state("n", "2"), &HOUR);
            assert_eq!(moody.delays(update).await.unwrap(), key, "{code}");
            let stored = store.load(&key).await.unwrap();
            let must_be = Some(state("n", "2"));
            moody.tally.check((code, stored), (code, must_be));
            moody.delays(store.delete(&key)).await.unwrap();
        })
        .await;
        assert_eq!(redis.sessions(), [""; 0], "{code}");
    }
}

#[actix_web::test]
async fn requests_wait_while_redis_loads_its_data() {
    let tally = Tally::of_this_test();
    let slowly = ["--key-load-delay", "5000", "--rdbcompression", "no"];
    let in_parts = ["--loading-process-events-interval-bytes", "1024"];
    let redis = TestRedis::start_with(&[&slowly[..], &in_parts].concat()).await;
    let store = patient_store(&redis);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    for n in 0..100 {
        redis.put(&format!("ballast:{n}"), &[b'x'; 500]);
    }
    redis.run::<()>("SAVE");
    redis.stop();

    let loads = join_all((0..50).map(|_| tally.send(store.load(&key))));
    for loaded in join(loads, redis.start_again()).await.0 {
        assert_eq!(loaded.unwrap(), Some(state("n", "1")));
    }
    assert!(redis.command_count("hgetall") > 50, "some were rejected");
    tally.check(store.load(&key).await.unwrap(), Some(state("n", "1")));
}

/// Returns when the store has been told so a few times.
async fn has_been_told(redis: &TestRedis, code: &str) {
    let told = || redis.error_count(code) >= 3;
    eventually("it asks again", told).await;
}

#[actix_web::test]
async fn requests_wait_while_a_replica_has_no_master() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let store = patient_store(&redis);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    redis.run::<()>("CONFIG SET replica-serve-stale-data no");
    redis.run::<()>("REPLICAOF 127.0.0.1 1");
    let failover = async {
        has_been_told(&redis, "MASTERDOWN").await;
        redis.run::<()>("REPLICAOF NO ONE");
    };
    let (loaded, ()) = join(tally.send(store.load(&key)), failover).await;
    assert_eq!(loaded.unwrap(), Some(state("n", "1")));
    eventually("one connection", || redis.client_count() == 1).await;
    tally.check(store.load(&key).await.unwrap(), Some(state("n", "1")));
}

#[actix_web::test]
async fn writes_wait_while_replicas_are_away() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let store = patient_store(&redis);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    redis.run::<()>("CONFIG SET min-replicas-to-write 1");
    let return_of_replicas = async {
        has_been_told(&redis, "NOREPLICAS").await;
        redis.run::<()>("CONFIG SET min-replicas-to-write 0");
    };
    let update = store.update(copy(&key), state("n", "2"), &HOUR);
    let (updated, ()) = join(tally.send(update), return_of_replicas).await;
    assert_eq!(updated.unwrap(), key);
    tally.check(store.load(&key).await.unwrap(), Some(state("n", "2")));
}

#[actix_web::test]
async fn requests_wait_while_a_cluster_is_down() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start_with(&["--cluster-enabled", "yes"]).await;
    let store = patient_store(&redis);
    let mend = async {
        has_been_told(&redis, "CLUSTERDOWN").await;
        redis.run::<()>("CLUSTER ADDSLOTSRANGE 0 16383");
    };
    let save = tally.send(store.save(state("n", "1"), &HOUR));
    let (saved, ()) = join(save, mend).await;
    let loaded = store.load(&saved.unwrap()).await.unwrap();
    tally.check(loaded, Some(state("n", "1")));
}

#[actix_web::test]
async fn a_logout_inside_consistent_sessions_waits_for_a_failover() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let store = patient_store(&redis);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    redis.run::<()>("REPLICAOF 127.0.0.1 1");
    let failover = async {
        has_been_told(&redis, "READONLY").await;
        redis.run::<()>("REPLICAOF NO ONE");
        Ok(())
    };
    let logout = in_a_request(async move {
        store.load(&key).await?;
        store.delete(&key).await
    });
    try_join(tally.send(logout), failover).await.unwrap();
    assert_eq!(redis.sessions(), [""; 0]);
}

const DEADLINE: Duration = Duration::from_millis(400);

/// So much later than the deadline an answer may come on a busy machine.
const SLACK: Duration = Duration::from_millis(1_500);

/// Pauses are 0, 10, 20, 40, 80, and then 100 ms, and each may be cut by a half.
fn most_tries() -> usize {
    let shortest = [0, 5, 10, 20, 40].into_iter().chain(repeat(50));
    let begins = shortest.scan(0, |passed, pause| {
        *passed += pause;
        Some(*passed)
    });
    let in_time = begins.take_while(|&begin| begin < DEADLINE.as_millis());
    1 + in_time.count()
}

/// For such a reply a connection is given up once it is 100 ms old. On a busy machine, what takes 400 ms of the
/// deadline takes longer by the clock, in which connections grow old.
fn most_connections(begun: Instant) -> u64 {
    2 + begun.elapsed().as_millis() as u64 / 100
}

/// One that says it for ever.
async fn proxy_saying(redis: &TestRedis, code: &'static str) -> Proxy {
    Proxy::before(redis, move |command| {
        if sets_up(command) {
            Fate::Forward
        } else {
            says(code)
        }
    })
    .await
}

#[actix_web::test]
async fn whoever_is_told_until_the_deadline_fails_then_and_has_not_asked_too_often() {
    let tally = Tally::of_this_test();
    for code in NOT_NOW {
        let redis = TestRedis::start().await;
        let proxy = proxy_saying(&redis, code).await;
        let store = proxy.store_with(|options| options.deadline(DEADLINE));
        let (before, begun) = (redis.connections_made(), Instant::now());
        let loaded = tally.send(store.load(&long_key("any"))).await;
        let error = loaded.unwrap_err().typed();
        // The deadline may cut the last try.
        let reason = error.to_string();
        let reasons = [code, "no answer in time"];
        assert!(reasons.iter().any(|r| reason.ends_with(r)), "{reason}");
        let Error::Unavailable { waited, .. } = error else {
            panic!("{error:?}");
        };
        // Another pause would have been too long.
        let in_time = DEADLINE - Duration::from_millis(100)..DEADLINE + SLACK;
        assert!(in_time.contains(&waited), "{code}: {waited:?}");

        let tries = proxy.seen("HGETALL").len();
        assert!((4..=most_tries()).contains(&tries), "{code}: {tries} tries");
        let made = redis.connections_made() - before;
        let most = most_connections(begun);
        assert!((2..=most).contains(&made), "{code}: {made} connections");
        report(format!(
            "told {code} for 400 ms: {tries} tries on {made} connections"
        ));
    }
}

#[actix_web::test]
async fn fifty_who_are_told_until_the_deadline_are_no_storm_and_those_who_follow_do_not_ask() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let proxy = proxy_saying(&redis, "LOADING").await;
    let store = proxy.store_with(|options| options.deadline(DEADLINE));
    let key = long_key("any");
    let (before, begun) = (redis.connections_made(), Instant::now());
    let loads = join_all((0..50).map(|_| tally.send(store.load(&key)))).await;
    assert!(loads.into_iter().all(|loaded| loaded.is_err()));
    let (tries, made) = (
        proxy.seen("HGETALL").len(),
        redis.connections_made() - before,
    );
    assert!(tries <= 50 * most_tries(), "{tries} tries");
    assert!(made <= most_connections(begun), "{made} connections");

    let saves = (0..50).map(|_| tally.send(store.save(state("n", "1"), &HOUR)));
    assert!(
        join_all(saves)
            .await
            .into_iter()
            .all(|saved| saved.is_err())
    );
    assert_eq!(proxy.seen("EVALSHA").len(), 0);
    report(format!(
        "50 told LOADING for 400 ms: {tries} tries on {made} connections; 50 more: none"
    ));
}
