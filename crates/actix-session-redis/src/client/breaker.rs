//! The circuit breaker of a store: whether Redis answers at all.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::task::JoinHandle;

use crate::{error::Fault, telemetry::events};

/// Closed, it lets every operation through. It opens when a deadline has passed in which Redis has
/// answered nobody; then every operation fails at once, and a task of its own makes trial calls.
/// The first answer, to whomever, closes it.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// Twice the number of answers so far, and one more while the circuit is not closed: all that
    /// an operation looks at while Redis answers.
    answers: AtomicU64,
    state: Mutex<State>,
}

/// How often Redis has answered when an operation was let through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answers(u64);

const ONE_ANSWER: u64 = 2;
const NOT_CLOSED: u64 = 1;

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Open(Outage),
    /// A trial call is under way.
    HalfOpen(Outage),
}

#[derive(Debug)]
struct Outage {
    fault: Fault,
    trial: Trial,
}

/// The task that makes the trial calls, if there was a runtime to start it on.
pub(crate) type Trial = Option<JoinHandle<()>>;

impl Breaker {
    /// # Errors
    ///
    /// While the circuit is not closed: what opened it. If the trial has ended with its runtime,
    /// another one is started.
    pub(crate) fn admit(&self, start_trial: impl FnOnce() -> Trial) -> Result<Answers, Fault> {
        let answers = self.answers.load(Relaxed);
        if answers & NOT_CLOSED != 0
            && let State::Open(outage) | State::HalfOpen(outage) = &mut *self.state()
        {
            if outage.trial.as_ref().is_none_or(JoinHandle::is_finished) {
                outage.trial = start_trial();
            }
            return Err(outage.fault.clone());
        }
        Ok(Answers(answers & !NOT_CLOSED))
    }

    /// Redis has answered, whatever it said.
    pub(crate) fn answered(&self) {
        if self.answers.fetch_add(ONE_ANSWER, Relaxed) & NOT_CLOSED == 0 {
            return;
        }
        let mut state = self.state();
        if !matches!(*state, State::Closed) {
            *state = State::Closed;
            self.answers.fetch_and(!NOT_CLOSED, Relaxed);
            events::outage_ended();
        }
    }

    /// Opens the circuit, unless Redis has answered anybody since then.
    pub(crate) fn open(
        &self,
        fault: &Fault,
        Answers(before): Answers,
        start_trial: impl FnOnce() -> Trial,
    ) {
        let mut state = self.state();
        let open = before | NOT_CLOSED;
        let opened = self
            .answers
            .compare_exchange(before, open, Relaxed, Relaxed);
        if opened.is_ok() {
            let (fault, trial) = (fault.clone(), start_trial());
            events::outage_began(&fault);
            *state = State::Open(Outage { fault, trial });
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

    /// A trial call begins, or has ended without an answer. `false` if the circuit is closed.
    pub(crate) fn half_open(&self, is_half: bool) -> bool {
        let mut state = self.state();
        *state = match (std::mem::take(&mut *state), is_half) {
            (State::Closed, _) => return false,
            (State::Open(outage) | State::HalfOpen(outage), true) => State::HalfOpen(outage),
            (State::Open(outage) | State::HalfOpen(outage), false) => State::Open(outage),
        };
        true
    }

    /// No code panics while it holds this lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(breaker: &Breaker, since: Answers) -> bool {
        breaker.open(&Fault::no_answer(), since, || None);
        breaker.outage().is_some()
    }

    #[test]
    fn an_open_circuit_lets_nobody_through_until_redis_has_answered() {
        let breaker = Breaker::default();
        assert!(open(&breaker, breaker.admit(|| None).unwrap()));
        for is_half in [true, false] {
            assert!(breaker.half_open(is_half));
            assert!(breaker.admit(|| None).is_err());
        }
        breaker.answered();
        assert!(breaker.admit(|| None).is_ok());
        assert!(!breaker.half_open(true));
    }

    #[test]
    fn an_answer_since_it_was_let_through_keeps_an_operation_from_opening_the_circuit() {
        let breaker = Breaker::default();
        let late = breaker.admit(|| None).unwrap();
        assert!(open(&breaker, late));
        breaker.answered();
        assert!(!open(&breaker, late));
    }
}
