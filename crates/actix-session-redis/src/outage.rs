//! Whether Redis is away, as far as one thread knows, and who may go and look.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync, time::Instant};

use crate::{bulletin::Bulletin, error::Fault};

/// Lets every operation through while Redis answers. Once one has found it away for a whole
/// deadline, lets a single one through at a time, the probe, and fails the others at once, until
/// a probe is answered.
///
/// A thread that had nothing to do since then knows no more: Redis may long be back. There, all
/// are let through again.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    probe: sync::Mutex<()>,
    bulletin: Arc<Bulletin>,
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

impl Gate {
    pub(crate) fn new(bulletin: Arc<Bulletin>) -> Self {
        Self {
            bulletin,
            ..Self::default()
        }
    }

    /// # Errors
    ///
    /// In an outage, while there is a probe under way: what the outage was found by.
    pub(crate) fn admit(&self) -> Result<Admission<'_>, Fault> {
        let state = self.state();
        let probe = match &state.outage {
            None => None,
            Some(outage) => match self.probe.try_lock() {
                Err(_) => return Err(outage.fault.clone()),
                Ok(_) if outage.is_old() => None,
                Ok(probe) => Some(probe),
            },
        };
        Ok(Admission {
            gate: self,
            answers_before: state.answers,
            findings_before: state.findings,
            ends_before: self.bulletin.ends(),
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
    findings_before: u64,
    ends_before: u64,
    probe: Option<sync::MutexGuard<'a, ()>>,
}

impl Admission<'_> {
    /// The outage that another operation has found since this one was let through.
    pub(crate) fn revoked(&self) -> Option<Fault> {
        if self.probe.is_some() {
            return None;
        }
        let state = self.gate.state();
        let outage = state.outage.as_ref();
        outage
            .filter(|_| state.findings > self.findings_before)
            .map(|outage| outage.fault.clone())
    }

    pub(crate) fn answered(&mut self) {
        self.probe = None;
        let mut state = self.gate.state();
        state.answers += 1;
        self.gate.bulletin.answered(state.outage.take().is_some());
    }

    /// The deadline has passed without an answer. That makes an outage unless others had answers
    /// meanwhile, or Redis only refuses this kind of command.
    pub(crate) fn gave_up(&self, fault: &Fault) {
        let mut state = self.gate.state();
        if fault.is_outage() && state.answers == self.answers_before {
            state.findings += 1;
            state.outage = Some(Outage {
                fault: fault.clone(),
                found: Instant::now(),
            });
            self.gate.bulletin.found_away(fault, self.ends_before);
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

    #[actix_web::test]
    async fn what_an_idle_thread_knows_of_an_outage_grows_old() {
        tokio::time::pause();
        let gate = Gate::default();
        gate.admit().unwrap().gave_up(&Fault::no_answer());
        tokio::time::advance(Duration::from_secs(2)).await;

        let first = gate.admit().unwrap();
        let second = gate.admit().unwrap();
        assert!(first.revoked().is_none() && second.revoked().is_none());
        first.gave_up(&Fault::no_answer());
        assert!(second.revoked().is_some());
        let _probe = gate.admit().unwrap();
        assert!(gate.admit().is_err());
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
