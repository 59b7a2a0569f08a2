//! How what a request has changed meets what others have: what is declared of some fields, and the later
//! writer for the rest.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use serde_json::Value;

use super::{
    changes::{Changes, Guarded, Other, bytes},
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
#[path = "../../tests/unit/merge_rules.rs"]
mod tests;
