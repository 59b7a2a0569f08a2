use std::time::Duration;

use crate::{experiment::Pace, memory::Milestones};

/// How much is measured.
#[derive(Debug)]
pub(crate) struct Extent {
    pub(crate) pace: Pace,
    pub(crate) rounds: usize,
    pub(crate) rounds_of_sweeps: usize,
    pub(crate) many_sessions: usize,
    pub(crate) typical_sessions: usize,
    pub(crate) sessions_of_user: &'static [usize],
    pub(crate) milestones: Milestones,
}

pub(crate) const FULL: Extent = Extent {
    pace: Pace {
        warm_up: Duration::from_millis(500),
        round: Duration::from_millis(500),
    },
    rounds: 25,
    rounds_of_sweeps: 9,
    many_sessions: 1_000_000,
    typical_sessions: 10_000,
    sessions_of_user: &[1, 100, 10_000],
    milestones: Milestones {
        first: 10_000,
        last: 1_000_000,
    },
};

pub(crate) const QUICK: Extent = Extent {
    pace: Pace {
        warm_up: Duration::from_millis(50),
        round: Duration::from_millis(200),
    },
    rounds: 1,
    rounds_of_sweeps: 1,
    many_sessions: 20_000,
    typical_sessions: 500,
    sessions_of_user: &[1, 100],
    milestones: Milestones {
        first: 1_000,
        last: 10_000,
    },
};
