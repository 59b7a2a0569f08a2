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
    Open(Fault, Trial),
    /// A trial call is under way.
    HalfOpen(Fault, Trial),
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
            && let State::Open(fault, trial) | State::HalfOpen(fault, trial) = &mut *self.state()
        {
            if trial.as_ref().is_none_or(JoinHandle::is_finished) {
                *trial = start_trial();
            }
            return Err(fault.clone());
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
            events::outage_began(fault);
            *state = State::Open(fault.clone(), start_trial());
        }
    }

    /// What opened the circuit, unless it is closed.
    pub(crate) fn outage(&self) -> Option<Fault> {
        if self.answers.load(Relaxed) & NOT_CLOSED == 0 {
            return None;
        }
        match &*self.state() {
            State::Closed => None,
            State::Open(fault, _) | State::HalfOpen(fault, _) => Some(fault.clone()),
        }
    }

    /// A trial call begins, or has ended without an answer. `false` if the circuit is closed.
    pub(crate) fn half_open(&self, is_half: bool) -> bool {
        let mut state = self.state();
        *state = match std::mem::take(&mut *state) {
            State::Closed => return false,
            State::Open(fault, trial) if is_half => State::HalfOpen(fault, trial),
            State::HalfOpen(fault, trial) if !is_half => State::Open(fault, trial),
            state => state,
        };
        true
    }

    /// No code panics while it holds this lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
