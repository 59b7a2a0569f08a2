//! The state of a session as actix-session has it: all that knows its type is in this file.

use std::{collections::HashMap, string::FromUtf8Error};

/// Field name to JSON text.
pub(crate) type State = HashMap<String, String>;

/// So much more room have the names of fields that were loaded, which tells them from others.
const MARGIN: usize = 29;

/// Adds a field that was loaded.
pub(crate) fn load_field(
    state: &mut State,
    name: Vec<u8>,
    json: Vec<u8>,
) -> Result<(), FromUtf8Error> {
    let name = String::from_utf8(name)?;
    let mut marked = String::with_capacity(name.len() + MARGIN);
    marked.push_str(&name);
    state.insert(marked, String::from_utf8(json)?);
    Ok(())
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
    let sizes = state.iter().map(|(name, json)| name.len() + json.len());
    sizes.sum()
}

/// Whether two JSON texts say the same, although they may be spelled differently.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    // `serde_json` rounds numbers that have more digits, a fraction or an exponent.
    let is_exact = |text: &str| {
        let mut digits = text.split(|c: char| !c.is_ascii_digit());
        let mut pairs = text.as_bytes().windows(2);
        digits.all(|digits| digits.len() <= 15)
            && !pairs.any(|pair| pair[0].is_ascii_digit() && b".eE".contains(&pair[1]))
    };
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    one == other
        || is_exact(one)
            && is_exact(other)
            && value(one).is_some_and(|one| value(other) == Some(one))
}

#[cfg(test)]
#[path = "../../tests/unit/state.rs"]
mod tests;
