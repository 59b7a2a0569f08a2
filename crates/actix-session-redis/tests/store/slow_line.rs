use std::time::{Duration, Instant};

use actix_session::storage::{LoadError, SessionKey, SessionStore};
use actix_session_redis::RedisSessionStore;
use futures_util::future::join_all;

use crate::support::{
    log::Log,
    proxy::{Bandwidth, Fate, Proxy},
    redis::TestRedis,
    report,
    sessions::{HOUR, State, state},
};

/// Of a line to Redis that others use as well, or of a small machine in a cloud.
const BYTES_PER_SECOND: u32 = 1_500_000;

/// Half a second on that line, and two thirds of one.
const LARGE: usize = 700 << 10;
const LARGER: usize = 1_000 << 10;

/// A redis that has a large session, and a slow line to it.
struct SlowLine {
    redis: TestRedis,
    proxy: Proxy,
    key: SessionKey,
    state: State,
}

impl SlowLine {
    async fn with_a_session_of(bytes: usize) -> Self {
        let redis = TestRedis::start().await;
        let direct = redis.store_with(|options| options.max_state_bytes(bytes * 2));
        let state = state("text", &format!("\"{}\"", "x".repeat(bytes)));
        let key = direct.save(state.clone(), &HOUR).await.unwrap();
        let bandwidth = Bandwidth::of(BYTES_PER_SECOND);
        let proxy = Proxy::before(&redis, move |_| Fate::Trickle(bandwidth.clone())).await;
        Self {
            redis,
            proxy,
            key,
            state,
        }
    }

    /// So many requests load it at once. Returns what came of each, and reports it.
    async fn load(&self, store: &RedisSessionStore, requests: usize) -> Vec<Loaded> {
        let made = self.redis.connections_made();
        let asked = self.proxy.seen_in_all();
        let each = (0..requests).map(async |_| {
            let begun = Instant::now();
            let outcome = store.load(&self.key).await;
            let took = begun.elapsed();
            Loaded { outcome, took }
        });
        let loaded = join_all(each).await;
        let took: Vec<_> = loaded.iter().map(|it| it.took).collect();
        let failed = loaded.iter().filter(|it| it.outcome.is_err()).count();
        report(format!(
            "{requests} at once load {} KiB at {} MB/s: {failed} failed, after {took:.2?}; {} new \
             connections, {} commands",
            self.state["text"].len() >> 10,
            f64::from(BYTES_PER_SECOND) / 1e6,
            self.redis.connections_made() - made,
            self.proxy.seen_in_all() - asked,
        ));
        loaded
    }
}

struct Loaded {
    outcome: Result<Option<State>, LoadError>,
    took: Duration,
}

/// Nobody took Redis for away.
fn assert_no_outage(log: &Log) {
    assert_eq!(log.count("Redis is unavailable"), 0, "{:#?}", log.lines());
}

/// Everybody's commands went through the one connection.
fn assert_one_connection_and_no_outage(line: &SlowLine, made_before: u64, log: &Log) {
    assert_no_outage(log);
    assert_eq!(
        log.count("lost a Redis connection"),
        0,
        "{:#?}",
        log.lines()
    );
    assert_eq!(line.redis.connections_made(), made_before);
}

/// One after the other, over one connection.
async fn assert_loads_on_one_connection(bytes: usize) {
    let line = SlowLine::with_a_session_of(bytes).await;
    let store = line.proxy.store();
    store.ping().await.unwrap();
    let made = line.redis.connections_made();
    let log = Log::of_this_thread();
    for _ in 0..3 {
        for loaded in line.load(&store, 1).await {
            assert_eq!(loaded.outcome.unwrap().as_ref(), Some(&line.state));
        }
    }
    assert_one_connection_and_no_outage(&line, made, &log);
}

#[actix_web::test]
async fn a_session_of_700_kib_loads_within_the_deadline() {
    assert_loads_on_one_connection(LARGE).await;
}

#[actix_web::test]
async fn so_does_one_that_takes_a_third_of_the_deadline() {
    assert_loads_on_one_connection(LARGER).await;
}

/// The last of them may have its whole answer too late: that is slow, and no outage.
#[actix_web::test]
async fn four_requests_at_once_for_it_are_no_outage() {
    let line = SlowLine::with_a_session_of(LARGE).await;
    let store = line.proxy.store();
    store.ping().await.unwrap();
    let made = line.redis.connections_made();
    let log = Log::of_this_thread();
    let loaded = line.load(&store, 4).await;
    assert_one_connection_and_no_outage(&line, made, &log);
    let answered = loaded.iter().filter(|it| it.outcome.is_ok()).count();
    assert!(answered >= 3, "{answered} of 4");
    store.ping().await.unwrap();
}
