use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
};

use testbed::{Page, eventually_holds};

/// How many answers of a kind make up for those that were under way before.
const ENOUGH: usize = 20;

/// Visitors, and what answers they get.
#[derive(Default)]
pub(super) struct Crowd {
    expects_service: bool,
    /// How many with 200, and how many others.
    answers: [AtomicUsize; 2],
    is_over: AtomicBool,
}

impl Crowd {
    /// Who has no trouble.
    pub(super) fn that_is_served() -> Self {
        Self {
            expects_service: true,
            ..Self::default()
        }
    }

    /// Who comes again and again while there is trouble.
    pub(super) fn meanwhile(visits: &[&(dyn Fn(&Self) + Sync)], trouble: impl FnOnce(&Self)) {
        let crowd = Self::default();
        thread::scope(|scope| {
            for visit in visits {
                scope.spawn(|| {
                    while !crowd.is_over.load(Relaxed) {
                        visit(&crowd);
                    }
                });
            }
            // Also when it panics, or the test would never end.
            let _over = Over(&crowd.is_over);
            trouble(&crowd);
        });
    }

    pub(super) fn expects_service(&self) -> bool {
        self.expects_service
    }

    pub(super) fn note(&self, answer: &Page) {
        let is_served = answer.status == 200;
        let is_away = answer.status == 503 && !self.expects_service;
        assert!(is_served || is_away, "{answer:?}");
        self.answers[usize::from(!is_served)].fetch_add(1, Relaxed);
    }

    pub(super) fn is_served(&self) {
        self.has_more_of(0, "the crowd is served");
    }

    pub(super) fn is_refused(&self) {
        self.has_more_of(1, "the crowd is refused");
    }

    fn has_more_of(&self, kind: usize, what: &str) {
        let before = self.answers[kind].load(Relaxed);
        eventually_holds(what, || self.answers[kind].load(Relaxed) >= before + ENOUGH);
    }
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
