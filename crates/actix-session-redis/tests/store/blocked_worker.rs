//! A handler blocks its worker thread: nothing that the thread has to do is done meanwhile.

use std::{
    fmt::{self, Display, Formatter},
    rc::Rc,
    time::{Duration, Instant},
};

use actix_session::storage::SessionStore;
use futures_util::FutureExt;
use tokio::sync::Notify;

use crate::support::{
    app::{Setup, TestApp},
    eventually,
    line::Line,
    proxy::{Fate, Proxy},
    redis::TestRedis,
    report, sealing,
    sessions::{HOUR, state},
    tally::Tally,
};

/// How long the handler blocks its worker: longer than any deadline here, and not so long that
/// actix-web takes the connections to it for idle, after five seconds.
const BLOCKED: Duration = Duration::from_secs(3);

/// Short enough to be outlasted.
const DEADLINE: Duration = Duration::from_secs(1);

const NO_SESSION: &str = "";

fn two_workers() -> Setup {
    Setup {
        workers: 2,
        ..Setup::default()
    }
}

/// The cookie of a session that counts from 0, which the app has had nothing to do with.
async fn session(redis: &TestRedis, setup: &Setup) -> String {
    let key = redis.store().save(state("n", "0"), &HOUR).await.unwrap();
    eventually("it has gone", || redis.client_count() == 0).await;
    setup.signed_cookie(key.as_ref())
}

/// Two lines to one worker, and one to the other.
async fn lines_to_both(app: &TestApp) -> ([Line; 2], Line) {
    let mut first = Line::to(app).await;
    let worker = first.get("/worker", NO_SESSION).await;
    let (mut same, mut other) = (None, None);
    while same.is_none() || other.is_none() {
        let mut line = Line::to(app).await;
        if line.get("/worker", NO_SESSION).await == worker {
            same = Some(line);
        } else {
            other = Some(line);
        }
    }
    ([first, same.unwrap()], other.unwrap())
}

/// Returns when the worker does nothing any more but wait until the test lets it go.
async fn block(app: &TestApp, line: &mut Line) {
    line.send("/block", NO_SESSION).await;
    app.arrival_at_the_desk().await;
}

async fn count_to(n: u32, tally: &Tally, line: &mut Line, cookie: &str) {
    let counted = tally.send(line.get("/count", cookie)).await;
    assert_eq!(counted, format!("n={n}"));
}

/// How long requests waited for their answers.
struct Waits(Vec<Duration>);

impl Waits {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted[sorted.len() / 2]
    }

    fn longest(&self) -> Duration {
        *self.0.iter().max().unwrap()
    }
}

impl Display for Waits {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (count, median, longest) = (self.count(), self.median(), self.longest());
        write!(
            f,
            "{count} requests, median {median:.1?}, longest {longest:.1?}"
        )
    }
}

/// Counts for as long as a worker is blocked.
async fn count_on(n: &mut u32, tally: &Tally, line: &mut Line, cookie: &str) -> Waits {
    let begun = Instant::now();
    let mut waits = Vec::new();
    while begun.elapsed() < BLOCKED {
        *n += 1;
        let sent = Instant::now();
        count_to(*n, tally, line, cookie).await;
        waits.push(sent.elapsed());
    }
    Waits(waits)
}

#[actix_web::test]
async fn the_other_worker_goes_on_with_its_sessions() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let setup = two_workers();
    let cookie = session(&redis, &setup).await;
    let app = TestApp::with(redis.store(), &setup);
    let ([mut blocked, mut same], mut other) = lines_to_both(&app).await;
    count_to(1, &tally, &mut blocked, &cookie).await;
    count_to(2, &tally, &mut other, &cookie).await;
    // The second worker begins on the connection of the first. Its own is ready with its `SELECT`
    // (the third: there was one for the session), and not yet when Redis has accepted it.
    let ready = || redis.command_count("select") == 3;
    eventually("each has its own", ready).await;
    let made = redis.connections_made();

    block(&app, &mut blocked).await;
    same.send("/read", &cookie).await;
    let mut n = 2;
    let meanwhile = count_on(&mut n, &tally, &mut other, &cookie).await;
    app.let_go();

    assert_eq!(blocked.answer().await, "done");
    tally.check(same.answer().await, format!("n={n}"));
    assert_eq!(redis.client_count(), 2);
    assert_eq!(redis.connections_made(), made);

    let afterwards = count_on(&mut n, &tally, &mut other, &cookie).await;
    report(format!(
        "while the other worker was blocked for {BLOCKED:?}: {meanwhile}; afterwards: {afterwards}"
    ));
    // Nobody has waited for the blocked worker, not even once; for a busy machine, maybe.
    assert!(meanwhile.count() > afterwards.count() / 4);
    assert!(meanwhile.longest() < afterwards.longest() * 2 + BLOCKED / 8);
}

