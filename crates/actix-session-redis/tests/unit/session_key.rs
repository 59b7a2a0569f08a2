use super::*;

fn key(text: &str) -> SessionKey {
    text.to_owned().try_into().unwrap()
}

#[test]
fn a_session_key_is_64_alphanumerics() {
    assert!(is_session_key(&key(&"aZ09".repeat(16))));
    for other in [
        "",
        "abc",
        &"a".repeat(63),
        &"a".repeat(65),
        &"-".repeat(64),
        &"é".repeat(32),
    ] {
        assert!(!is_session_key(&key(other)), "{other:?}");
    }
}

#[test]
fn session_keys_that_are_drawn_are_such_and_differ() {
    let (one, other) = (draw_session_key(), draw_session_key());
    assert!(is_session_key(&one) && is_session_key(&other));
    assert_ne!(one.as_ref(), other.as_ref());
}
