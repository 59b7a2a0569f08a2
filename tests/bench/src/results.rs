use crate::{
    contender::Contender,
    contention::Contention,
    experiment::{Finding, Findings},
    figures::{Round, Spread},
    memory::Growth,
    setting::Route,
    writes::Cost,
};

/// Everything that a run has found out.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) counter: Findings,
    pub(crate) read: Findings,
    pub(crate) sliding: Findings,
    pub(crate) state_sizes: Findings,
    pub(crate) sessions: Findings,
    pub(crate) one_session: Findings,
    pub(crate) delayed: Findings,
    pub(crate) sealed: Findings,
    pub(crate) contention: Vec<Contention>,
    pub(crate) writes: Vec<Cost>,
    pub(crate) memory: Vec<Growth>,
}

/// The findings for one route, where settings are labelled with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Of<'a>(pub(crate) &'a Findings, pub(crate) Route);

impl Of<'_> {
    pub(crate) fn find(&self, contender: Contender) -> Option<&Finding> {
        self.0.of(contender, &self.1.to_string())
    }

    pub(crate) fn ratio(
        &self,
        this: Contender,
        that: Contender,
        value: impl Fn(&Round) -> f64,
    ) -> Option<Spread> {
        Some(self.find(this)?.ratio(self.find(that)?, value))
    }

    pub(crate) fn waits(&self, contender: Contender) -> Option<Spread> {
        Some(self.find(contender)?.waits(self.find(Contender::Nothing)?))
    }
}
