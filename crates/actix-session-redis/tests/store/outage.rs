use std::{
    io::{ErrorKind, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use actix_session::storage::SessionStore;
use actix_session_redis::{Error, RedisSessionStore};
use actix_web::rt::{System, spawn};
use futures_util::{
    FutureExt,
    future::{join, join_all, select},
};
use tokio::{
    runtime::Handle,
    sync::Barrier,
    time::{self, pause, sleep, timeout},
};

use crate::support::{
    app::{Setup, TestApp},
    browser::Answer,
    eventually, is_back, on_a_worker,
    proxy::{Fate, Proxy},
    redis::{TestRedis, pool_at},
    sealing,
    sessions::{HOUR, Typed, copy, long_key, state},
    tally::Tally,
};

const DEADLINE: Duration = Duration::from_millis(200);

/// Tokio's timers are for whole milliseconds, and a deadline has some of them.
const ROUNDED_UP: Duration = Duration::from_millis(10);

/// So much later than the deadline an answer may come on a busy machine. Less than the default
/// deadline: one that is not ours would be noticed.
const SLACK: Duration = Duration::from_millis(1_500);

/// How many requests come at once.
const PARALLEL: u32 = 50;

fn impatient_store(redis: &TestRedis) -> RedisSessionStore {
    redis.store_with(|options| options.deadline(DEADLINE))
}

/// How long the operation waited for Redis in vain.
#[track_caller]
fn waited(error: Error) -> Duration {
    match error {
        Error::Unavailable { waited, .. } => waited,
        other => panic!("{other:?}"),
    }
}

/// Many reads at once, all of which wait for Redis in vain.
async fn read_in_vain(tally: &Tally, store: &RedisSessionStore) {
    let key = long_key("any");
    let loads = (0..PARALLEL).map(|_| tally.send(store.load(&key)));
    for load in join_all(loads).await {
        waited(load.unwrap_err().typed());
    }
}

#[actix_web::test]
async fn a_visitor_gets_an_empty_500_within_the_deadline() {
    assert_visitors_are_told(&Setup::default(), Answer::assert_empty_500).await;
}

#[actix_web::test]
async fn inside_consistent_sessions_it_is_a_503_that_says_when_to_come_back() {
    assert_visitors_are_told(&Setup::consistent(), Answer::assert_empty_503).await;
}

async fn assert_visitors_are_told(setup: &Setup, of_the_outage: fn(&Answer)) {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let app = TestApp::with(impatient_store(&redis), setup);
    let (browser, newcomer) = (app.browser(), app.browser());
    browser.get("/count").await.text();
    redis.kill();

    for (visitor, path) in [
        (&browser, "/read"),
        (&browser, "/purge"),
        (&newcomer, "/count"),
    ] {
        let start = Instant::now();
        of_the_outage(&tally.send(visitor.get(path)).await);
        assert!(start.elapsed() < DEADLINE + SLACK);
    }
    assert!(browser.has_cookie(), "nobody is logged out by an outage");
    assert!(!newcomer.has_cookie(), "nor gets a cookie for nothing");
}

#[actix_web::test]
async fn a_visitor_without_a_session_does_not_notice() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let app = TestApp::on(impatient_store(&redis));
    redis.kill();
    for (path, text) in [("/hello", "hello"), ("/read", "empty")] {
        let browser = app.browser();
        assert_eq!(tally.send(browser.get(path)).await.text(), text);
    }
}

#[actix_web::test]
async fn every_operation_says_that_redis_is_unavailable() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::not_started();
    let store = impatient_store(&redis);
    let key = long_key("any");
    pause();
    let n = || state("n", "1");
    let errors = [
        tally.send(store.load(&key)).await.unwrap_err().typed(),
        tally
            .send(store.save(n(), &HOUR))
            .await
            .unwrap_err()
            .typed(),
        tally
            .send(store.update(copy(&key), n(), &HOUR))
            .await
            .unwrap_err()
            .typed(),
        tally
            .send(store.update_ttl(&key, &HOUR))
            .await
            .unwrap_err()
            .typed(),
        tally.send(store.delete(&key)).await.unwrap_err().typed(),
        tally.send(store.ping()).await.unwrap_err(),
    ];
    for error in errors {
        assert!(waited(error) <= DEADLINE + ROUNDED_UP);
    }
}

