//! The fields of the hash that a session is: those of its state, and a few of ours.

use std::str;

use deadpool_redis::redis::{Cmd, Value};

use crate::{
    client::Failure,
    session::{
        changes::Guarded,
        details::{Details, OwnChanges},
        index::Owner,
        script::out_of_step,
        state::{State, load_field},
    },
};

/// When the session has begun, in milliseconds since 1970.
pub(super) const BORN: &[u8] = b"\xFFborn";

/// The Redis key of the copy that the session has in the layout of the store built into
/// actix-session, if it has one.
pub(super) const COPY: &[u8] = b"\xFFcopy";

/// With which bytes the names of our own fields begin: no name of the application's does, for they
/// are UTF-8. `fields.lua` knows them, too.
const OURS: u8 = 0xFF;

/// What is told of the session by fields of ours.
#[derive(Default)]
pub(crate) struct OwnFields {
    pub(crate) is_born: bool,
    pub(crate) has_copy: bool,
    pub(crate) details: Details,
}

impl OwnFields {
    pub(super) fn note(&mut self, field: &[u8], value: &[u8]) {
        if field == BORN {
            self.is_born = true;
            let born = str::from_utf8(value).ok();
            self.details.born_ms = born.and_then(|born| born.parse().ok());
        }
        self.has_copy |= field == COPY;
        self.details.read(field, value);
    }
}

/// From the reply to [`HGETALL`](https://redis.io/docs/latest/commands/hgetall/).
///
/// # Errors
///
/// [`Error::Unreadable`] when something in it is not UTF-8. That it is no hash at all says nothing of
/// the session: the connection is out of step, and what it brings is the reply to something else.
pub(crate) fn understand(fields: Value) -> Result<(State, OwnFields), Failure> {
    let (mut state, mut ours) = (State::new(), OwnFields::default());
    for pair in fields.into_map_iter().map_err(|_| out_of_step())? {
        let (Value::BulkString(field), Value::BulkString(value)) = pair else {
            return Err(out_of_step());
        };
        if field.first() == Some(&OURS) {
            ours.note(&field, &value);
        } else {
            load_field(&mut state, &field, value).map_err(Failure::Permanent)?;
        }
    }
    Ok((state, ours))
}

pub(super) fn add_fields<'a>(
    command: &mut Cmd,
    fields: impl Iterator<Item = (&'a str, impl AsRef<str>)>,
) {
    for (name, json) in fields {
        command.arg(name).arg(json.as_ref());
    }
}

pub(super) fn add_own_fields(command: &mut Cmd, own: &OwnChanges) {
    for (name, value) in own {
        if let Some(value) = value {
            command.arg(name).arg(value);
        }
    }
}

pub(super) fn removed_own(own: &OwnChanges) -> Vec<&'static [u8]> {
    let removed = own.iter().filter(|(_, value)| value.is_none());
    removed.map(|(name, _)| *name).collect()
}

pub(super) fn or_empty(number: Option<impl ToString>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

/// Whose a session must be.
pub(super) fn whose(owner: &Option<Owner>) -> String {
    format!("={}", or_empty(owner.as_ref()))
}

/// As `write.lua` has it.
pub(super) fn add_guarded(command: &mut Cmd, guarded: &Guarded<'_>) {
    match guarded {
        Guarded::Add(difference) => command.arg("add").arg(difference).arg(""),
        Guarded::Swap { expected, value } => {
            match value {
                Some(value) => command.arg("set").arg(value.as_ref()),
                None => command.arg("remove").arg(""),
            };
            let expected = expected.as_ref().map(|expected| format!("={expected}"));
            command.arg(expected.unwrap_or_default())
        }
    };
}
