//! What a store says of outages: that one has begun, and that it has ended, once each, however
//! many requests and threads are in it.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{error::Fault, telemetry};

/// Each thread finds out by itself that Redis is away, and that it is back. The first to find it
/// away begins the outage that is spoken of, and the first of these to be answered ends it.
///
/// They may have nothing to do when Redis is back, or have ended. So the answers that others get
/// count as well, once nobody has found it away for so long that somebody would have, had anybody
/// looked.
#[derive(Default)]
pub(crate) struct Transitions {
    looked_by_then: Duration,
    /// How often it has changed between outage and none: odd in an outage.
    changes: AtomicU64,
    last_found: Mutex<Option<Instant>>,
}

impl Transitions {
    pub(crate) fn new(deadline: Duration) -> Self {
        Self {
            looked_by_then: deadline + Duration::from_secs(1),
            ..Self::default()
        }
    }

    /// How many outages have ended so far.
    pub(crate) fn ends(&self) -> u64 {
        self.changes.load(Relaxed) / 2
    }

    /// One that began before the last outage ended has no news.
    pub(crate) fn found_away(&self, fault: &Fault, ends_before: u64) {
        let mut last_found = self.last_found();
        if self.ends() == ends_before && last_found.replace(Instant::now()).is_none() {
            self.changes.fetch_add(1, Relaxed);
            telemetry::events::outage_began(fault);
        }
    }

    /// `away`: to a thread that had found Redis away.
    pub(crate) fn answered(&self, away: bool) {
        // Everybody comes by here, and hardly ever in an outage.
        if self.changes.load(Relaxed).is_multiple_of(2) {
            return;
        }
        let mut last_found = self.last_found();
        let is_over = |found: &mut Instant| away || found.elapsed() >= self.looked_by_then;
        if last_found.take_if(is_over).is_some() {
            self.changes.fetch_add(1, Relaxed);
            telemetry::events::outage_ended();
        }
    }

    fn last_found(&self) -> MutexGuard<'_, Option<Instant>> {
        let last_found = self.last_found.lock();
        last_found.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_out(transitions: &Transitions) -> bool {
        transitions.last_found().is_some()
    }

    #[test]
    fn one_outage_however_many_threads_find_it() {
        let transitions = Transitions::new(Duration::from_secs(2));
        let fault = Fault::no_answer();
        transitions.found_away(&fault, 0);
        transitions.found_away(&fault, 0);
        assert_eq!(transitions.changes.load(Relaxed), 1);
        transitions.answered(true);
        transitions.answered(true);
        assert_eq!(transitions.changes.load(Relaxed), 2);
    }

    #[test]
    fn who_has_waited_since_before_the_end_begins_no_new_outage() {
        let transitions = Transitions::new(Duration::from_secs(2));
        transitions.found_away(&Fault::no_answer(), 0);
        transitions.answered(true);
        transitions.found_away(&Fault::no_answer(), 0);
        assert!(!is_out(&transitions));
        transitions.found_away(&Fault::no_answer(), transitions.ends());
        assert!(is_out(&transitions));
    }

    #[actix_web::test]
    async fn others_end_the_outage_of_a_thread_that_looks_no_more() {
        tokio::time::pause();
        let transitions = Transitions::new(Duration::from_secs(2));
        transitions.found_away(&Fault::no_answer(), 0);
        transitions.answered(false);
        assert!(is_out(&transitions), "one thread cannot reach Redis");
        tokio::time::advance(Duration::from_secs(3)).await;
        transitions.answered(false);
        assert!(!is_out(&transitions));
    }
}
