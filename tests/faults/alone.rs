use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use testbed::{Browser, Server};

use crate::{
    figures::{Request, Requests},
    tarpit::{Manner, Tarpit},
    trial::{AT_ONCE, LONGEST_WAIT, LOOKS_AGAIN_WITHIN, Trial, pass_by, repeat, while_passing_by},
    visitor::Visitor,
};

/// How long the trouble goes on at least, and how many requests are sent in it at least.
const OUTAGE: Duration = Duration::from_secs(4);
const REQUESTS: usize = 20;

/// How much later than Redis itself its first answer may be back: the longest pause between two looks for it, and
/// as long again for the look and the page.
const BACK_WITHIN: Duration = LOOKS_AGAIN_WITHIN.saturating_mul(2);

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

/// The first page is served as soon as somebody can know that Redis is back.
fn assert_comes_back(
    trial: &Trial,
    visitor: &mut Visitor,
    passer_by: &Browser,
    come_back: impl FnOnce(&Server),
) {
    let (back, held_up) = while_passing_by(passer_by, || {
        thread::scope(|scope| {
            let served = scope.spawn(|| refresh_until_served(visitor));
            come_back(trial.redis());
            let ready = Instant::now();
            // Its last line before it answers may reach us after its first answer.
            served.join().unwrap().saturating_duration_since(ready)
        })
    });
    trial.say(format!(
        "first page served {back:.1?} after Redis was ready (the machine's part is {held_up:.1?})"
    ));
    assert_exact(visitor);
    assert!(back <= BACK_WITHIN + held_up, "{back:?}, {held_up:?}");
}

fn assert_exact(visitor: &mut Visitor) {
    assert!(visitor.refresh().answered);
    assert_eq!(visitor.surprise(), None);
}

fn health_check(browser: &Browser) -> Request {
    let sent = Instant::now();
    let page = browser.open("/healthz");
    let took = sent.elapsed();
    let answered = page.status == 200;
    assert!(answered || page.body.contains("Redis is unavailable"));
    Request {
        sent,
        took,
        answered,
    }
}

/// What came of pages, of health checks, and of pages without a session, asked for in turn.
struct Asked {
    pages: Requests,
    health: Requests,
    control: Requests,
}

impl Asked {
    /// For this long at least.
    fn for_as_long_as(time: Duration, visitor: &mut Visitor, passer_by: &Browser) -> Self {
        let begun = Instant::now();
        let (mut pages, mut health, mut control) = (Vec::new(), Vec::new(), Vec::new());
        while pages.len() < REQUESTS || begun.elapsed() < time {
            pages.push(visitor.refresh());
            health.push(health_check(passer_by));
            control.push(pass_by(passer_by));
        }
        Self {
            pages: pages.into(),
            health: health.into(),
            control: control.into(),
        }
    }

    fn figures(&self) -> String {
        let (page, without) = (self.pages.median(), self.control.median());
        format!(
            "{} fail in {page:.2?}, {:.1} times as long as a page without a session \
             ({without:.2?}); longest {:.2?} ({:.2?}); {} health checks say 503 in {:.2?}, longest \
             {:.2?}",
            self.pages.failed().count(),
            page.as_secs_f64() / without.as_secs_f64(),
            self.pages.longest(),
            self.control.longest(),
            self.health.failed().count(),
            self.health.median(),
            self.health.longest(),
        )
    }

    /// All of them, and none has waited for Redis.
    fn assert_failed_at_once(&self, before: &Self) {
        assert_eq!(self.pages.answered().count(), 0);
        assert_eq!(self.health.answered().count(), 0);
        let [page, health, without] =
            [&self.pages, &self.health, &self.control].map(Requests::median);
        let usually = before.control.median();
        assert!(without < usually * 2 + AT_ONCE, "{without:?}, {usually:?}");
        assert!(page < without * 2 + AT_ONCE, "{page:?}, {without:?}");
        assert!(health < without * 2 + AT_ONCE, "{health:?}, {without:?}");
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
    let before = Asked::for_as_long_as(Duration::ZERO, &mut visitor, &passer_by);
    assert_eq!(before.pages.failed().count(), 0);

    fail(trial.redis());
    let (first, held_up) = while_passing_by(&passer_by, || visitor.refresh());
    let asked = Asked::for_as_long_as(OUTAGE, &mut visitor, &passer_by);
    let figures = asked.figures();
    trial.say(format!(
        "the first request fails after {:.1?} (the machine's part is {held_up:.1?}), then {figures}",
        first.took
    ));
    assert!(!first.answered && first.took <= LONGEST_WAIT + held_up);
    asked.assert_failed_at_once(&before);
    assert_comes_back(&trial, &mut visitor, &passer_by, recover);
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
    let passer_by = Browser::new(&instance);
    assert_comes_back(&trial, first, &passer_by, Server::start_again);
    others.iter_mut().for_each(assert_exact);
    assert_eq!(most, 1, "connections at once");
    assert!(silent > 0.0 && silent <= ATTEMPTS_PER_SECOND, "{silent}");
    assert!(
        hanging_up > 0.0 && hanging_up <= ATTEMPTS_PER_SECOND,
        "{hanging_up}"
    );
}
