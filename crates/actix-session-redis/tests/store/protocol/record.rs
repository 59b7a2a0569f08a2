use std::collections::BTreeSet;

use super::{
    lane::Kind,
    plan::{COUNTERS, End, Plan},
};
use crate::support::{
    app::SessionCookie,
    sessions::{State, hash_of, session_key},
};

/// What came of a request.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) loaded: State,
    pub(super) left: State,
    pub(super) clears: bool,
    /// Whether it was to clear the session, whatever it was told that came of it.
    pub(super) may_clear: bool,
    pub(super) end: End,
    pub(super) times: Times,
    pub(super) cookie: SessionCookie,
}

/// When, in turns, Redis was asked for a request's session; first asked to write its changes, and to
/// end its session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    pub(super) read_at: Option<usize>,
    pub(super) wrote_at: Option<usize>,
    pub(super) ended_at: Option<usize>,
    is_written: bool,
}

impl Times {
    /// A write that meets something else than it expects is not carried out, and comes again.
    pub(super) fn note(&mut self, kind: Kind, end: End, now: usize, is_carried_out: bool) {
        match kind {
            Kind::Reads => self.read_at = Some(now),
            // What `modify` has written first may have met something else.
            Kind::Writes if end == End::Modify => self.wrote_at = Some(now),
            Kind::Writes if self.is_written => {}
            Kind::Writes if end == End::HangUp && !is_carried_out => {}
            Kind::Writes => (self.wrote_at, self.is_written) = (Some(now), is_carried_out),
            Kind::Ends => drop(self.ended_at.get_or_insert(now)),
            Kind::Other => {}
        }
    }
}

pub(super) fn number(state: &State, field: &str) -> i64 {
    state.get(field).map_or(0, |value| value.parse().unwrap())
}

impl Record {
    pub(super) fn of(plan: &Plan, loaded: State, left: State, cookie: SessionCookie) -> Self {
        Self {
            // To remove all that was loaded is to clear it; to set all of it anew is not.
            // (`modify` may come before what it has not seen.)
            clears: plan.end != End::Modify
                && loaded.keys().all(|field| plan.removes(field))
                && loaded.keys().any(|field| !left.contains_key(field)),
            may_clear: plan.removes("anchor"),
            loaded,
            left,
            end: plan.end,
            times: Times::default(),
            cookie,
        }
    }

    /// What it has changed.
    pub(super) fn write(&self, state: &mut State) {
        if self.clears {
            *state = self.left.clone();
            return;
        }
        let fields = self.loaded.keys().chain(self.left.keys());
        for field in fields.collect::<BTreeSet<_>>() {
            match (self.loaded.get(field), self.left.get(field)) {
                (before, after) if before == after => {}
                (_, None) => drop(state.remove(field)),
                (_, Some(_)) if COUNTERS.contains(&&**field) => {
                    let difference = number(&self.left, field) - number(&self.loaded, field);
                    let sum = number(state, field) + difference;
                    state.insert(field.to_owned(), sum.to_string());
                }
                (_, Some(after)) => drop(state.insert(field.to_owned(), after.clone())),
            }
        }
    }

    /// The Redis key of the session that the cookie names.
    pub(super) fn names(&self) -> Option<String> {
        match &self.cookie {
            SessionCookie::Names(key) => Some(hash_of(&session_key(key))),
            _ => None,
        }
    }
}
