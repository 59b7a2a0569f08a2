//! Three-way merge of session states: what two requests made of the same base becomes one state.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use serde::Serialize;
use serde_json::Value;

use super::codec::{self, State};
use crate::error::Error;

/// Decides what a field becomes that two requests have changed: the value both started from, the
/// one that the other has stored, and ours.
pub(crate) type MergeField =
    Arc<dyn Fn(Option<&Value>, Option<&Value>, &Value) -> Value + Send + Sync>;

/// What is declared of some fields; the others go to the later writer.
#[derive(Clone, Default)]
pub(crate) struct MergeRules(HashMap<String, Rule>);

/// One changed field, as `merge.lua` reads it: its name, our value (removed without), and, if
/// it adds up, by how much it has changed.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Change<'a>(&'a str, Option<&'a String>, Option<String>);

#[derive(Clone)]
enum Rule {
    Counter,
    Field(MergeField),
}

impl MergeRules {
    pub(crate) fn counter(&mut self, field: String) {
        self.0.insert(field, Rule::Counter);
    }

    pub(crate) fn field(&mut self, field: String, merge: MergeField) {
        self.0.insert(field, Rule::Field(merge));
    }

    /// What the server needs to know to merge by itself; `None` when only the application's own
    /// functions can.
    pub(crate) fn changes<'a>(&self, base: &'a State, ours: &'a State) -> Option<Vec<Change<'a>>> {
        let fields: BTreeSet<&String> = base.keys().chain(ours.keys()).collect();
        let mut changes = Vec::new();
        for field in fields {
            let (base, ours) = (base.get(field), ours.get(field));
            if base != ours {
                let added = match self.0.get(field) {
                    None => None,
                    Some(Rule::Counter) => ours.and_then(|ours| difference(base, ours)),
                    Some(Rule::Field(_)) => return None,
                };
                changes.push(Change(field, ours, added.map(|added| added.to_string())));
            }
        }
        Some(changes)
    }

    /// Whether the outcome depends on how often `ours` is merged: a change that adds up must not
    /// be applied a second time.
    pub(crate) fn concern(&self, base: &[u8], ours: &State) -> Result<bool, Error> {
        if self.0.is_empty() {
            return Ok(false);
        }
        let base = codec::decode(base)?;
        let is_changed = |field: &String| base.get(field) != ours.get(field);
        Ok(self.0.keys().any(is_changed))
    }

    /// Both changes of `base`, field by field: a change of one side is kept, and removal is a
    /// change. What both have changed goes by its rule, or else to `ours`, the later writer.
    ///
    /// # Errors
    ///
    /// [`Error::MergePanicked`] when the application's own function panics.
    pub(crate) fn merge(&self, base: &State, theirs: &State, ours: &State) -> Result<State, Error> {
        let fields: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        let mut merged = State::with_capacity(fields.len());
        for field in fields {
            let (base, theirs, ours) = (base.get(field), theirs.get(field), ours.get(field));
            let value = if ours == base {
                theirs.cloned()
            } else if theirs == base {
                ours.cloned()
            } else {
                self.resolve(field, base, theirs, ours)?
            };
            merged.extend(value.map(|value| (field.clone(), value)));
        }
        Ok(merged)
    }

    /// A removal of ours stands: there is no value to add or to hand to a function.
    fn resolve(
        &self,
        field: &str,
        base: Option<&String>,
        theirs: Option<&String>,
        ours: Option<&String>,
    ) -> Result<Option<String>, Error> {
        let Some(ours) = ours else { return Ok(None) };
        let resolved = match self.0.get(field) {
            None => None,
            Some(Rule::Counter) => add_up(base, theirs, ours),
            Some(Rule::Field(merge)) => {
                apply(merge, base, theirs, ours).map_err(|_| Error::MergePanicked {
                    field: field.to_owned(),
                })?
            }
        };
        Ok(Some(resolved.unwrap_or_else(|| ours.clone())))
    }
}

/// `None` when one of them is no integer, or the sum does not fit JSON integers as Rust reads
/// them.
fn add_up(base: Option<&String>, theirs: Option<&String>, ours: &str) -> Option<String> {
    let sum = integer(theirs)?.checked_add(difference(base, ours)?)?;
    (i64::MIN.into()..=u64::MAX.into())
        .contains(&sum)
        .then(|| sum.to_string())
}

fn difference(base: Option<&String>, ours: &str) -> Option<i128> {
    ours.parse::<i128>().ok()?.checked_sub(integer(base)?)
}

fn integer(text: Option<&String>) -> Option<i128> {
    text.map_or(Some(0), |text| text.parse().ok())
}

