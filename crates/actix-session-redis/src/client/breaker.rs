//! The circuit breaker of a store: whether Redis answers at all.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::task::JoinHandle;

use super::deadline::Deadline;
use crate::{error::Fault, telemetry::events};

/// Closed, it lets every operation through. It opens when a deadline has passed in which Redis has
/// answered nobody; then every operation fails at once, and a task of its own makes trial calls.
/// The first answer, to whomever, closes it.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// Twice the number of answers so far, and one more while the circuit is not closed: all that
    /// an operation on a closed circuit looks at.
    answers: AtomicU64,
    state: Mutex<State>,
}

const ONE_ANSWER: u64 = 2;
const NOT_CLOSED: u64 = 1;

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Open(Outage),
    /// The trial call is under way.
    HalfOpen(Outage),
}

#[derive(Debug)]
struct Outage {
    fault: Fault,
    /// Makes the trial calls. None once nobody drives its runtime any more.
    trial: Option<JoinHandle<()>>,
}

impl Breaker {
    /// # Errors
    ///
    /// While the circuit is not closed: what opened it. If the task that makes the trial calls has
    /// ended with its runtime, `start_trial` starts another.
    pub(crate) fn permit<'a>(
        &'a self,
        deadline: &'a Deadline,
        start_trial: impl FnOnce() -> Option<JoinHandle<()>>,
    ) -> Result<Permit<'a>, Fault> {
        let answers_before = self.answers.load(Relaxed);
        if answers_before & NOT_CLOSED != 0
            && let State::Open(outage) | State::HalfOpen(outage) = &mut *self.state()
        {
            if outage.trial.as_ref().is_none_or(JoinHandle::is_finished) {
                outage.trial = start_trial();
            }
            return Err(outage.fault.clone());
        }
        Ok(Permit {
            answers_before: answers_before & !NOT_CLOSED,
            deadline,
        })
    }

    /// Redis has answered, whatever it said.
    pub(crate) fn answered(&self) {
        if self.answers.fetch_add(ONE_ANSWER, Relaxed) & NOT_CLOSED != 0 {
            self.close();
        }
    }

    /// Opens the circuit, unless Redis has answered anybody since the permit was given.
    pub(crate) fn open(
        &self,
        fault: &Fault,
        permit: &Permit<'_>,
        start_trial: impl FnOnce() -> Option<JoinHandle<()>>,
    ) {
        let mut state = self.state();
        let before = permit.answers_before;
        let opened = self
            .answers
            .compare_exchange(before, before | NOT_CLOSED, Relaxed, Relaxed);
        if opened.is_ok() {
            *state = State::Open(Outage {
                fault: fault.clone(),
                trial: start_trial(),
            });
            events::outage_began(fault);
        }
    }

    /// What opened the circuit, unless it is closed.
    pub(crate) fn outage(&self) -> Option<Fault> {
        if self.answers.load(Relaxed) & NOT_CLOSED == 0 {
            return None;
        }
        match &*self.state() {
            State::Closed => None,
            State::Open(outage) | State::HalfOpen(outage) => Some(outage.fault.clone()),
        }
    }

    /// A trial call begins. `false` if the circuit is closed: there is nothing to try any more.
    pub(crate) fn half_open(&self) -> bool {
        let mut state = self.state();
        *state = match std::mem::take(&mut *state) {
            State::Closed => State::Closed,
            State::Open(outage) | State::HalfOpen(outage) => State::HalfOpen(outage),
        };
        !matches!(*state, State::Closed)
    }

    /// The trial call had no answer.
    pub(crate) fn reopen(&self) {
        let mut state = self.state();
        *state = match std::mem::take(&mut *state) {
            State::HalfOpen(outage) => State::Open(outage),
            other => other,
        };
    }

    fn close(&self) {
        let mut state = self.state();
        if !matches!(*state, State::Closed) {
            *state = State::Closed;
            self.answers.fetch_and(!NOT_CLOSED, Relaxed);
            events::outage_ended();
        }
    }

    /// No code panics while it holds this lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An operation that was let through, and how often Redis had answered by then.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    answers_before: u64,
    deadline: &'a Deadline,
}

impl Permit<'_> {
    /// Whether it has waited so long that it may speak of an outage although it waits no longer:
    /// its client has hung up. Clients with less patience than the deadline would never open the
    /// circuit otherwise.
    pub(crate) fn has_waited(&self) -> bool {
        self.deadline.left() <= self.deadline.part(2)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn fresh() -> Deadline {
        Deadline::new(Duration::from_secs(2))
    }

    fn no_trial() -> Option<JoinHandle<()>> {
        None
    }

    fn open(breaker: &Breaker) {
        let deadline = fresh();
        let permit = breaker.permit(&deadline, no_trial).unwrap();
        breaker.open(&Fault::no_answer(), &permit, no_trial);
    }

    #[test]
    fn an_open_circuit_lets_nobody_through_until_redis_has_answered() {
        let breaker = Breaker::default();
        open(&breaker);
        assert!(breaker.permit(&fresh(), no_trial).is_err());
        assert!(breaker.half_open());
        assert!(breaker.permit(&fresh(), no_trial).is_err());
        breaker.reopen();
        assert!(breaker.permit(&fresh(), no_trial).is_err());
        breaker.answered();
        assert!(breaker.permit(&fresh(), no_trial).is_ok());
        assert!(!breaker.half_open());
    }

    #[test]
    fn one_slow_operation_among_answered_ones_opens_nothing() {
        let breaker = Breaker::default();
        let deadline = fresh();
        let slow = breaker.permit(&deadline, no_trial).unwrap();
        breaker.answered();
        breaker.open(&Fault::no_answer(), &slow, no_trial);
        assert!(breaker.outage().is_none());
    }

    #[test]
    fn what_was_let_through_before_an_outage_does_not_open_the_circuit_after_it() {
        let breaker = Breaker::default();
        let deadline = fresh();
        let late = breaker.permit(&deadline, no_trial).unwrap();
        open(&breaker);
        breaker.answered();
        breaker.open(&Fault::no_answer(), &late, no_trial);
        assert!(breaker.outage().is_none());
    }

    #[actix_web::test]
    async fn the_trial_is_started_anew_only_when_its_runtime_has_ended() {
        let breaker = Breaker::default();
        open(&breaker);
        let mut started = 0;
        for _ in 0..2 {
            let deadline = fresh();
            let fails = breaker.permit(&deadline, || {
                started += 1;
                Some(tokio::spawn(std::future::pending()))
            });
            assert!(fails.is_err());
        }
        assert_eq!(started, 1);
    }
}
