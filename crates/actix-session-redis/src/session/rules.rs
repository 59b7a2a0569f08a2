//! What the application has declared of its sessions.

use std::sync::atomic::AtomicBool;

use super::{
    changes::MergeRules,
    details::Policy,
    state::{State, size},
};
use crate::{error::Error, telemetry::events};

#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) max_state_bytes: usize,
    pub(crate) merge_rules: MergeRules,
    pub(crate) policy: Policy,
    /// Whether sessions are prolonged here without being written. Only then it pays to ask for
    /// their TTL when they are read.
    pub(crate) refreshes: AtomicBool,
}

impl Rules {
    pub(crate) fn new(max_state_bytes: usize, merge_rules: MergeRules, policy: Policy) -> Self {
        Self {
            max_state_bytes,
            merge_rules,
            policy,
            refreshes: AtomicBool::new(false),
        }
    }

    pub(super) fn check_size(&self, state: &State) -> Result<(), Error> {
        let (bytes, limit) = (size(state), self.max_state_bytes);
        events::state_written(bytes);
        match bytes > limit {
            true => Err(Error::StateTooLarge { bytes, limit }),
            false => Ok(()),
        }
    }
}
