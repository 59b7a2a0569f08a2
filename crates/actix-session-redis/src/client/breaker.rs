//! The circuit breaker of a store: whether Redis answers at all.

use std::{
    mem::take,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{task::AbortHandle, time::Instant};

use crate::{error::Fault, lock::lock, telemetry::events};

/// Closed, it lets every operation through. It opens when an operation has waited for its deadline
/// (or for half of it, and its client has hung up) and Redis has answered nobody meanwhile: then
/// every operation fails at once. A task of its own makes trial calls: it is half-open while one is
/// under way, and no operation pays for that. The first answer, to whomever, closes it.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// Twice the number of answers so far, and one more while the circuit is not closed: all that an
    /// operation looks at while Redis answers.
    answers: AtomicU64,
    state: Mutex<State>,
    /// After so long without a sign of life, nobody drives the runtime of the trial any more.
    overdue: Duration,
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
    HalfOpen(Outage),
}

#[derive(Debug)]
struct Outage {
    fault: Fault,
    trial: Trial,
    sign_of_life: Instant,
}

/// The task that makes the trial calls, if there was a runtime to start it on.
pub(crate) type Trial = Option<AbortHandle>;

impl Breaker {
    pub(crate) fn new(overdue: Duration) -> Self {
        Self {
            overdue,
            ..Self::default()
        }
    }

    /// An error while the circuit is not closed: what opened it. If nothing comes of the trial any
    /// more, another one is started.
    pub(crate) fn admit(&self, start_trial: impl FnOnce() -> Trial) -> Result<Answers, Fault> {
        let answers = self.answers.load(Relaxed);
        if answers & NOT_CLOSED != 0
            && let State::Open(outage) | State::HalfOpen(outage) = &mut *lock(&self.state)
        {
            let is_overdue = outage.sign_of_life.elapsed() > self.overdue;
            if is_overdue || outage.trial.as_ref().is_none_or(AbortHandle::is_finished) {
                outage.trial.iter().for_each(AbortHandle::abort);
                outage.trial = start_trial();
                outage.sign_of_life = Instant::now();
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
        let mut state = lock(&self.state);
        self.answers.fetch_and(!NOT_CLOSED, Relaxed);
        let former = take(&mut *state);
        drop(state);
        if let State::Open(outage) | State::HalfOpen(outage) = former {
            outage.trial.iter().for_each(AbortHandle::abort);
            events::outage_ended();
        }
    }

    /// Opens the circuit, unless Redis has answered anybody since then.
    pub(crate) fn open(&self, fault: &Fault, since: Answers, start_trial: impl FnOnce() -> Trial) {
        let mut state = lock(&self.state);
        let (answers, Answers(before)) = (&self.answers, since);
        let opened = answers.compare_exchange(before, before | NOT_CLOSED, Relaxed, Relaxed);
        if opened.is_ok() {
            *state = State::Open(Outage {
                fault: fault.clone(),
                trial: start_trial(),
                sign_of_life: Instant::now(),
            });
            drop(state);
            events::outage_began(fault);
        }
    }

    /// A trial call begins, or has failed. `false` if there is nothing to try any more.
    pub(crate) fn trial_is_under_way(&self, is_it: bool) -> bool {
        let mut state = lock(&self.state);
        let (State::Open(mut outage) | State::HalfOpen(mut outage)) = take(&mut *state) else {
            return false;
        };
        outage.sign_of_life = Instant::now();
        let to = if is_it { State::HalfOpen } else { State::Open };
        *state = to(outage);
        true
    }
}
