//! Whether Redis is away, as far as one thread knows, and who may go and look.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync, time::Instant};

use crate::{client::deadline::Deadline, client::transitions::Transitions, error::Fault};

/// Lets every operation through while Redis answers. Once one has found it away for a whole
/// deadline, lets a single one through at a time, the probe, and fails the others at once, until
/// a probe is answered.
///
/// A thread that had nothing to do since then knows no more: Redis may long be back. There, all
/// are let through again.
#[derive(Default)]
pub(crate) struct Breaker {
    state: Mutex<State>,
    probe: sync::Mutex<()>,
    transitions: Arc<Transitions>,
}

#[derive(Default)]
struct State {
    /// How many operations Redis has answered so far.
    answers: u64,
    outage: Option<Outage>,
    /// How many operations have found it away so far.
    findings: u64,
}

struct Outage {
    fault: Fault,
    found: Instant,
}

impl Outage {
    fn is_old(&self) -> bool {
        self.found.elapsed() >= Duration::from_secs(1)
    }
}

impl Breaker {
    pub(crate) fn new(transitions: Arc<Transitions>) -> Self {
        Self {
            transitions,
            ..Self::default()
        }
    }

    /// # Errors
    ///
    /// In an outage, while there is a probe under way: what the outage was found by.
    pub(crate) fn admit<'a>(&'a self, deadline: &'a Deadline) -> Result<Permit<'a>, Fault> {
        let state = self.state();
        let probe = match &state.outage {
            None => None,
            Some(outage) => match self.probe.try_lock() {
                Err(_) => return Err(outage.fault.clone()),
                Ok(_) if outage.is_old() => None,
                Ok(probe) => Some(probe),
            },
        };
        Ok(Permit {
            breaker: self,
            answers_before: state.answers,
            findings_before: state.findings,
            ends_before: self.transitions.ends(),
            probe,
            deadline,
            is_settled: false,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An operation that was let through, and what came of it.
pub(crate) struct Permit<'a> {
    breaker: &'a Breaker,
    answers_before: u64,
    findings_before: u64,
    ends_before: u64,
    probe: Option<sync::MutexGuard<'a, ()>>,
    deadline: &'a Deadline,
    is_settled: bool,
}

/// Whose client has hung up has found an outage as well, after half the deadline; or the outage is
/// known, and the next one is to look again.
impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let has_waited = self.deadline.left() <= self.deadline.part(2);
        if !self.is_settled && (has_waited || self.probe.is_some()) {
            self.gave_up(&Fault::no_answer());
        }
    }
}

impl Permit<'_> {
    /// The outage that another operation has found since this one was let through.
    pub(crate) fn revoked(&self) -> Option<Fault> {
        if self.probe.is_some() {
            return None;
        }
        let state = self.breaker.state();
        let outage = state.outage.as_ref();
        outage
            .filter(|_| state.findings > self.findings_before)
            .map(|outage| outage.fault.clone())
    }

    pub(crate) fn answered(&mut self) {
        self.probe = None;
        self.is_settled = true;
        let mut state = self.breaker.state();
        state.answers += 1;
        self.breaker
            .transitions
            .answered(state.outage.take().is_some());
    }

    /// The deadline has passed without an answer, which says nothing about Redis as a whole.
    pub(crate) fn learnt_nothing(&mut self) {
        self.is_settled = true;
    }

    /// The deadline has passed without an answer. That makes an outage unless others had answers
    /// meanwhile, or Redis only refuses this kind of command.
    pub(crate) fn gave_up(&mut self, fault: &Fault) {
        self.is_settled = true;
        let mut state = self.breaker.state();
        if fault.is_outage() && state.answers == self.answers_before {
            state.findings += 1;
            state.outage = Some(Outage {
                fault: fault.clone(),
                found: Instant::now(),
            });
            self.breaker.transitions.found_away(fault, self.ends_before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> Deadline {
        Deadline::new(Duration::from_secs(2))
    }

    #[test]
    fn everybody_is_let_through_while_redis_answers() {
        let breaker = Breaker::default();
        let deadline = fresh();
        let mut one = breaker.admit(&deadline).unwrap();
        let other = breaker.admit(&deadline).unwrap();
        one.answered();
        assert!(other.revoked().is_none());
    }

    #[test]
    fn an_outage_lets_one_probe_through_until_it_is_answered() {
        let breaker = Breaker::default();
        let deadline = fresh();
        let waiting = breaker.admit(&deadline).unwrap();
        breaker
            .admit(&deadline)
            .unwrap()
            .gave_up(&Fault::no_answer());
        assert!(waiting.revoked().is_some());

        let probe = breaker.admit(&deadline).unwrap();
        assert!(probe.revoked().is_none());
        assert!(breaker.admit(&deadline).is_err());
        drop(probe);

        let mut probe = breaker.admit(&deadline).unwrap();
        probe.answered();
        assert!(breaker.admit(&deadline).is_ok());
        assert!(waiting.revoked().is_none());
    }

    #[actix_web::test]
    async fn what_an_idle_thread_knows_of_an_outage_grows_old() {
        tokio::time::pause();
        let breaker = Breaker::default();
        let deadline = fresh();
        breaker
            .admit(&deadline)
            .unwrap()
            .gave_up(&Fault::no_answer());
        tokio::time::advance(Duration::from_secs(2)).await;

        let mut first = breaker.admit(&deadline).unwrap();
        let second = breaker.admit(&deadline).unwrap();
        assert!(first.revoked().is_none() && second.revoked().is_none());
        first.gave_up(&Fault::no_answer());
        assert!(second.revoked().is_some());
        let _probe = breaker.admit(&deadline).unwrap();
        assert!(breaker.admit(&deadline).is_err());
    }

    #[test]
    fn one_slow_operation_among_answered_ones_is_no_outage() {
        let breaker = Breaker::default();
        let deadline = fresh();
        let mut slow = breaker.admit(&deadline).unwrap();
        breaker.admit(&deadline).unwrap().answered();
        slow.gave_up(&Fault::no_answer());
        assert!(breaker.admit(&deadline).unwrap().revoked().is_none());
    }

    #[actix_web::test]
    async fn clients_that_hang_up_find_an_outage_too() {
        tokio::time::pause();
        let breaker = Breaker::default();
        let deadline = fresh();
        drop(breaker.admit(&deadline).unwrap());
        assert!(breaker.admit(&deadline).unwrap().probe.is_none());

        let waiting = breaker.admit(&deadline).unwrap();
        deadline
            .wait(Duration::from_secs(1), std::future::pending::<()>())
            .await;
        drop(waiting);
        let probe = breaker.admit(&deadline).unwrap();
        assert!(probe.probe.is_some());
        tokio::time::advance(Duration::from_secs(2)).await;
        drop(probe);
        let _next_probe = breaker.admit(&deadline).unwrap();
        assert!(breaker.admit(&deadline).is_err());
    }
}
