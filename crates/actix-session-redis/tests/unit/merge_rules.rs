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
    let seen: MergeField = Arc::new(|base, theirs, ours| serde_json::json!([base, theirs, ours]));
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
}
