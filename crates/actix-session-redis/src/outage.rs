//! Whether Redis is away, as far as one thread knows, and who may go and look.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync;

use crate::error::Fault;

/// Lets every operation through while Redis answers. Once one has found it away for a whole
/// deadline, lets a single one through at a time, the probe, and fails the others at once, until
/// a probe is answered.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    probe: sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// How many operations Redis has answered so far.
    answers: u64,
    outage: Option<Fault>,
}

impl Gate {
    /// # Errors
    ///
    /// In an outage, while there is a probe under way: what the outage began with.
    pub(crate) fn admit(&self) -> Result<Admission<'_>, Fault> {
        let state = self.state();
        let probe = match &state.outage {
            None => None,
            Some(outage) => Some(self.probe.try_lock().map_err(|_| outage.clone())?),
        };
        Ok(Admission {
            gate: self,
            answers_before: state.answers,
            probe,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An operation that was let through, and what came of it.
pub(crate) struct Admission<'a> {
    gate: &'a Gate,
    answers_before: u64,
    probe: Option<sync::MutexGuard<'a, ()>>,
}

impl Admission<'_> {
    /// The outage that another operation has found since this one was let through.
    pub(crate) fn revoked(&self) -> Option<Fault> {
        match self.probe {
            Some(_) => None,
            None => self.gate.state().outage.clone(),
        }
    }

    pub(crate) fn answered(&mut self) {
        self.probe = None;
        let mut state = self.gate.state();
        state.answers += 1;
        if state.outage.take().is_some() {
            tracing::warn!("Redis is available again");
        }
    }

    /// The deadline has passed without an answer. That makes an outage unless others had answers
    /// meanwhile, or Redis only refuses this kind of command.
    pub(crate) fn gave_up(&self, fault: &Fault) {
        let mut state = self.gate.state();
        if fault.is_outage() && state.answers == self.answers_before {
            let known = state.outage.replace(fault.clone());
            if known.is_none() {
                tracing::warn!(%fault, "Redis is unavailable; failing fast until it is back");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_let_through_while_redis_answers() {
        let gate = Gate::default();
        let mut one = gate.admit().unwrap();
        let other = gate.admit().unwrap();
        one.answered();
        assert!(other.revoked().is_none());
    }

    #[test]
    fn an_outage_lets_one_probe_through_until_it_is_answered() {
        let gate = Gate::default();
        let waiting = gate.admit().unwrap();
        gate.admit().unwrap().gave_up(&Fault::no_answer());
        assert!(waiting.revoked().is_some());

        let probe = gate.admit().unwrap();
        assert!(probe.revoked().is_none());
        assert!(gate.admit().is_err());
        drop(probe);

        let mut probe = gate.admit().unwrap();
        probe.answered();
        assert!(gate.admit().is_ok());
        assert!(waiting.revoked().is_none());
    }

    #[test]
    fn one_slow_operation_among_answered_ones_is_no_outage() {
        let gate = Gate::default();
        let slow = gate.admit().unwrap();
        gate.admit().unwrap().answered();
        slow.gave_up(&Fault::no_answer());
        assert!(gate.admit().unwrap().revoked().is_none());
    }
}
