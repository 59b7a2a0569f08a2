//! The circuit breaker of a store: whether Redis answers at all.

use std::{
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
/// every operation fails at once. It is never half-open, for no operation pays for a trial: a task
/// of its own makes the calls. The first answer, to whomever, closes it.
#[derive(Debug)]
pub(crate) struct Breaker {
    /// Twice the number of answers so far, and one more while the circuit is open: all that an
    /// operation looks at while Redis answers.
    answers: AtomicU64,
    /// While the circuit is open.
    outage: Mutex<Option<Outage>>,
    /// After so long without a sign of life, nobody drives the runtime of the trial any more.
    overdue: Duration,
}

/// How often Redis has answered when an operation was let through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answers(u64);

const ONE_ANSWER: u64 = 2;
const OPEN: u64 = 1;

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
            answers: AtomicU64::new(0),
            outage: Mutex::default(),
            overdue,
        }
    }

    /// An error while the circuit is open: what opened it. If nothing comes of the trial any more,
    /// another one is started.
    pub(crate) fn admit(&self, start_trial: impl FnOnce() -> Trial) -> Result<Answers, Fault> {
        let answers = self.answers.load(Relaxed);
        if answers & OPEN != 0
            && let Some(outage) = &mut *lock(&self.outage)
        {
            let is_overdue = outage.sign_of_life.elapsed() > self.overdue;
            if is_overdue || outage.trial.as_ref().is_none_or(AbortHandle::is_finished) {
                outage.trial.iter().for_each(AbortHandle::abort);
                outage.trial = start_trial();
                outage.sign_of_life = Instant::now();
            }
            return Err(outage.fault.clone());
        }
        Ok(Answers(answers & !OPEN))
    }

    /// Redis has answered, whatever it said.
    pub(crate) fn answered(&self) {
        if self.answers.fetch_add(ONE_ANSWER, Relaxed) & OPEN == 0 {
            return;
        }
        let mut outage = lock(&self.outage);
        self.answers.fetch_and(!OPEN, Relaxed);
        let ended = outage.take();
        drop(outage);
        if let Some(Outage { trial, .. }) = ended {
            trial.iter().for_each(AbortHandle::abort);
            events::outage_ended();
        }
    }

    /// Opens the circuit, unless Redis has answered anybody since then.
    pub(crate) fn open(&self, fault: &Fault, since: Answers, start_trial: impl FnOnce() -> Trial) {
        let mut outage = lock(&self.outage);
        let (answers, Answers(before)) = (&self.answers, since);
        let opened = answers.compare_exchange(before, before | OPEN, Relaxed, Relaxed);
        if opened.is_ok() {
            *outage = Some(Outage {
                fault: fault.clone(),
                trial: start_trial(),
                sign_of_life: Instant::now(),
            });
            drop(outage);
            events::outage_began(fault);
        }
    }

    /// A sign of life. `false` if there is nothing to try any more.
    pub(crate) fn trial_goes_on(&self) -> bool {
        let mut outage = lock(&self.outage);
        if let Some(outage) = &mut *outage {
            outage.sign_of_life = Instant::now();
        }
        outage.is_some()
    }
}
