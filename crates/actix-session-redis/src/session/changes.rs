//! What a request has changed, field by field.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet},
};

use super::{
    details::OwnChanges,
    seal::Stored,
    state::{State, field, fields},
};

/// What is to be written of a session.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Changes<'a> {
    /// Whatever others have made of these fields.
    pub(crate) set: Vec<(&'a str, Cow<'a, str>)>,
    pub(crate) removed: Vec<&'a str>,
    /// All of them, and all other changes, or nothing.
    pub(crate) guarded: Vec<(&'a str, Guarded<'a>)>,
    /// How many fields there must be, if that matters.
    pub(crate) seen: Option<usize>,
    pub(crate) own: OwnChanges,
    /// What the session must say of its owner, if that matters.
    pub(crate) owner_text: Option<Vec<u8>>,
    /// Until when they may be written, in milliseconds since 1970, if that matters.
    pub(crate) latest: Option<i64>,
    /// How long it may have left to live, if its TTL stays and that matters.
    pub(crate) ttl_at_most: Option<i64>,
}

/// A change that depends on what Redis holds.
#[derive(Debug, PartialEq)]
pub(crate) enum Guarded<'a> {
    /// Added to an integer.
    Add(i64),
    /// Only if Redis holds what was expected.
    Swap {
        expected: Option<Vec<u8>>,
        value: Option<Cow<'a, str>>,
    },
    /// Nothing, only if Redis holds what was expected.
    Keep { expected: Vec<u8> },
    /// The same value again, sealed with the newest key; if Redis holds something else, that stays.
    Reseal {
        stored: Vec<u8>,
        value: Cow<'a, str>,
    },
}

/// What Redis holds of a field in the place of what was expected.
#[derive(Debug)]
pub(crate) struct Other {
    pub(crate) field: String,
    pub(crate) json: Option<String>,
    pub(crate) stored: Option<Vec<u8>>,
}

impl<'a> Changes<'a> {
    /// The difference, on condition that all that was seen is still there.
    pub(crate) fn exactly(base: &'a State, ours: &'a State) -> Self {
        let all = fields(base).chain(fields(ours)).map(|(name, _)| name);
        let all: BTreeSet<_> = all.collect();
        let guarded = all.into_iter().map(|name| {
            let (expected, value) = (bytes(field(base, name)), field(ours, name));
            let guarded = match (expected, &value) {
                (Some(expected), Some(value)) if *expected == *value.as_bytes() => {
                    Guarded::Keep { expected }
                }
                (expected, _) => Guarded::Swap { expected, value },
            };
            (name, guarded)
        });
        Self {
            guarded: guarded.collect(),
            seen: Some(base.len()),
            ..Self::default()
        }
    }

    /// What is expected is there as it was `stored`. What of that is not sealed with the newest key is
    /// sealed again.
    pub(crate) fn expect(&mut self, stored: &Stored, base: &'a State) {
        let has_stale = stored.has_stale();
        if self.guarded.is_empty() && !has_stale {
            return;
        }
        let stored = stored.by_field();
        for (name, guarded) in &mut self.guarded {
            let Some(value) = stored.get(name.as_bytes()) else {
                continue;
            };
            match guarded {
                Guarded::Keep { .. } if value.is_stale => {
                    let (expected, value) = (Some(value.bytes.clone()), field(base, name));
                    *guarded = Guarded::Swap { expected, value };
                }
                Guarded::Swap {
                    expected: Some(expected),
                    ..
                }
                | Guarded::Keep { expected } => expected.clone_from(&value.bytes),
                _ => {}
            }
        }
        if !has_stale {
            return;
        }
        let written = self.set.iter().map(|(name, _)| *name);
        let written = written.chain(self.removed.iter().copied());
        let written = written.chain(self.guarded.iter().map(|(name, _)| *name));
        let written: HashSet<_> = written.collect();
        for (name, value) in fields(base) {
            if let Some(it) = stored.get(name.as_bytes())
                && it.is_stale
                && !written.contains(name)
            {
                let stored = it.bytes.clone();
                self.guarded.push((name, Guarded::Reseal { stored, value }));
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            set,
            removed,
            guarded,
            ..
        } = self;
        set.is_empty() && removed.is_empty() && guarded.is_empty() && self.own.is_empty()
    }
}

pub(super) fn bytes(json: Option<Cow<'_, str>>) -> Option<Vec<u8>> {
    json.map(|json| json.into_owned().into_bytes())
}
