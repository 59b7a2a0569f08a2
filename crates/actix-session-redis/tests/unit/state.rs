use super::*;

fn loaded(fields: &[&str]) -> State {
    let mut state = State::new();
    for name in fields {
        load_field(&mut state, name.as_bytes(), b"1".to_vec()).unwrap();
    }
    state
}

fn set(state: &mut State, name: &str) {
    state.insert(name.to_owned(), "2".to_owned());
}

/// As `HashMap::clone` would not.
fn again(state: &State) -> State {
    loaded(&state.keys().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_state_is_cleared_when_nothing_that_was_loaded_is_left_in_it() {
    let before = loaded(&["user", "cart"]);
    let mut cleared = again(&before);
    cleared.clear();
    assert!(was_cleared(&before, &cleared));
    set(&mut cleared, "user");
    assert!(was_cleared(&before, &cleared));
}

#[test]
fn a_state_with_a_field_that_was_only_changed_is_not_cleared() {
    let before = loaded(&["user", "cart"]);
    let mut changed = again(&before);
    changed.remove("cart");
    assert!(!was_cleared(&before, &changed));
    set(&mut changed, "user");
    assert!(!was_cleared(&before, &changed));
}

#[test]
fn a_state_that_has_only_grown_is_not_cleared() {
    let before = loaded(&[]);
    let mut grown = again(&before);
    set(&mut grown, "user");
    assert!(!was_cleared(&before, &grown));
}

#[test]
fn json_that_is_only_spelled_differently_is_the_same() {
    for (one, other) in [
        ("[1,2]", "[1, 2]"),
        (r#"{"a":1,"b":2}"#, r#"{ "b": 2, "a": 1 }"#),
        (r#""A""#, r#""\u0041""#),
        ("not JSON", "not JSON"),
    ] {
        assert!(is_same(Some(one), Some(other)), "{one} and {other}");
    }
}

#[test]
fn json_that_says_something_else_is_not_the_same() {
    for (one, other) in [
        ("1", "2"),
        ("1", "1.0"),
        ("0.0", "-0.0"),
        ("1e-400", "1e-500"),
        ("1.000000000000001", "1.0000000000000012"),
        ("[1,2]", "[2,1]"),
        (
            "340282366920938463463374607431768211455",
            "340282366920938463463374607431768211454",
        ),
        ("not JSON", "not  JSON"),
    ] {
        assert!(!is_same(Some(one), Some(other)), "{one} and {other}");
    }
}