#[actix_web::test]
async fn requests_that_meet_the_outage_together_wait_no_longer_than_one() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let store = impatient_store(&redis);
    store.ping().await.unwrap();
    redis.kill();
    pause();
    let start = time::Instant::now();
    read_in_vain(&tally, &store).await;
    assert!(start.elapsed() <= DEADLINE + ROUNDED_UP);
}

#[actix_web::test]
async fn a_request_that_came_later_fails_as_soon_as_the_outage_is_known() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::not_started();
    let deadline = Duration::from_secs(2);
    let store = redis.store_with(|options| options.deadline(deadline));
    pause();
    let later = async {
        sleep(deadline / 2).await;
        tally.send(store.ping()).await
    };
    let (_, later) = join(tally.send(store.ping()), later).await;
    // It notices after its pause.
    let longest_pause = Duration::from_millis(100);
    assert!(waited(later.unwrap_err()) <= deadline / 2 + longest_pause + ROUNDED_UP);
}

#[actix_web::test]
async fn once_a_deadline_has_passed_no_request_waits() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let store = impatient_store(&redis);
    store.ping().await.unwrap();
    redis.kill();
    let first = tally.send(store.ping()).await;
    assert!(waited(first.unwrap_err()) >= DEADLINE / 2);

    for _ in 0..2 {
        let at_once = read_in_vain(&tally, &store).now_or_never();
        at_once.expect("nobody waits");
    }
}

#[actix_web::test]
async fn once_redis_is_back_the_app_works_without_a_restart() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start_with(&["--appendonly", "yes"]).await;
    let patient = Duration::from_secs(1);
    let store = redis.store_with(|options| options.deadline(patient));
    let app = TestApp::on(store.clone());
    let browser = app.browser();
    browser.get("/count").await.text();
    redis.stop();
    tally.send(browser.get("/count")).await.assert_empty_500();
    redis.start_again().await;
    is_back(&store).await;
    assert_eq!(tally.send(browser.get("/count")).await.text(), "n=2");
    let all = join_all((0..20).map(|_| tally.send(browser.get("/read")))).await;
    assert!(all.into_iter().all(|answer| answer.text() == "n=2"));
    tally.check(browser.get("/read").await.text(), "n=2");
}

#[actix_web::test]
async fn the_app_may_start_before_redis() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::not_started();
    let patient = Duration::from_secs(1);
    let store = redis.store_with(|options| options.deadline(patient));
    let app = TestApp::on(store.clone());
    let browser = app.browser();
    assert_eq!(tally.send(browser.get("/hello")).await.text(), "hello");
    tally.send(browser.get("/count")).await.assert_empty_500();
    redis.start_again().await;
    is_back(&store).await;
    assert_eq!(tally.send(browser.get("/count")).await.text(), "n=1");
    tally.check(browser.get("/read").await.text(), "n=1");
    store.ping().await.unwrap();
}

/// The thread that waits is the one that would have to notice the answer.
#[actix_web::test]
async fn handlers_that_block_their_worker_are_no_outage() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let app = TestApp::on(impatient_store(&redis));
    let browsers: Vec<_> = (0..8).map(|_| app.browser()).collect();
    let blocking = join_all((0..20).map(async |_| {
        let browser = app.browser();
        for _ in 0..4 {
            tally.send(browser.get("/compute")).await.text();
        }
    }));
    let counting = join_all(browsers.iter().map(async |browser| {
        for n in 1..=5 {
            let counted = tally.send(browser.get("/count")).await;
            assert_eq!(counted.text(), format!("n={n}"));
        }
    }));
    join(blocking, counting).await;
    for browser in browsers {
        tally.check(browser.get("/read").await.text(), "n=5");
    }
}

