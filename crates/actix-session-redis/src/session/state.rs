//! The state of a session as actix-session has it: all that knows its type is in this file.
//! Everybody else goes by the JSON texts of the fields.

use std::{borrow::Cow, collections::HashMap, str};

use serde_json::Value;

use crate::error::Error;

/// Field name to JSON text.
pub(crate) type State = HashMap<String, FieldValue>;

type FieldValue = String;

pub(crate) const NOT_UTF8: &str = "it is not UTF-8";

/// So much more room have the names of fields that were loaded, which tells them from others.
const MARGIN: usize = 29;

/// Adds a field that was loaded.
///
/// # Errors
///
/// [`Error::Unreadable`] when it is not UTF-8.
pub(crate) fn load_field(state: &mut State, name: &[u8], json: Vec<u8>) -> Result<(), Error> {
    let not_utf8 = || Error::Unreadable { reason: NOT_UTF8 };
    let name = str::from_utf8(name).map_err(|_| not_utf8())?;
    let json = String::from_utf8(json).map_err(|_| not_utf8())?;
    let mut marked = String::with_capacity(name.len() + MARGIN);
    marked.push_str(name);
    state.insert(marked, json);
    Ok(())
}

pub(crate) fn fields(state: &State) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    state.iter().map(|(name, value)| (&**name, json(value)))
}

pub(crate) fn field<'a>(state: &'a State, name: &str) -> Option<Cow<'a, str>> {
    state.get(name).map(json)
}

fn json(value: &FieldValue) -> Cow<'_, str> {
    value.into()
}

pub(crate) fn set_field(state: &mut State, name: &str, json: Cow<'_, str>) {
    state.insert(name.to_owned(), json.into_owned());
}

/// Whether all fields that were `loaded` have been removed, even if some were set anew: by
/// `Session::clear`, which actix-session does not tell from other changes.
///
/// A field that was only set anew has kept its name, and with it the [`MARGIN`].
pub(crate) fn was_cleared(loaded: &State, left: &State) -> bool {
    let stayed =
        |name: &String| name.capacity() == name.len() + MARGIN && loaded.contains_key(name);
    loaded.keys().any(|name| !left.contains_key(name)) && !left.keys().any(stayed)
}

/// In bytes, names and values together.
pub(crate) fn size(state: &State) -> usize {
    let sizes = fields(state).map(|(name, json)| name.len() + json.len());
    sizes.sum()
}

/// Whether two JSON texts say the same, although they may be spelled differently.
pub(crate) fn is_same(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        _ if one == other => true,
        (Some(one), Some(other)) => exactly(one).is_some_and(|one| exactly(other) == Some(one)),
        _ => false,
    }
}

/// One spelling for all JSON texts that say the same, as far as that can be known.
pub(crate) fn canonical(json: &str) -> Cow<'_, str> {
    exactly(json).map_or(json.into(), |value| value.to_string().into())
}

/// What a JSON text says, unless `serde_json` rounds it: numbers that have more digits, a fraction or
/// an exponent.
fn exactly(json: &str) -> Option<Value> {
    let mut digits = json.split(|c: char| !c.is_ascii_digit());
    let mut pairs = json.as_bytes().windows(2);
    let has_only_short_integers = digits.all(|digits| digits.len() <= 15)
        && !pairs.any(|pair| pair[0].is_ascii_digit() && b".eE".contains(&pair[1]));
    (has_only_short_integers || json.starts_with('"'))
        .then(|| serde_json::from_str(json).ok())
        .flatten()
}

#[cfg(test)]
#[path = "../../tests/unit/state.rs"]
mod tests;
