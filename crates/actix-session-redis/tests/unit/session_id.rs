use super::*;

fn key(text: &str) -> SessionKey {
    text.to_owned().try_into().unwrap()
}

/// `printf abc | openssl dgst -sha256 -binary | basenc --base64url`
const ID_OF_ABC: &str = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0";

#[test]
fn a_session_id_is_the_sha_256_of_the_session_key() {
    let id = SessionId::of(&key("abc"));
    assert_eq!(id.as_ref(), ID_OF_ABC);
    assert_eq!(ID_OF_ABC.parse(), Ok(id));
}

#[test]
fn what_is_no_session_id_is_refused() {
    for text in ["", "abc", &"a".repeat(42), &"ä".repeat(43), &" ".repeat(43)] {
        assert_eq!(text.parse::<SessionId>(), Err(InvalidSessionId), "{text:?}");
    }
}
