use actix_session::Session;

use crate::support::sessions::State;

/// `a` and `b` are no more than fields.
pub(super) const COUNTERS: [&str; 2] = ["m", "n"];

/// Of these, `m` is missing; nobody changes the last one.
pub(super) const AT_FIRST: [(&str, &str); 4] =
    [("a", "0"), ("b", "0"), ("n", "100"), ("anchor", "0")];

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) changes: Vec<Change>,
    pub(super) end: End,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// To a value that no other request sets.
    Set(&'static str),
    Remove(&'static str),
    Add(&'static str, i64),
    Clear,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    /// Updates the session, if there is a change.
    Answer,
    Renew,
    Purge,
    /// Not a request, but `modify` from outside.
    Modify,
    /// The client hangs up while Redis carries out the write.
    HangUp,
}

/// What happens to the Redis keys of the first session meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    /// As when it is evicted, or an operator removes it.
    SessionRemoved,
    TombstoneEvicted,
    /// So much that nobody counts as late any more.
    TimePasses,
}

impl Plan {
    pub(super) fn without_counters(mut self) -> Self {
        self.changes
            .retain(|change| !matches!(change, Change::Add(..)));
        self
    }

    pub(super) fn removes(&self, field: &str) -> bool {
        self.changes.iter().any(|change| match *change {
            Change::Clear => true,
            Change::Remove(removed) => removed == field,
            Change::Set(_) | Change::Add(..) => false,
        })
    }

    /// The same to a state.
    pub(super) fn modify(&self, lane: usize, state: &mut State) {
        for change in &self.changes {
            match *change {
                Change::Set(field) => drop(state.insert(field.into(), (lane + 1).to_string())),
                Change::Remove(field) => drop(state.remove(field)),
                Change::Clear => state.clear(),
                Change::Add(field, n) => {
                    let value: i64 = state.get(field).map_or(0, |value| value.parse().unwrap());
                    state.insert(field.into(), (value + n).to_string());
                }
            }
        }
    }

    pub(super) fn carry_out(&self, lane: usize, session: &Session) {
        for change in &self.changes {
            match *change {
                Change::Set(field) => session.insert(field, lane + 1).unwrap(),
                Change::Remove(field) => drop(session.remove(field)),
                Change::Clear => session.clear(),
                Change::Add(field, n) => {
                    let value: i64 = session.get(field).unwrap().unwrap_or(0);
                    session.insert(field, value + n).unwrap();
                }
            }
        }
        match self.end {
            End::Answer | End::Modify | End::HangUp => {}
            End::Renew => session.renew(),
            End::Purge => session.purge(),
        }
    }
}
