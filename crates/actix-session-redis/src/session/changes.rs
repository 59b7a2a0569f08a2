//! What a request has changed, field by field, and how that meets what others have changed.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use serde_json::Value;

use super::{
    details::OwnChanges,
    seal::Stored,
    state::{State, field, fields, is_same, set_field},
};
use crate::error::Error;

/// Decides what a field becomes that two requests have changed: the value both started from, the
/// one that the other has stored, and ours.
pub(crate) type MergeField =
    Arc<dyn Fn(Option<&Value>, Option<&Value>, &Value) -> Value + Send + Sync>;

/// What is declared of some fields; the others go to the later writer.
#[derive(Clone, Default)]
pub(crate) struct MergeRules {
    rules: HashMap<String, Rule>,
    /// Redis cannot add to counters: it does not see them.
    counts_here: bool,
}

#[derive(Clone)]
enum Rule {
    Counter,
    Field(MergeField),
}

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

impl MergeRules {
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(crate) fn has(&self, field: &str) -> bool {
        self.rules.contains_key(field)
    }

    pub(crate) fn counter(&mut self, field: String) {
        self.rules.insert(field, Rule::Counter);
    }

    pub(crate) fn field(&mut self, field: String, merge: MergeField) {
        self.rules.insert(field, Rule::Field(merge));
    }

    pub(crate) fn count_here(&mut self) {
        self.counts_here = true;
    }

    /// What was made of `base`.
    pub(crate) fn changes<'a>(&self, base: &'a State, ours: &'a State) -> Changes<'a> {
        let mut changes = Changes::default();
        for (name, value) in fields(ours) {
            let before = field(base, name);
            if is_same(before.as_deref(), Some(&value)) {
                continue;
            }
            match self.guarded(name, before, &value) {
                Some(guarded) => changes.guarded.push((name, guarded)),
                None => changes.set.push((name, value)),
            }
        }
        let names = fields(base).map(|(name, _)| name);
        let removed = names.filter(|name| !ours.contains_key(*name));
        changes.removed.extend(removed);
        changes
    }

    fn guarded<'a>(
        &self,
        name: &str,
        base: Option<Cow<'_, str>>,
        ours: &Cow<'a, str>,
    ) -> Option<Guarded<'a>> {
        let difference = match self.rules.get(name)? {
            Rule::Counter => Some(difference(base.as_deref(), ours)?),
            Rule::Field(_) => None,
        };
        let difference = difference.filter(|_| !self.counts_here);
        Some(match difference.and_then(|it| i64::try_from(it).ok()) {
            Some(difference) => Guarded::Add(difference),
            None => Guarded::Swap {
                expected: bytes(base),
                value: Some(ours.clone()),
            },
        })
    }

    /// Redis holds something else than was expected: what is written in the place of it.
    ///
    /// # Errors
    ///
    /// [`Error::MergePanicked`] when the application's own function panics.
    pub(crate) fn resolve_conflicts(
        &self,
        changes: &mut Changes<'_>,
        base: &State,
        ours: &State,
        others: Vec<Other>,
    ) -> Result<(), Error> {
        for Other {
            field: name,
            json: theirs,
            stored,
        } in others
        {
            let guarded = changes.guarded.iter_mut().find(|(it, _)| *it == name);
            let (Some((_, guarded)), Some(value)) = (guarded, field(ours, &name)) else {
                continue;
            };
            let base = field(base, &name);
            let value = self.resolve(&name, base.as_deref(), theirs.as_deref(), value)?;
            *guarded = Guarded::Swap {
                expected: stored,
                value: Some(value.into_owned().into()),
            };
        }
        Ok(())
    }

    /// Both changes of `base`, field by field: a change of one side is kept, and removal is a
    /// change. What both have changed goes by its rule, or else to `ours`, the later writer.
    pub(crate) fn merge(&self, base: &State, theirs: &State, ours: &State) -> Result<State, Error> {
        let changes = self.changes(base, ours);
        let mut merged = theirs.clone();
        for name in changes.removed {
            merged.remove(name);
        }
        let guarded = changes.guarded.into_iter().map(|(name, _)| name);
        let guarded = guarded.filter_map(|name| Some((name, field(ours, name)?)));
        for (name, value) in changes.set.into_iter().chain(guarded) {
            let (base, theirs) = (field(base, name), field(theirs, name));
            let value = self.resolve(name, base.as_deref(), theirs.as_deref(), value)?;
            set_field(&mut merged, name, value);
        }
        Ok(merged)
    }

    fn resolve<'a>(
        &self,
        name: &str,
        base: Option<&str>,
        theirs: Option<&str>,
        ours: Cow<'a, str>,
    ) -> Result<Cow<'a, str>, Error> {
        let resolved = match self.rules.get(name) {
            None => Ok(None),
            Some(_) if is_same(base, theirs) => Ok(None),
            Some(Rule::Counter) => Ok(add_up(base, theirs, &ours)),
            Some(Rule::Field(merge)) => apply(merge, base, theirs, &ours),
        };
        let resolved = resolved.map_err(|_| Error::MergePanicked {
            field: name.to_owned(),
        })?;
        Ok(resolved.map_or(ours, Cow::Owned))
    }
}

/// `None` when one of them is no integer, or the sum does not fit JSON integers as Rust reads
/// them.
fn add_up(base: Option<&str>, theirs: Option<&str>, ours: &str) -> Option<String> {
    let sum = integer(theirs)?.checked_add(difference(base, ours)?)?;
    (i64::MIN.into()..=u64::MAX.into())
        .contains(&sum)
        .then(|| sum.to_string())
}

fn difference(base: Option<&str>, ours: &str) -> Option<i128> {
    ours.parse::<i128>().ok()?.checked_sub(integer(base)?)
}

fn bytes(json: Option<Cow<'_, str>>) -> Option<Vec<u8>> {
    json.map(|json| json.into_owned().into_bytes())
}

fn integer(text: Option<&str>) -> Option<i128> {
    text.map_or(Some(0), |text| text.parse().ok())
}

/// `None` when one of them is not JSON; an error when the function panics.
fn apply(
    merge: &MergeField,
    base: Option<&str>,
    theirs: Option<&str>,
    ours: &str,
) -> thread::Result<Option<String>> {
    let json = |text: Option<&str>| text.map(serde_json::from_str).transpose();
    let (Ok(base), Ok(theirs), Ok(ours)) = (json(base), json(theirs), serde_json::from_str(ours))
    else {
        return Ok(None);
    };
    // The values were made for this call alone, so a panic leaves nothing half changed but what
    // the function itself holds; that it must not is documented.
    let merged = catch_unwind(AssertUnwindSafe(|| {
        merge(base.as_ref(), theirs.as_ref(), &ours)
    }))?;
    Ok(Some(merged.to_string()))
}

impl fmt::Debug for MergeRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.rules.keys()).finish()
    }
}

#[cfg(test)]
#[path = "../../tests/unit/changes.rs"]
mod tests;