/// The connection is driven by the thread that made it. When that is blocked, a thread that
/// shares it takes it for broken after three eighths of the deadline, and makes one of its own.
#[actix_web::test]
async fn whoever_shares_the_connection_of_the_blocked_worker_waits_once_and_goes_on() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let setup = two_workers();
    let cookie = session(&redis, &setup).await;
    let app = TestApp::with(sealing::options(redis.pool_of(1)).build(), &setup);
    let ([mut driver, _], mut sharer) = lines_to_both(&app).await;
    let mut n = 1;
    count_to(1, &tally, &mut driver, &cookie).await;

    for _ in 0..2 {
        let before = redis.connections_made();
        block(&app, &mut driver).await;
        let start = Instant::now();
        count_to(n + 1, &tally, &mut sharer, &cookie).await;
        let first = start.elapsed();
        for n in n + 2..=n + 100 {
            count_to(n, &tally, &mut sharer, &cookie).await;
        }
        let others = start.elapsed() - first;
        app.let_go();
        assert_eq!(driver.answer().await, "done");
        assert_eq!(redis.connections_made(), before + 1);

        count_to(n + 101, &tally, &mut driver, &cookie).await;
        eventually("one connection is left", || redis.client_count() == 1).await;
        assert_eq!(redis.connections_made(), before + 1);
        n += 101;
        report(format!(
            "the driver of a shared connection is blocked: {first:?} for the first request, \
             {others:?} for 99 more"
        ));
        std::mem::swap(&mut driver, &mut sharer);
    }
    tally.check(driver.get("/read", &cookie).await, format!("n={n}"));
}

/// The first command of this name gets through when the worker is blocked.
async fn proxy_holding_back(redis: &TestRedis, name: &'static str) -> (Proxy, Rc<Notify>) {
    let is_blocked = Rc::new(Notify::new());
    let event = Rc::clone(&is_blocked);
    let mut first = true;
    let proxy = Proxy::before(redis, move |command| {
        if command.name() == name && std::mem::take(&mut first) {
            let event = Rc::clone(&event);
            return Fate::ForwardAfter(async move { event.notified().await }.boxed_local());
        }
        Fate::Forward
    })
    .await;
    (proxy, is_blocked)
}

#[actix_web::test]
async fn an_answer_that_comes_while_the_worker_is_blocked_is_not_asked_for_again() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let setup = two_workers();
    let cookie = session(&redis, &setup).await;
    let (proxy, is_blocked) = proxy_holding_back(&redis, "HGETALL").await;
    let app = TestApp::with(
        proxy.store_with(|options| options.deadline(DEADLINE)),
        &setup,
    );
    let ([mut blocked, mut same], _) = lines_to_both(&app).await;

    same.send("/count", &cookie).await;
    eventually("it asks Redis", || !proxy.seen("HGETALL").is_empty()).await;
    block(&app, &mut blocked).await;
    is_blocked.notify_one();
    let start = Instant::now();
    eventually("the deadline is over", || {
        start.elapsed() > DEADLINE * 3 / 2
    })
    .await;
    app.let_go();

    assert_eq!(blocked.answer().await, "done");
    assert_eq!(tally.send(same.answer()).await, "n=1");
    assert_eq!(proxy.seen("HGETALL").len(), 1);
    assert_eq!(redis.client_count(), 1);
    tally.check(same.get("/read", &cookie).await, "n=1");
}