/// `None` when one of them is not JSON; an error when the function panics.
fn apply(
    merge: &MergeField,
    base: Option<&String>,
    theirs: Option<&String>,
    ours: &str,
) -> thread::Result<Option<String>> {
    let json = |text: Option<&String>| text.map(|text| serde_json::from_str(text)).transpose();
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
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::hash_map, prelude::*, sample::select};

    use super::*;

    const COUNTER: &str = "counter";

    fn rules() -> MergeRules {
        let mut rules = MergeRules::default();
        rules.counter(COUNTER.to_owned());
        rules
    }

    /// Merges one field, whose values are JSON text.
    fn merge_one(
        rules: &MergeRules,
        field: &str,
        [base, theirs, ours]: [Option<&str>; 3],
    ) -> Option<String> {
        let state = |value: Option<&str>| -> State {
            value
                .map(|value| (field.to_owned(), value.to_owned()))
                .into_iter()
                .collect()
        };
        let merged = rules.merge(&state(base), &state(theirs), &state(ours));
        merged.unwrap().remove(field)
    }

    #[test]
    fn a_field_changed_by_both_goes_to_the_later_writer() {
        let rules = MergeRules::default();
        for (values, expected) in [
            ([Some("1"), Some("2"), Some("3")], Some("3")),
            ([None, Some("2"), Some("3")], Some("3")),
            ([Some("1"), None, Some("3")], Some("3")),
            ([Some("1"), Some("2"), None], None),
        ] {
            assert_eq!(merge_one(&rules, "f", values).as_deref(), expected);
        }
    }

    #[test]
    fn what_is_added_to_a_counter_adds_up() {
        for (values, expected) in [
            ([Some("10"), Some("11"), Some("11")], "12"),
            ([Some("10"), Some("7"), Some("12")], "9"),
            ([None, Some("1"), Some("1")], "2"),
            ([Some("5"), None, Some("6")], "1"),
            ([Some("-3"), Some("-4"), Some("-2")], "-3"),
        ] {
            let merged = merge_one(&rules(), COUNTER, values);
            assert_eq!(merged.as_deref(), Some(expected), "{values:?}");
        }
    }

    #[test]
    fn what_cannot_be_added_goes_to_the_later_writer() {
        let most = u64::MAX.to_string();
        for values in [
            [Some("1"), Some("2"), Some("\"three\"")],
            [Some("1"), Some("null"), Some("3")],
            [Some("1.5"), Some("2"), Some("3")],
            [Some("1"), Some(most.as_str()), Some("3")],
            [Some("1"), Some("2"), None],
        ] {
            let merged = merge_one(&rules(), COUNTER, values);
            assert_eq!(merged.as_deref(), values[2], "{values:?}");
        }
    }

    #[test]
    fn a_function_sees_all_three_values_and_decides() {
        let mut rules = MergeRules::default();
        let seen: MergeField =
            Arc::new(|base, theirs, ours| serde_json::json!([base, theirs, ours]));
        rules.field("f".to_owned(), seen);
        let merged = merge_one(&rules, "f", [Some("1"), None, Some("\"x\"")]);
        assert_eq!(merged.as_deref(), Some(r#"[1,null,"x"]"#));
    }

    #[test]
    fn a_panicking_function_is_an_error() {
        let mut rules = MergeRules::default();
        rules.field("f".to_owned(), Arc::new(|_, _, _| panic!("on purpose")));
        let state = |value: &str| State::from([("f".to_owned(), value.to_owned())]);
        let refused = rules
            .merge(&state("1"), &state("2"), &state("3"))
            .unwrap_err();
        assert!(matches!(refused, Error::MergePanicked { field } if field == "f"));
    }

    /// States that share fields often and differ often.
    fn states() -> impl Strategy<Value = State> {
        hash_map(
            select(vec!["a", "b", "c", "d", COUNTER]).prop_map(str::to_owned),
            (-3..4_i64).prop_map(|value| value.to_string()),
            0..6,
        )
    }

    fn number(state: &State, field: &str) -> i64 {
        state.get(field).map_or(0, |value| value.parse().unwrap())
    }

    proptest! {
        #[test]
        fn every_field_goes_by_its_plain_rule(base in states(), theirs in states(), ours in states()) {
            let merged = rules().merge(&base, &theirs, &ours).unwrap();
            for field in ["a", "b", "c", "d", COUNTER] {
                let (b, t, o) = (base.get(field), theirs.get(field), ours.get(field));
                let expected = if o == b { t } else { o };
                if field == COUNTER && o.is_some() && o != b && t != b {
                    let sum = number(&theirs, field) + number(&ours, field) - number(&base, field);
                    prop_assert_eq!(number(&merged, field), sum);
                } else {
                    prop_assert_eq!(merged.get(field), expected);
                }
            }
            prop_assert!(merged.keys().all(|f| theirs.contains_key(f) || ours.contains_key(f)));
        }

        #[test]
        fn without_a_change_of_theirs_ours_stands_and_the_other_way_round(base in states(), other in states()) {
            prop_assert_eq!(&rules().merge(&base, &base, &other).unwrap(), &other);
            prop_assert_eq!(&rules().merge(&base, &other, &base).unwrap(), &other);
        }

        #[test]
        fn only_a_change_to_a_declared_field_concerns_the_rules(base in states(), ours in states()) {
            let concerned = base.get(COUNTER) != ours.get(COUNTER);
            let body = codec::encode(&base, usize::MAX).unwrap();
            prop_assert_eq!(rules().concern(&body, &ours).unwrap(), concerned);
            prop_assert!(!MergeRules::default().concern(&body, &ours).unwrap());
        }
    }
}
