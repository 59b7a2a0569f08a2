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
    pub(super) end: End,
    /// Whether it was told that there is no session.
    pub(super) is_refused: bool,
    pub(super) times: Times,
    pub(super) cookie: SessionCookie,
}

/// When, in turns, Redis was asked for a request's session; first asked to write its changes, and to
/// end its session; first heard to have ended it; and when all was done.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    pub(super) read_at: Option<usize>,
    wrote_at: Option<usize>,
    is_written: bool,
    pub(super) ended_at: Option<usize>,
    pub(super) told_at: Option<usize>,
    pub(super) done_at: usize,
    /// The Redis key of the session that it was to begin.
    pub(super) begun: Option<String>,
}

/// A command of a request that was carried out.
pub(super) struct Turn {
    pub(super) at: usize,
    pub(super) kind: Kind,
    pub(super) begins: Option<String>,
    /// A write that meets something else than it expects changes nothing, and comes again.
    pub(super) changes_session: bool,
    pub(super) reply_is_lost: bool,
}

impl Times {
    pub(super) fn note(&mut self, turn: Turn, end: End) {
        let at = Some(turn.at);
        self.begun = self.begun.take().or(turn.begins);
        match turn.kind {
            Kind::Reads => self.read_at = at,
            Kind::Writes if self.is_written => {}
            Kind::Writes if end == End::HangUp && !turn.changes_session => {}
            Kind::Writes => (self.wrote_at, self.is_written) = (at, turn.changes_session),
            Kind::Ends => {
                self.ended_at = self.ended_at.or(at);
                self.told_at = self.told_at.or(at.filter(|_| !turn.reply_is_lost));
            }
            Kind::Other => {}
        }
    }

    pub(super) fn done_at(mut self, at: usize) -> Self {
        self.done_at = at;
        self
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
            loaded,
            left,
            end: plan.end,
            is_refused: false,
            times: Times::default(),
            cookie,
        }
    }

    /// When its changes were written, if they were.
    pub(super) fn wrote_at(&self) -> Option<usize> {
        let is_written = !self.is_refused || self.times.is_written;
        self.times.wrote_at.filter(|_| is_written)
    }

    /// What it has written itself, into a session that holds nothing else.
    pub(super) fn own(&self) -> State {
        let mut own = self.left.clone();
        own.retain(|field, value| self.clears || self.loaded.get(field) != Some(value));
        own
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