#[actix_web::test]
async fn a_replica_that_comes_up_in_the_place_of_the_master_serves_reads() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start_with(&["--appendonly", "yes"]).await;
    let store = impatient_store(&redis);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    redis.stop();
    waited(tally.send(store.ping()).await.unwrap_err());
    redis.start_again().await;
    redis.run::<()>("REPLICAOF 127.0.0.1 1");
    is_back(&store).await;

    let n2 = || state("n", "2");
    let writes = join_all((0..16).map(|_| tally.send(store.save(n2(), &HOUR))));
    let (writes, ()) = join(writes, async {
        let asked_again = || redis.command_count("evalsha") > 1;
        eventually("a write was refused", asked_again).await;
        for _ in 0..10 {
            let loaded = tally.send(store.load(&key)).await.unwrap();
            assert_eq!(loaded, Some(state("n", "1")));
        }
    })
    .await;
    assert!(writes.into_iter().all(|write| write.is_err()));
    tally.check(store.load(&key).await.unwrap(), Some(state("n", "1")));
}

#[actix_web::test]
async fn a_redis_that_hangs_is_an_outage_too() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let store = redis.store_with(|options| options.deadline(Duration::from_secs(1)));
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    redis.pause();
    read_in_vain(&tally, &store).await;
    let at_once = read_in_vain(&tally, &store).now_or_never();
    at_once.expect("nobody waits any more");
    redis.resume();
    is_back(&store).await;
    tally.check(store.load(&key).await.unwrap(), Some(state("n", "1")));
}

/// In the place of Redis: takes connections, answers nothing, and counts.
struct Silent {
    address: SocketAddr,
    seen: Arc<Seen>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    /// The most that were open at the same time.
    at_once: AtomicUsize,
    is_over: AtomicBool,
}

impl Silent {
    /// On a thread of its own, that nothing in the test holds up.
    fn listening() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let counted = Arc::clone(&seen);
        let accepting = thread::spawn(move || {
            let mut open: Vec<TcpStream> = Vec::new();
            while let Ok((stream, _)) = listener.accept() {
                if counted.is_over.load(SeqCst) {
                    return;
                }
                stream.set_nonblocking(true).unwrap();
                open.push(stream);
                open.retain(is_open);
                counted.connections.fetch_add(1, SeqCst);
                counted.at_once.fetch_max(open.len(), SeqCst);
            }
        });
        Self {
            address,
            seen,
            accepting: Some(accepting),
        }
    }

    fn store(&self) -> RedisSessionStore {
        let pool = pool_at(&format!("redis://{}", self.address));
        sealing::options(pool).deadline(DEADLINE).build()
    }

    fn connections(&self) -> usize {
        self.seen.connections.load(SeqCst)
    }

    fn at_once(&self) -> usize {
        self.seen.at_once.load(SeqCst)
    }

    async fn some_more_connections(&self) {
        let before = self.connections();
        eventually("it is looked for", || self.connections() >= before + 3).await;
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.seen.is_over.store(true, SeqCst);
        let _ = TcpStream::connect(self.address);
        self.accepting.take().unwrap().join().unwrap();
    }
}

