use std::{
    io::{Write as _, stderr},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use anyhow::ensure;
use rand::RngExt as _;
use testbed::{Nginx, Server, eventually};

use crate::{
    application::{Build, Instance},
    moves::ONE_CONNECTION,
    visitor::Visitor,
};

const INSTANCES: usize = 4;
const VISITORS: usize = 64;

/// So many pages everybody has seen before the next instance is replaced.
const PAGES: usize = 3;

/// What has come of the visits.
#[derive(Debug, Default)]
struct Tally {
    /// Answered, for each visitor.
    pages: Vec<AtomicUsize>,
    /// Logins and logouts.
    posts: AtomicUsize,
    /// Those that met an instance in its last moment, and were sent again.
    sent_again: AtomicUsize,
    /// Counts that a later page did not show: they were written on the other side.
    split: AtomicUsize,
    /// The cookies of those who have logged out.
    logged_out: Mutex<Vec<String>>,
}

impl Tally {
    fn new() -> Self {
        Self {
            pages: (0..VISITORS).map(|_| AtomicUsize::new(0)).collect(),
            ..Self::default()
        }
    }

    /// Pages, logins and logouts, those of them that were sent again, and split counts.
    fn figures(&self) -> [usize; 4] {
        let pages = self.pages().iter().sum();
        let [posts, sent_again, split] =
            [&self.posts, &self.sent_again, &self.split].map(|it| it.load(Relaxed));
        [pages, posts, sent_again, split]
    }

    fn pages(&self) -> Vec<usize> {
        self.pages.iter().map(|pages| pages.load(Relaxed)).collect()
    }

    /// Waits until everybody has seen some more pages.
    fn wait(&self, over: &AtomicBool) {
        let before = self.pages();
        eventually("everybody is served", || {
            assert!(!over.load(Relaxed), "a visitor has given up");
            let seen = self.pages().into_iter().zip(&before);
            let waiting = seen.filter(|(now, before)| *now < *before + PAGES).count();
            ensure!(waiting == 0, "{waiting} visitors wait");
            Ok(())
        });
    }
}

/// Ends the visits, also if a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Somebody who knows whether they are logged in, and how often they have counted.
struct Regular<'a> {
    visitor: Visitor,
    name: String,
    is_logged_in: bool,
    visits: usize,
    tally: &'a Tally,
    pages: &'a AtomicUsize,
}

impl Regular<'_> {
    fn stay(&mut self, over: &AtomicBool) {
        let _over = Over(over);
        while !over.load(Relaxed) {
            match rand::rng().random_range(0..20) {
                0..16 => self.refresh(),
                16..19 => self.log_in(),
                _ if self.is_logged_in => self.log_out(),
                _ => (),
            }
        }
    }

    fn refresh(&mut self) {
        let page = self.visitor.refresh();
        self.pages.fetch_add(1, Relaxed);
        if !self.is_logged_in {
            assert_eq!(page, "nobody", "{} has logged out", self.name);
            return;
        }
        let (name, visits) = page.split_once(' ').unwrap_or((&page, "0"));
        assert_eq!(name, self.name, "who has logged in");
        let visits = visits.parse().unwrap();
        let lost = (self.visits + 1).saturating_sub(visits);
        self.tally.split.fetch_add(lost, Relaxed);
        // What was written before the session became ours, or after it was not, comes back.
        self.visits = visits;
    }

    fn log_in(&mut self) {
        self.until_done(|it| it.visitor.log_in(&it.name));
        self.is_logged_in = true;
    }

    /// On whichever instance, also for whoever still has the cookie.
    fn log_out(&mut self) {
        let cookie = self.visitor.cookie();
        self.until_done(|it| it.visitor.log_out());
        (self.is_logged_in, self.visits) = (false, 0);
        for _ in 0..INSTANCES {
            assert_eq!(self.visitor.refresh(), "nobody", "{}", self.name);
        }
        self.tally.logged_out.lock().unwrap().push(cookie);
    }

    /// nginx sends no `POST` to another instance, and nobody wants it to.
    fn until_done(&self, send: impl Fn(&Self) -> u16) {
        self.tally.posts.fetch_add(1, Relaxed);
        eventually("it is answered", || {
            let status = send(self);
            if status == 502 {
                self.tally.sent_again.fetch_add(1, Relaxed);
            }
            ensure!(status == 204, "{status}");
            Ok(())
        });
    }
}

/// Replaces all instances, and returns how many counts were split meanwhile.
fn roll_out(
    (what, build): (&str, &Build),
    redis: &Server,
    instances: &mut [Instance],
    tally: &Tally,
    over: &AtomicBool,
) -> usize {
    let before = tally.figures();
    for instance in &mut *instances {
        instance.replace_by(build, redis);
        tally.wait(over);
    }
    let mut figures = tally.figures();
    for (figure, before) in figures.iter_mut().zip(before) {
        *figure -= before;
    }
    let [pages, posts, sent_again, split] = figures;
    writeln!(
        stderr(),
        "to {what}: {pages} pages, {split} of their counts were split; \
         {posts} logins and logouts, {sent_again} of them sent again"
    )
    .ok();
    assert_nobody_is_back(instances, &tally.logged_out.lock().unwrap());
    split
}

/// With no cookie of somebody who has logged out, on one instance each: all run the same release.
fn assert_nobody_is_back(instances: &[Instance], cookies: &[String]) {
    for (cookie, instance) in cookies.iter().zip(instances.iter().cycle()) {
        let thief = Visitor::with_cookie(&instance.url(), cookie);
        assert_eq!(thief.refresh(), "nobody");
    }
}

#[test]
fn a_rolling_deploy_of_processes_behind_nginx_logs_nobody_out_and_nobody_in() {
    let [built_in, canary, adopting] = &ONE_CONNECTION.builds;
    let redis = Server::start();
    let mut instances = [(); INSTANCES].map(|()| built_in.start(&redis));
    let nginx = Nginx::start(&instances.each_ref().map(Instance::address));
    let (tally, over) = (&Tally::new(), &AtomicBool::new(false));
    thread::scope(|scope| {
        let _over = Over(over);
        for (i, pages) in tally.pages.iter().enumerate() {
            let mut regular = Regular {
                visitor: Visitor::new(&nginx.url()),
                name: format!("visitor{i}"),
                is_logged_in: false,
                visits: 0,
                tally,
                pages,
            };
            scope.spawn(move || regular.stay(over));
        }
        tally.wait(over);
        let mut to = |what, build| roll_out((what, build), &redis, &mut instances, tally, over);
        // One layout.
        assert_eq!(to("the canary", canary), 0);
        to("adopting", adopting);
        to("the canary, back", canary);
        assert_eq!(to("the built-in, back", built_in), 0);
    });
}
