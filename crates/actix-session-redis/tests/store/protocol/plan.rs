use std::time::Duration;

use actix_session::Session;

use crate::support::sessions::{HOUR, State};

/// How long a request may ask Redis.
pub(super) const DEADLINE: Duration = Duration::from_secs(2 * 60);

/// Whoever comes later than that after the end of a session knows of it.
pub(super) const LATE: Duration = Duration::from_secs(10);

/// How long the last state of a session is kept that was renewed: for a retry that is late.
pub(super) const LAST_STATE: Duration = Duration::from_secs(60).saturating_add(DEADLINE);

pub(super) const TOMBSTONE: Duration = Duration::from_secs(5 * 60);

/// How long a session lives that nobody writes or prolongs.
pub(super) const SESSION: Duration = HOUR.unsigned_abs();

/// `a` and `b` are no more than fields.
pub(super) const COUNTERS: [&str; 2] = ["m", "n"];

/// Of what the first session holds: `m` is missing; nobody sets the last one.
pub(super) fn at_first() -> State {
    let fields = [("a", "0"), ("b", "0"), ("n", "100"), ("anchor", "0")];
    fields
        .map(|(field, value)| (field.into(), value.into()))
        .into()
}

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
    /// Of a visitor without a cookie: his session begins.
    Save,
    /// Not a request, but `update_ttl` from outside.
    UpdateTtl,
}

/// What happens to Redis keys meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    /// The first one: as when it is evicted, or an operator removes it.
    SessionRemoved,
    /// All that have begun since.
    OtherSessionsRemoved,
    /// That of the first session.
    TombstoneEvicted,
    /// The same.
    LastStateEvicted,
    /// For all keys.
    TimePasses(Duration),
}

pub(super) const EVENTS: [Event; 8] = [
    Event::SessionRemoved,
    Event::OtherSessionsRemoved,
    Event::TombstoneEvicted,
    Event::LastStateEvicted,
    Event::TimePasses(LATE),
    Event::TimePasses(LAST_STATE),
    Event::TimePasses(TOMBSTONE),
    Event::TimePasses(SESSION),
];

impl Event {
    pub(super) fn removes_the_first_session(self) -> bool {
        self == Self::SessionRemoved || self.time() >= SESSION
    }

    pub(super) fn removes_other_sessions(self) -> bool {
        self == Self::OtherSessionsRemoved || self.time() >= SESSION
    }

    pub(super) fn time(self) -> Duration {
        match self {
            Self::TimePasses(time) => time,
            _ => Duration::ZERO,
        }
    }
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
            End::Answer | End::HangUp | End::Save | End::Modify | End::UpdateTtl => {}
            End::Renew => session.renew(),
            End::Purge => session.purge(),
        }
    }
}
