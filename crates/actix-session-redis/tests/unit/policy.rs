use super::*;

fn noted(field: &str, json: &str) -> Option<String> {
    let policy = Policy {
        user_field: Some("user".to_owned()),
        label_field: Some("device".to_owned()),
        ..Policy::default()
    };
    let mut state = State::new();
    for (name, json) in [("user", "1"), (field, json)] {
        crate::session::state::set_field(&mut state, name, json.into());
    }
    let terms = Terms::only(&time::Duration::HOUR);
    let details = policy.details(&Details::default(), &state, terms);
    details.unwrap().unwrap().0.label
}

#[test]
fn a_label_is_256_bytes_of_a_text_or_of_its_json() {
    assert_eq!(noted("device", r#""phone""#).as_deref(), Some("phone"));
    assert_eq!(noted("device", "[1, 2]").as_deref(), Some("[1, 2]"));
    assert_eq!(noted("other", "1"), None);
    let long = format!("\"{}\"", "x".repeat(1000));
    assert_eq!(noted("device", &long), Some("x".repeat(256)));
    let wide = format!("\"x{}\"", "한".repeat(1000));
    assert_eq!(
        noted("device", &wide),
        Some(format!("x{}", "한".repeat(85)))
    );
}

#[test]
fn any_json_names_a_user_but_null() {
    let policy = Policy {
        user_field: Some("user".to_owned()),
        ..Policy::default()
    };
    let user = |json: &str| {
        let mut state = State::new();
        crate::session::state::set_field(&mut state, "user", json.into());
        policy.user(&state)
    };
    let values = [
        "1",
        "\"1\"",
        "true",
        "\"\"",
        "[]",
        "{\"id\":1}",
        "1.0",
        "12345678901234567890123",
        "12345678901234567890124",
        "\"12345678901234567890\"",
    ];
    for (number, value) in values.iter().enumerate() {
        assert!(user(value).is_some(), "{value}");
        for other in &values[..number] {
            assert_ne!(user(value), user(other), "{value} and {other}");
        }
    }
    assert_eq!(user("null"), None);
    assert_eq!(policy.user(&State::new()), None);
    assert_eq!(user("{\"id\": 1}"), user("{\"id\":1}"));
    assert_eq!(user(r#""\ud55c""#), user(r#""한""#));
}

#[test]
fn a_renewal_by_which_a_session_becomes_nobodys_is_no_login() {
    let policy = Policy {
        user_field: Some("user".to_owned()),
        ..Policy::default()
    };
    let of = |json: Option<&str>| {
        let mut state = State::new();
        if let Some(json) = json {
            crate::session::state::set_field(&mut state, "user", json.into());
        }
        state
    };
    let is_login = |before: Option<&str>, after: Option<&str>| {
        let base = policy.user(&of(before));
        let terms = Terms::only(&time::Duration::HOUR);
        policy.is_login(base.as_ref(), &of(after), terms)
    };
    assert!(is_login(None, Some("1")));
    assert!(is_login(Some("1"), Some("2")));
    assert!(!is_login(Some("1"), Some("1")));
    assert!(!is_login(Some("1"), None));
    assert!(!is_login(None, None));
}