/// Whether the other side has not hung up.
fn is_open(mut stream: &TcpStream) -> bool {
    loop {
        match stream.read(&mut [0; 1024]) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

#[actix_web::test]
async fn in_an_outage_one_connection_at_a_time_is_tried_and_no_request_pays_for_it() {
    let tally = Tally::of_this_test();
    let redis = Silent::listening();
    let store = redis.store();
    tally.send(store.ping()).await.unwrap_err();
    let requests = async {
        let mut sent = 0;
        let looked_for = redis.connections();
        while redis.connections() < looked_for + 5 {
            let at_once = tally.send(store.ping()).now_or_never();
            assert_matches!(at_once, Some(Err(_)));
            let theirs = store.clone();
            let elsewhere = on_a_worker(async move || theirs.ping().now_or_never());
            assert_matches!(elsewhere.await, Some(Err(_)));
            sent += 2;
        }
        sent
    };
    let sent = requests.await;
    assert!(sent > 10, "{sent} requests are no proof");
    assert_eq!(redis.at_once(), 1);
}

/// Its trial has ended with its runtime, and all of them notice at once.
#[actix_web::test]
async fn requests_on_many_threads_start_one_trial_between_them() {
    const THREADS: usize = 8;
    let redis = Silent::listening();
    let store = redis.store();
    let theirs = store.clone();
    on_a_worker(async move || theirs.ping().await.unwrap_err()).await;
    let barrier = Arc::new(Barrier::new(THREADS + 1));
    let workers = join_all((0..THREADS).map(|_| {
        let (store, barrier) = (store.clone(), Arc::clone(&barrier));
        on_a_worker(async move || {
            barrier.wait().await;
            let at_once = store.ping().now_or_never();
            assert_matches!(at_once, Some(Err(_)));
            barrier.wait().await;
        })
    }));
    join(workers, async {
        barrier.wait().await;
        redis.some_more_connections().await;
        barrier.wait().await;
    })
    .await;
    assert_eq!(redis.at_once(), 1);
}

#[actix_web::test]
async fn if_the_runtime_of_the_trial_ends_the_next_request_starts_another() {
    let redis = Silent::listening();
    let store = redis.store();
    for _ in 0..2 {
        let theirs = store.clone();
        on_a_worker(async move || theirs.ping().await.unwrap_err()).await;
    }
    let abandoned = redis.connections();
    let at_once = store.ping().now_or_never();
    assert_matches!(at_once, Some(Err(_)));
    redis.some_more_connections().await;
    assert!(redis.connections() > abandoned);
}

/// As when a handler computes, on the thread that has found the outage.
#[actix_web::test]
async fn while_the_thread_of_the_trial_is_blocked_another_one_takes_over() {
    let redis = TestRedis::not_started();
    let store = impatient_store(&redis);
    let theirs = store.clone();
    let (let_go, waits) = mpsc::channel::<()>();
    let blocked = spawn(on_a_worker(async move || {
        theirs.ping().await.unwrap_err();
        waits.recv().unwrap_err();
    }));
    eventually("the outage is known", || {
        matches!(store.ping().now_or_never(), Some(Err(_)))
    })
    .await;
    redis.start_again().await;
    is_back(&store).await;
    drop(let_go);
    blocked.await.unwrap();
}

#[actix_web::test]
async fn a_store_that_is_dropped_in_an_outage_leaves_no_task_behind() {
    let redis = Silent::listening();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let store = redis.store();
    store.ping().await.unwrap_err();
    redis.some_more_connections().await;
    assert!(tasks() > before, "it looks for Redis");
    drop(store);
    eventually("nobody looks any more", || tasks() == before).await;
}

/// As a load balancer does, or Kubernetes with its health checks.
#[actix_web::test]
async fn clients_that_hang_up_before_the_deadline_find_the_outage_too() {
    let redis = TestRedis::start().await;
    let deadline = Duration::from_secs(1);
    let store = redis.store_with(|options| options.deadline(deadline));
    store.ping().await.unwrap();
    redis.pause();
    let hangs_up = timeout(deadline * 7 / 10, store.ping());
    hangs_up.await.unwrap_err();
    let next = store.ping().now_or_never();
    waited(next.expect("it does not wait").unwrap_err());
    redis.resume();
    is_back(&store).await;
}

/// As when an application ends its runtime before it drops what ran there.
#[test]
fn an_operation_may_be_dropped_outside_of_a_runtime() {
    let runtime = System::new();
    let redis = runtime.block_on(TestRedis::start());
    let proxy = runtime.block_on(Proxy::before(&redis, |command| match command.name() {
        "HGETALL" => Fate::Silence,
        _ => Fate::Forward,
    }));
    let (deadline, age) = (Duration::from_secs(1), Duration::from_secs(1));
    let store = proxy.store_with(|options| options.deadline(deadline).max_connection_age(age));
    let key = long_key("any");
    let mut load = Box::pin(store.load(&key));
    let asks_again = || proxy.seen("HGETALL").len() == 2;
    let asks_again = eventually("it asks on a second connection", asks_again);
    runtime.block_on(async {
        select(&mut load, pin!(asks_again)).await;
        // Whoever hangs up when more than half of the time is over speaks of an outage.
        timeout(deadline / 5, &mut load).await.unwrap_err();
    });
    // The connection is to be replaced, and nobody has come to begin with that.
    let start = Instant::now();
    let is_old = eventually("the connection is old", || start.elapsed() > age);
    runtime.block_on(is_old);
    drop(load);
    runtime.block_on(is_back(&store));
}
