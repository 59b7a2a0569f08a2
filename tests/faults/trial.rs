use std::{
    env, fmt,
    io::{self, Write as _},
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use deadpool_redis::redis::cmd;
use demo::{CookieKey, Instances};
use testbed::{Browser, Server, StackOptions};

use crate::{
    figures::{Figures, Request},
    visitor::Visitor,
};

pub(crate) const INSTANCES: usize = 4;
/// Of each instance of a stack.
pub(crate) const WORKERS: usize = 2;
pub(crate) const VISITORS: usize = 64;

/// How long the library lets an operation wait for Redis, unless told otherwise.
pub(crate) const DEADLINE: Duration = Duration::from_secs(2);

/// The deadline, and the time it takes until the visitor hears of it. (A page needs Redis twice,
/// but here nobody has to wait for long both times.)
pub(crate) const LONGEST_WAIT: Duration = DEADLINE.saturating_add(Duration::from_millis(100));

/// The longest pause between two looks for Redis: so much later than Redis itself, its answers may
/// be back.
pub(crate) const LOOKS_AGAIN_WITHIN: Duration = Duration::from_millis(100);

/// What is done at once takes no longer than this on top of what it is compared with.
pub(crate) const AT_ONCE: Duration = Duration::from_millis(5);

/// Between an answer and the next refresh, so that a busy machine keeps up with all visitors.
const THINKING: Duration = Duration::from_millis(50);

/// The same for those who pass by, and look out for every hold-up of the machine.
const PASSING: Duration = Duration::from_millis(20);

/// How long everybody refreshes before the trouble begins, and when it is over.
const BEFORE: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_millis(2_500);

pub(crate) type Stack = testbed::Stack<Instances>;

/// A stack, and what happens to it.
pub(crate) struct Trial {
    what: &'static str,
    /// That of the instances.
    pub(crate) cookie_key: CookieKey,
    pub(crate) stack: Stack,
    /// Unless others hold the sessions.
    redis: Option<Server>,
    /// Whether the last writes that a server answers may not have reached its replica.
    may_lose_writes: bool,
    _turn: Turn,
}

/// Tests of time cannot share the machine.
pub(crate) struct Turn(#[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Turn {
    pub(crate) fn wait() -> Self {
        static ONLY: Mutex<()> = Mutex::new(());
        // A test that failed says nothing about the next.
        Self(ONLY.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Trial {
    /// Waits for its turn, and starts the stack with a Redis of its own.
    pub(crate) fn of(what: &'static str) -> Self {
        Self::alone(what, INSTANCES)
    }

    /// The same with one instance, as the figures of a single process are asked for.
    pub(crate) fn of_one_instance(what: &'static str) -> Self {
        Self::alone(what, 1)
    }

    fn alone(what: &'static str, instances: usize) -> Self {
        let turn = Turn::wait();
        let redis = Server::start();
        let url = redis.url();
        Self::start(what, instances, url, Some(redis), turn)
    }

    /// Starts the stack with these servers, one of which will fail.
    pub(crate) fn on(what: &'static str, redis_url: String, turn: Turn) -> Self {
        Self::start(what, INSTANCES, redis_url, None, turn)
    }

    fn start(
        what: &'static str,
        instances: usize,
        redis_url: String,
        redis: Option<Server>,
        turn: Turn,
    ) -> Self {
        let application = Instances::of(demo_under_test());
        let cookie_key = application.cookie_key.clone();
        let options = StackOptions {
            instances,
            redis_url: Some(redis_url),
            ..StackOptions::new(application)
        };
        Self {
            what,
            cookie_key,
            stack: Stack::start(options).unwrap(),
            may_lose_writes: redis.is_none(),
            redis,
            _turn: turn,
        }
    }

    /// Its own Redis, which will fail.
    pub(crate) fn redis(&self) -> &Server {
        let redis = self.redis.as_ref();
        redis.expect("no others hold the sessions")
    }

    /// Everybody refreshes: before the trouble, while it goes on, and after it.
    pub(crate) fn under_load<T>(&self, trouble: impl FnOnce(&Self) -> T) -> (Figures, T) {
        let passers_by = self.passers_by();
        let url = self.stack.url();
        let mut visitors: Vec<_> = (0..VISITORS)
            .map(|i| Visitor::arrive(&url, format!("visitor-{i}"), self.may_lose_writes))
            .collect();

        let over = AtomicBool::new(false);
        let (visits, control, outcome) = thread::scope(|scope| {
            let over_at_last = SetOnDrop(&over);
            let visiting: Vec<_> = visitors
                .iter_mut()
                .map(|visitor| scope.spawn(|| repeat(|| visitor.refresh(), THINKING, &over)))
                .collect();
            let passing_by: Vec<_> = passers_by
                .iter()
                .map(|browser| scope.spawn(|| repeat(|| pass_by(browser), PASSING, &over)))
                .collect();

            thread::sleep(BEFORE);
            let outcome = trouble(self);
            thread::sleep(AFTER);
            drop(over_at_last);

            let visits = visiting.into_iter().flat_map(|it| it.join().unwrap());
            let control = passing_by.into_iter().flat_map(|it| it.join().unwrap());
            (visits.collect(), control.collect(), outcome)
        });

        let last_looks: Vec<_> = visitors.iter_mut().map(Visitor::refresh).collect();
        let figures = Figures::new(visits, control, &visitors);
        self.say(&figures);
        figures.assert_sessions_are_exact();
        figures.assert_lost_at_most(VISITORS);
        assert!(last_looks.iter().all(|look| look.answered));
        (figures, outcome)
    }

    /// To the person who runs the tests, whether they pass or fail.
    pub(crate) fn say(&self, figures: impl fmt::Display) {
        // Unlike `eprintln!`, this is not captured.
        writeln!(io::stderr(), "{}: {figures}", self.what).ok();
    }

    /// One passes by nginx, and one each worker: when the machine holds up a worker, nginx sends
    /// most requests to the others. An instance gives its connections to its workers in turn.
    fn passers_by(&self) -> Vec<Browser> {
        let workers = (0..INSTANCES).flat_map(|i| [i; WORKERS]);
        let urls = workers.map(|i| self.stack.instance_url(i));
        let browsers: Vec<_> = urls
            .chain([self.stack.url()])
            .map(|url| Browser::new(&url))
            .collect();
        // While nobody else connects.
        for browser in &browsers {
            pass_by(browser);
        }
        browsers
    }
}

/// The one that cargo has built along with the tests, unless `DEMO_UNDER_TEST` names another: a
/// release build, for figures that are worth more.
fn demo_under_test() -> PathBuf {
    let given = env::var_os("DEMO_UNDER_TEST").map(PathBuf::from);
    given.unwrap_or_else(|| env!("CARGO_BIN_EXE_demo-under-test").into())
}

/// Changes a setting of the Redis of the stack while it runs.
pub(crate) fn configure_redis(stack: &Stack, parameter: &str, value: &str) {
    let mut set = cmd("CONFIG");
    set.arg(&["SET", parameter, value]);
    set.exec(&mut stack.redis()).unwrap();
}

pub(crate) fn repeat(
    mut request: impl FnMut() -> Request,
    pause: Duration,
    over: &AtomicBool,
) -> Vec<Request> {
    let mut requests = Vec::new();
    while !over.load(Ordering::Relaxed) {
        requests.push(request());
        thread::sleep(pause);
    }
    requests
}

/// Asks for a page that has nothing to do with sessions: it does not exist.
pub(crate) fn pass_by(browser: &Browser) -> Request {
    let sent = Instant::now();
    let page = browser.open("/nothing/here");
    let took = sent.elapsed();
    assert_eq!(page.status, 404);
    Request {
        sent,
        took,
        answered: true,
    }
}

/// Does something while somebody passes by. Returns what comes of it, and for how long the machine may have held it
/// up: the time in which who passes by did not rest.
pub(crate) fn while_passing_by<T>(passer_by: &Browser, act: impl FnOnce() -> T) -> (T, Duration) {
    let (begun, over) = (Instant::now(), AtomicBool::new(false));
    thread::scope(|scope| {
        let over_at_last = SetOnDrop(&over);
        let passing = scope.spawn(|| repeat(|| pass_by(passer_by), PASSING, &over));
        let outcome = act();
        drop(over_at_last);
        let rests = passing.join().unwrap().len() as u32;
        (outcome, begun.elapsed().saturating_sub(PASSING * rests))
    })
}

/// Ends the load also when the trouble panics: a scope waits for its threads.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
