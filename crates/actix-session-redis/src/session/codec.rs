//! Session state <-> bytes: reads every format in the wild, writes one.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{error::Error, telemetry::events};

/// What actix-session keeps for a session: field name to JSON text.
pub(crate) type State = HashMap<String, String>;

/// The format of actix-session 0.11's own store: a JSON object of field name to JSON text.
///
/// The fields are in order, so that equal states are equal bytes.
pub(crate) fn encode(state: &State, limit: usize) -> Result<Vec<u8>, Error> {
    let fields: BTreeMap<_, _> = state.iter().collect();
    let body = serde_json::to_vec(&fields).expect("a map of strings is always JSON");
    events::state_encoded(body.len());
    if body.len() > limit {
        return Err(Error::StateTooLarge {
            bytes: body.len(),
            limit,
        });
    }
    Ok(body)
}

pub(crate) fn decode(body: &[u8]) -> Result<State, Error> {
    serde_json::from_slice(body).or_else(|_| decode_versioned(body))
}

/// The format of the actix-session release that follows 0.11: `{"v":1,"state":{…}}`, where the
/// fields are JSON values. No state of the older format looks like it, because there `v` is text.
fn decode_versioned(body: &[u8]) -> Result<State, Error> {
    #[derive(Deserialize)]
    struct Versioned<'a> {
        v: u64,
        #[serde(borrow)]
        state: HashMap<String, &'a RawValue>,
    }

    let unreadable = |reason| Err(Error::Unreadable { reason });
    match serde_json::from_slice::<Versioned<'_>>(body) {
        Ok(Versioned { v: 1, state }) => Ok(state
            .into_iter()
            .map(|(field, value)| (field, value.get().to_owned()))
            .collect()),
        Ok(_) => unreadable("it is of an unknown format version"),
        Err(_) => unreadable("it is not the JSON of a session state"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_LIMIT: usize = usize::MAX;

    fn state(fields: &[(&str, &str)]) -> State {
        fields
            .iter()
            .map(|(field, json)| (field.to_string(), json.to_string()))
            .collect()
    }

    #[test]
    fn writes_what_actix_session_0_11_writes() {
        let body = encode(&state(&[("name", "\"Ada\"")]), NO_LIMIT).unwrap();
        assert_eq!(body, br#"{"name":"\"Ada\""}"#);
    }

    #[test]
    fn reads_back_what_it_writes() {
        let state = state(&[("n", "1"), ("text", "\"\\u0000 안녕 \\\"\""), ("", "null")]);
        assert_eq!(decode(&encode(&state, NO_LIMIT).unwrap()).unwrap(), state);
    }

    #[test]
    fn reads_the_versioned_format() {
        let body = br#"{"v":1,"state":{"name":"Ada","cart":[1, 2],"nothing":null}}"#;
        assert_eq!(
            decode(body).unwrap(),
            state(&[("name", "\"Ada\""), ("cart", "[1, 2]"), ("nothing", "null")]),
        );
    }

    #[test]
    fn fields_named_like_the_versioned_format_are_just_fields() {
        let state = state(&[("v", "1"), ("state", "{}")]);
        assert_eq!(decode(&encode(&state, NO_LIMIT).unwrap()).unwrap(), state);
    }

    #[test]
    fn refuses_everything_else_and_says_why() {
        for (body, reason) in [
            (&b""[..], "not the JSON"),
            (b"{\"name\":", "not the JSON"),
            (b"\xff\xfe", "not the JSON"),
            (b"{\"name\":\"\xff\"}", "not the JSON"),
            (b"[]", "not the JSON"),
            (b"null", "not the JSON"),
            (b"{\"name\":1}", "not the JSON"),
            (b"{\"v\":1,\"state\":[]}", "not the JSON"),
            (b"{\"v\":2,\"state\":{}}", "unknown format"),
        ] {
            let error = decode(body).unwrap_err().to_string();
            assert!(error.contains(reason), "{body:?} gave: {error}");
        }
    }

    #[test]
    fn the_limit_is_inclusive() {
        let state = state(&[("a", "1")]);
        let size = encode(&state, NO_LIMIT).unwrap().len();
        assert!(encode(&state, size).is_ok());
        assert!(matches!(
            encode(&state, size - 1),
            Err(Error::StateTooLarge { bytes, limit }) if bytes == size && limit == size - 1
        ));
    }
}
