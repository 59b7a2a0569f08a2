use super::*;

fn key(text: &str) -> SessionKey {
    text.to_owned().try_into().unwrap()
}

/// `printf abc | openssl dgst -sha256 -binary | basenc --base64url`
const ID_OF_ABC: &str = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0";

#[test]
fn names_start_with_the_prefix_and_what_is_beside_a_session_is_in_its_slot() {
    let keyspace = Keyspace::new("app:".into(), BuiltInNames::Ignored, false);
    let names = keyspace.names(&key("abc"));
    let id = &names.id;
    assert_eq!(keyspace.session(&names), format!("app:{ID_OF_ABC}"));
    assert_eq!(
        keyspace.tombstone(id),
        format!("app:ended:{{app:{ID_OF_ABC}}}")
    );
    assert_eq!(
        keyspace.last_state(id),
        format!("app:late:{{app:{ID_OF_ABC}}}")
    );
}
