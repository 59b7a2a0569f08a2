use super::*;

fn state(fields: &[(&str, &str)]) -> State {
    let mut state = State::new();
    for (name, json) in fields {
        load_field(&mut state, name.as_bytes(), json.as_bytes().to_vec()).unwrap();
    }
    state
}

#[test]
fn writes_what_actix_session_0_11_writes() {
    let bytes = encode(&state(&[("name", "\"Ada\"")]));
    assert_eq!(bytes, br#"{"name":"\"Ada\""}"#);
}

#[test]
fn reads_back_what_it_writes() {
    let state = state(&[("n", "1"), ("text", "\"\\u0000 안녕 \\\"\""), ("", "null")]);
    assert_eq!(decode(&encode(&state)).unwrap(), state);
}

#[test]
fn reads_the_versioned_format_and_keeps_every_value_as_it_is_spelled() {
    let bytes = br#"{"v":1,"state":{"name":"Ada","cart":[1, 2],"nothing":null,"big":1e400}}"#;
    let expected = [
        ("name", "\"Ada\""),
        ("cart", "[1, 2]"),
        ("nothing", "null"),
        ("big", "1e400"),
    ];
    assert_eq!(decode(bytes).unwrap(), state(&expected));
}

#[test]
fn fields_named_like_the_versioned_format_are_just_fields() {
    let state = state(&[("v", "1"), ("state", "{}")]);
    assert_eq!(decode(&encode(&state)).unwrap(), state);
}

#[test]
fn refuses_everything_else_and_says_why() {
    for (bytes, reason) in [
        (&b""[..], "not the JSON"),
        (b"{\"name\":", "not the JSON"),
        (b"\xff\xfe", "not the JSON"),
        (b"{\"name\":\"\xff\"}", "not the JSON"),
        (b"[]", "not the JSON"),
        (b"null", "not the JSON"),
        (b"{\"name\":1}", "not the JSON"),
        (b"{\"v\":1}", "not the JSON"),
        (b"{\"v\":1,\"state\":[]}", "not the JSON"),
        (b"{\"v\":2,\"state\":{}}", "unknown format"),
    ] {
        let error = decode(bytes).unwrap_err().to_string();
        assert!(error.contains(reason), "{bytes:?} gave: {error}");
    }
}
