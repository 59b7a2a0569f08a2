use actix_session::Session;

/// The first two are no more than fields, the others are counters.
pub(super) const FIELDS: [&str; 4] = ["a", "b", "m", "n"];
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
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    /// Updates the session, if there is a change.
    Answer,
    Renew,
    Purge,
}

impl Plan {
    pub(super) fn carry_out(&self, lane: usize, session: &Session) {
        for change in &self.changes {
            match *change {
                Change::Set(field) => session.insert(field, lane + 1).unwrap(),
                Change::Remove(field) => drop(session.remove(field)),
                Change::Add(field, n) => {
                    let value: i64 = session.get(field).unwrap().unwrap_or(0);
                    session.insert(field, value + n).unwrap();
                }
            }
        }
        match self.end {
            End::Answer => {}
            End::Renew => session.renew(),
            End::Purge => session.purge(),
        }
    }
}
