//! The fields of the hash that a session is: those of its state, and a few of ours.

use std::{borrow::Cow, str};

use deadpool_redis::redis::{Cmd, Value};

use crate::{
    client::Failure,
    error::Error,
    session::{
        changes::Guarded,
        details::{BORN, Details, LABEL, OwnChanges},
        script::out_of_step,
        seal::{Opened, Seal, Stored},
        snapshot::{Origin, Snapshot},
        state::{State, load_field},
    },
};

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
    /// What these say of the session, if it is there. Of one that was sealed with a key that is not known,
    /// not when it was born: it is there.
    pub(crate) fn details(
        fields: impl IntoIterator<Item = (&'static [u8], Option<Vec<u8>>)>,
        seal: &Seal<'_>,
    ) -> Result<Option<Details>, Failure> {
        let mut ours = Self::default();
        for (name, value) in fields {
            let Some(value) = value else { continue };
            match ours.note(name, value, seal) {
                Err(Failure::Permanent(Error::UnknownSealKey { .. } | Error::Unsealed)) => {}
                noted => noted?,
            }
        }
        Ok(ours.is_born.then_some(ours.details))
    }

    /// # Errors
    ///
    /// When the session was sealed, and this does not open; but a label that does not is none.
    fn note(&mut self, field: &[u8], value: Vec<u8>, seal: &Seal<'_>) -> Result<(), Failure> {
        if field == BORN {
            self.is_born = true;
            let born = seal.open_note(field, &value)?;
            self.details.is_stale |= born.is_stale;
            self.details.born_ms = number(&born.text);
        } else if field == COPY {
            self.has_copy = true;
        } else if field == LABEL {
            match seal.open_note(field, &value) {
                Ok(label) => {
                    self.details.is_stale |= label.is_stale;
                    self.details.read(field, &label.text);
                }
                Err(Failure::Permanent(_)) => {}
                Err(failure) => return Err(failure),
            }
        } else {
            self.details.read(field, &value);
        }
        Ok(())
    }
}

/// When a session has begun, if nobody has looked.
///
/// # Errors
///
/// [`Error::BrokenSeal`] when it does not open.
pub(crate) fn unread_born_ms(stored: &Stored, seal: &Seal<'_>) -> Result<Option<i64>, Error> {
    let Some(value) = &stored.unread_born else {
        return Ok(None);
    };
    let born = seal.open_note(BORN, value);
    // It was read long ago: no other connection brings another one.
    Ok(number(&born.map_err(|_| Error::BrokenSeal)?.text))
}

fn number(text: &[u8]) -> Option<i64> {
    str::from_utf8(text).ok()?.parse().ok()
}

/// From the reply to [`HGETALL`](https://redis.io/docs/latest/commands/hgetall/).
///
/// # Errors
///
/// [`Error::Unreadable`] when something in a session is not UTF-8. That it is no hash at all says nothing of
/// the session: the connection is out of step, and what it brings is the reply to something else.
pub(crate) fn parse(fields: Value, seal: &Seal<'_>) -> Result<Option<Snapshot>, Failure> {
    let (mut snapshot, mut ours) = (Snapshot::now(State::new()), OwnFields::default());
    let (mut noted, mut born) = (Ok(()), None);
    for pair in fields.into_map_iter().map_err(|_| out_of_step())? {
        let (Value::BulkString(field), Value::BulkString(value)) = pair else {
            return Err(out_of_step());
        };
        if field == BORN {
            born = Some(value);
        } else if noted.is_ok() {
            noted = match field.first() == Some(&OURS) {
                true => ours.note(&field, value, seal),
                false => note(&mut snapshot, field, value, seal),
            };
        }
    }
    // A hash without our mark is no session, whatever it holds.
    let Some(born) = born else {
        return Ok(None);
    };
    noted?;
    // A value that opens shows that all of the reply is of this session.
    if seal.born_can_wait() && !snapshot.state.is_empty() {
        seal.envelope(&born)?;
        snapshot.stored.unread_born = Some(born);
    } else {
        ours.note(BORN, born, seal)?;
    }
    snapshot.details = ours.details;
    if ours.has_copy {
        snapshot.origin = Origin::Copied;
    }
    Ok(Some(snapshot))
}

/// A field of the state.
fn note(
    snapshot: &mut Snapshot,
    field: Vec<u8>,
    value: Vec<u8>,
    seal: &Seal<'_>,
) -> Result<(), Failure> {
    let Opened { text, is_stale } = seal.open_value(&field, &value)?;
    let (json, stored) = match text {
        Cow::Owned(text) => (text, Some(value)),
        Cow::Borrowed(_) if seal.is_on() => (value.clone(), Some(value)),
        Cow::Borrowed(_) => (value, None),
    };
    load_field(&mut snapshot.state, &field, json).map_err(Failure::Permanent)?;
    if let Some(value) = stored {
        snapshot.stored.note(field, value, is_stale);
    }
    Ok(())
}

pub(super) fn add_fields<'a>(
    command: &mut Cmd,
    fields: impl Iterator<Item = (&'a str, impl AsRef<str>)>,
    seal: &Seal<'_>,
) {
    for (name, json) in fields {
        command.arg(name).arg(&*seal.value(name, json.as_ref()));
    }
}

pub(super) fn add_own_fields(command: &mut Cmd, own: &OwnChanges, seal: &Seal<'_>) {
    for (name, value) in own {
        if let Some(value) = value {
            match *name {
                BORN | LABEL => command.arg(name).arg(&*seal.note(name, value)),
                _ => command.arg(name).arg(value),
            };
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

/// What a session must say of its owner, if that matters.
pub(super) fn expected(owner_text: Option<&[u8]>) -> Vec<u8> {
    let expected = owner_text.map(|text| [b"=", text].concat());
    expected.unwrap_or_default()
}

/// As `write.lua` has it.
pub(super) fn add_guarded(command: &mut Cmd, field: &str, guarded: &Guarded<'_>, seal: &Seal<'_>) {
    let held = |value: &[u8]| [b"=", value].concat();
    match guarded {
        Guarded::Add(difference) => command.arg("add").arg(difference).arg(""),
        Guarded::Swap { expected, value } => {
            match value {
                Some(value) => command.arg("set").arg(&*seal.value(field, value)),
                None => command.arg("remove").arg(""),
            };
            let expected = expected.as_deref().map(held);
            command.arg(expected.unwrap_or_default())
        }
        Guarded::Keep { expected } => command.arg("keep").arg("").arg(held(expected)),
        Guarded::Reseal { stored, value } => {
            let value = &*seal.value(field, value);
            command.arg("reseal").arg(value).arg(held(stored))
        }
    };
}
