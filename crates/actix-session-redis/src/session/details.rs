//! What is noted of a session beside its state: how long it lives, whose it is, what it is called.

use std::{str, time::Duration};

use super::{
    entry::Owner,
    ttl::{LONGEST, milliseconds, now_ms},
};

/// When the session has begun, in milliseconds since 1970. Only what begins a session sets it.
pub(crate) const BORN: &[u8] = b"\xFFborn";

/// The fields that hold what is noted. `fields.lua` knows them, too.
const USER: &[u8] = b"\xFFuser";
const TTL: &[u8] = b"\xFFttl";
const LIFETIME: &[u8] = b"\xFFlifetime";
pub(crate) const LABEL: &[u8] = b"\xFFlabel";

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Details {
    /// When the session has begun, or the one that it has taken the place of: in milliseconds since
    /// 1970.
    pub(crate) born_ms: Option<i64>,
    /// Whose it is, as far as the index knows.
    pub(crate) owner: Option<Owner>,
    /// What the session says of that; of one that was somebody's, that it is nobody's, too. Whenever it becomes
    /// somebody else's, that is another text than it ever was.
    pub(crate) owner_text: Vec<u8>,
    /// The TTL that it was given the last time, if it is somebody's: it tells when that was.
    pub(crate) ttl_ms: Option<i64>,
    /// The TTL that it was asked to have instead of the session middleware's.
    pub(crate) lifetime_ms: Option<i64>,
    pub(crate) label: Option<String>,
    /// Some of it is not sealed with the newest key.
    pub(crate) is_stale: bool,
}

/// Fields of ours that are to be set, or removed.
pub(crate) type OwnChanges = Vec<(&'static [u8], Option<String>)>;

impl Details {
    /// Those of a session that begins, unless it takes the place of one that has.
    pub(crate) fn born_now(&self) -> Self {
        Self {
            born_ms: self.born_ms.or_else(|| Some(now_ms())),
            ..self.clone()
        }
    }

    pub(crate) fn lifetime(&self) -> Option<Duration> {
        let ms = u64::try_from(self.lifetime_ms?).ok()?;
        Some(Duration::from_millis(ms))
    }

    /// When it was entered the last time, by what it says: nobody's, too.
    pub(crate) fn last_entered(&self) -> Option<i64> {
        let text = str::from_utf8(&self.owner_text).ok()?;
        text.split(' ').nth(1)?.parse().ok()
    }

    pub(crate) fn give_to(&mut self, owner: Option<Owner>) {
        match (&owner, &self.owner) {
            (Some(owner), _) => self.owner_text = owner.to_string().into(),
            (None, Some(old)) => self.owner_text = format!("- {}", old.entered).into(),
            (None, None) => {}
        }
        self.owner = owner;
    }

    /// Of a session that is to begin.
    pub(crate) fn without_past(mut self) -> Self {
        (self.owner, self.owner_text) = (None, Vec::new());
        self
    }

    /// It is somebody else's by now.
    pub(crate) fn without_owner(changes: &mut OwnChanges) {
        changes.retain(|(field, _)| *field != USER);
    }

    /// What one of our fields says; what nobody can read says nothing.
    pub(crate) fn read(&mut self, field: &[u8], value: &[u8]) {
        let text = str::from_utf8(value).unwrap_or_default();
        let number = || text.parse().ok().filter(|&number| number > 0);
        match field {
            USER => (self.owner, self.owner_text) = (Owner::parse(text), value.to_owned()),
            TTL => self.ttl_ms = number(),
            // More than that, Redis refuses, and nobody has asked for it.
            LIFETIME => self.lifetime_ms = number().filter(|&ms| ms <= milliseconds(LONGEST)),
            LABEL => self.label = Some(text.to_owned()),
            _ => {}
        }
    }

    /// Those that become others, or are sealed anew. When it was born, only its beginning says.
    pub(crate) fn changes(&self, to: &Self) -> OwnChanges {
        let [before, after] = [self.fields(), to.fields()];
        let pairs = before.into_iter().zip(after);
        let is_stale = |field| self.is_stale && field == LABEL;
        let changed =
            pairs.filter(|((field, before), (_, after))| before != after || is_stale(*field));
        let mut changes: OwnChanges = changed.map(|(_, after)| after).collect();
        if let (true, Some(born_ms)) = (self.is_stale, self.born_ms) {
            changes.push((BORN, Some(born_ms.to_string())));
        }
        changes
    }

    fn fields(&self) -> [(&'static [u8], Option<String>); 4] {
        let text = |number: &i64| number.to_string();
        [
            (
                USER,
                (!self.owner_text.is_empty())
                    .then(|| String::from_utf8_lossy(&self.owner_text).into()),
            ),
            (TTL, self.ttl_ms.as_ref().map(text)),
            (LIFETIME, self.lifetime_ms.as_ref().map(text)),
            (LABEL, self.label.clone()),
        ]
    }

    /// Which fields these are.
    pub(crate) fn names() -> [&'static [u8]; 4] {
        [USER, TTL, LIFETIME, LABEL]
    }
}

#[cfg(test)]
#[path = "../../tests/unit/details.rs"]
mod tests;
