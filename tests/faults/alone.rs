use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use testbed::{Browser, Server};

use crate::{
    figures::{Request, Requests},
    tarpit::{Manner, Tarpit},
    trial::{LONGEST_WAIT, Trial, pass_by, repeat},
    visitor::Visitor,
};

/// How long the trouble goes on at least, and how many requests are sent in it at least.
const OUTAGE: Duration = Duration::from_secs(4);
const REQUESTS: usize = 20;

/// What a request in an outage may take, on a busy machine and without optimisation. (Otherwise it
/// is one millisecond, or two.)
const FAST: Duration = Duration::from_millis(50);

/// From the moment in which Redis is ready to the first page that is served.
const BACK_WITHIN: Duration = Duration::from_secs(1);

/// How many connection attempts Redis may see in a second, by the instance as a whole.
const ATTEMPTS_PER_SECOND: f64 = 30.0;

/// So that both workers have something to do.
const VISITORS: usize = 4;
const THINKING: Duration = Duration::from_millis(20);

/// Goes on until a page is served, however long that takes. Returns when it was.
fn refresh_until_served(visitor: &mut Visitor) -> Instant {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let page = visitor.refresh();
        if page.answered {
            return page.done();
        }
        assert!(Instant::now() < patience, "nothing is served any more");
        thread::sleep(Duration::from_millis(1));
    }
}

/// How long after Redis is ready the first page is served.
fn come_back(trial: &Trial, visitor: &mut Visitor, come_back: impl FnOnce(&Server)) -> Duration {
    thread::scope(|scope| {
        let served = scope.spawn(|| refresh_until_served(visitor));
        come_back(trial.redis());
        let ready = Instant::now();
        // Its last line before it answers may reach us after its first answer.
        served.join().unwrap().saturating_duration_since(ready)
    })
}

fn assert_exact(visitor: &mut Visitor) {
    assert!(visitor.refresh().answered);
    assert_eq!(visitor.surprise(), None);
}

fn health_check(browser: &Browser) -> Request {
    let sent = Instant::now();
    let page = browser.open("/healthz");
    let took = sent.elapsed();
    assert!(page.body.contains("Redis is unavailable"), "{page:?}");
    Request {
        sent,
        took,
        answered: page.status != 503,
    }
}

/// One visitor, and nobody else who would find out in their place.
fn assert_nobody_pays(
    what: &'static str,
    fail: impl FnOnce(&Server),
    recover: impl FnOnce(&Server),
) {
    let trial = Trial::of_one_instance(what);
    let instance = trial.stack.instance_url(0);
    let passer_by = Browser::new(&instance);
    let mut visitor = Visitor::arrive(&instance, "alone".to_owned(), false);
    for _ in 0..3 {
        assert!(visitor.refresh().answered);
        pass_by(&passer_by);
    }
    fail(trial.redis());
    let first = visitor.refresh();
    let begun = Instant::now();
    let (mut pages, mut control) = (Vec::new(), Vec::new());
    while pages.len() < REQUESTS || begun.elapsed() < OUTAGE {
        pages.push(visitor.refresh());
        control.push(pass_by(&passer_by));
    }
    let (pages, control) = (Requests::from(pages), Requests::from(control));
    let health: Requests = (0..REQUESTS).map(|_| health_check(&passer_by)).collect();
    let (page, without) = (pages.median(), control.median());
    trial.say(format!(
        "the first request fails after {:.1?}, then {} fail in {page:.2?}, {:.1} times as long as \
         a page without a session ({without:.2?}); longest {:.2?} ({:.2?}); {} health checks \
         say 503 in {:.2?}, longest {:.2?}",
        first.took,
        pages.failed().count(),
        page.as_secs_f64() / without.as_secs_f64(),
        pages.longest(),
        control.longest(),
        health.failed().count(),
        health.median(),
        health.longest(),
    ));

    let back = come_back(&trial, &mut visitor, recover);
    trial.say(format!(
        "first page served {back:.1?} after Redis was ready"
    ));
    assert_exact(&mut visitor);
    assert!(!first.answered && first.took <= LONGEST_WAIT + control.longest());
    assert_eq!(pages.answered().count(), 0);
    assert_eq!(health.answered().count(), 0);
    assert!(page < FAST, "a request took {page:?}");
    let health = health.median();
    assert!(health < FAST, "a health check took {health:?}");
    assert!(back < BACK_WITHIN + control.longest(), "{back:?}");
}

#[test]
fn nobody_pays_for_looking_whether_a_killed_redis_is_back() {
    assert_nobody_pays(
        "One visitor alone, Redis killed",
        Server::kill,
        Server::start_again,
    );
}

#[test]
fn nobody_pays_for_looking_whether_a_redis_that_hangs_goes_on() {
    assert_nobody_pays(
        "One visitor alone, Redis hangs",
        Server::pause,
        Server::resume,
    );
}

#[test]
fn an_instance_makes_one_connection_attempt_at_a_time() {
    let trial = Trial::of_one_instance("Something else listens in the place of Redis");
    let instance = trial.stack.instance_url(0);
    let mut visitors: Vec<_> = (0..VISITORS)
        .map(|i| Visitor::arrive(&instance, format!("visitor-{i}"), false))
        .collect();
    trial.redis().kill();
    let tarpit = Tarpit::at(trial.redis().address());
    // Until the circuit opens, each worker has an attempt of its own.
    assert!(!visitors[0].refresh().answered);
    let over = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        for visitor in &mut visitors {
            scope.spawn(|| repeat(|| visitor.refresh(), THINKING, &over));
        }
        let manners = [Manner::SaysNothing, Manner::HangsUp];
        let seen = manners.map(|manner| {
            let begun = Instant::now();
            let before = tarpit.behave(manner);
            thread::sleep(OUTAGE);
            let attempts = tarpit.attempts() - before;
            let a_second = attempts as f64 / begun.elapsed().as_secs_f64();
            (a_second, tarpit.most_at_once())
        });
        over.store(true, Ordering::Relaxed);
        seen
    });
    let [(silent, most), (hanging_up, _)] = seen;
    trial.say(format!(
        "{most} connections at once; attempts per second: {silent:.1} when nothing is said, \
         {hanging_up:.1} when it hangs up at once"
    ));
    drop(tarpit);
    let (first, others) = visitors.split_first_mut().unwrap();
    let back = come_back(&trial, first, Server::start_again);
    trial.say(format!(
        "first page served {back:.1?} after Redis was ready"
    ));
    assert_exact(first);
    others.iter_mut().for_each(assert_exact);
    assert_eq!(most, 1, "connections at once");
    assert!(silent > 0.0 && silent <= ATTEMPTS_PER_SECOND, "{silent}");
    assert!(
        hanging_up > 0.0 && hanging_up <= ATTEMPTS_PER_SECOND,
        "{hanging_up}"
    );
    assert!(back < BACK_WITHIN, "{back:?}");
}
