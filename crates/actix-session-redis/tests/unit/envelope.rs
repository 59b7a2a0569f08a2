use proptest::prelude::*;

use super::*;
use crate::session::{KeyRing, seal::key_ring::MasterKey};

const PLACE: Place<'_> = Place {
    prefix: "session:",
    session_id: "aYxfyUt4o81TTxJQIPRqDvzUexDSbiGHyxyTLXnXqZY",
    field: b"user",
};

fn ring(bytes: [u8; 32]) -> KeyRing {
    KeyRing::new([bytes]).unwrap()
}

fn key(ring: &KeyRing) -> &MasterKey {
    &ring.keys()[0]
}

fn sealed(text: &[u8]) -> Vec<u8> {
    let ring = ring([7; 32]);
    let cipher = key(&ring).of_session("cookie");
    seal(key(&ring).id, &cipher, [9; 12], PLACE, text)
}

fn open(value: &[u8], ring: &KeyRing, session_key: &str, place: Place<'_>) -> Option<Vec<u8>> {
    let envelope = Envelope::parse(value).ok()??;
    envelope.open(&key(ring).of_session(session_key), place)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Made with Python's `cryptography`, by what the documentation says of the format: what is in Redis
/// today has to be read for ever.
#[test]
fn the_format_is_the_documented_one() {
    let value = sealed(b"\"alice\"");
    assert_eq!(hex(&value), GOLDEN);
    assert_eq!(
        open(&value, &ring([7; 32]), "cookie", PLACE).as_deref(),
        Some(&b"\"alice\""[..])
    );
    assert_eq!(hex(&key(&ring([7; 32])).of_user("\"alice\"")), GOLDEN_USER);
    let note = key(&ring([7; 32])).of_notes(PLACE.session_id);
    let value = seal(key(&ring([7; 32])).id, &note, [9; 12], PLACE, b"1");
    assert_eq!(hex(&value), GOLDEN_NOTE);
}

const GOLDEN: &str =
    "f94587506b090909090909090909090909c8c6f8952ddaec8a6de45d4a9eb9938841bdf787296f1d";

const GOLDEN_NOTE: &str = "f94587506b090909090909090909090909d7ae47bcd016b059b9d93fd6388aa5f51e";

const GOLDEN_USER: &str = "3b9122f10e4299db870183ea19ce8aaa79009631cc332b0ccba320627ea87d55";

#[test]
fn a_value_opens_nowhere_else() {
    let value = sealed(b"1");
    let ours = ring([7; 32]);
    let opens = |place| open(&value, &ours, "cookie", place).is_some();
    assert!(opens(PLACE));
    for (prefix, session_id, field) in [
        ("session:", PLACE.session_id, "admin"),
        ("session:", PLACE.session_id, ""),
        ("shop:", PLACE.session_id, "user"),
        ("", PLACE.session_id, "user"),
        (
            "session:",
            "bYxfyUt4o81TTxJQIPRqDvzUexDSbiGHyxyTLXnXqZY",
            "user",
        ),
    ] {
        assert!(!opens(Place {
            prefix,
            session_id,
            field: field.as_bytes()
        }));
    }
    // The border between prefix and session id cannot be moved.
    assert!(!opens(Place {
        prefix: "session",
        session_id: &[":", PLACE.session_id].concat(),
        ..PLACE
    }));
    assert!(open(&value, &ours, "another cookie", PLACE).is_none());
    assert!(open(&value, &ring([8; 32]), "cookie", PLACE).is_none());
}

#[test]
fn no_bit_of_it_can_be_changed() {
    let (value, ours) = (sealed(b"{\"admin\":false}"), ring([7; 32]));
    for bit in 0..8 * value.len() {
        let mut changed = value.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(
            open(&changed, &ours, "cookie", PLACE).is_none(),
            "bit {bit}"
        );
    }
}

#[test]
fn no_piece_of_it_opens_and_nothing_can_be_added() {
    let (value, ours) = (sealed(b"true"), ring([7; 32]));
    for length in 0..value.len() {
        assert!(open(&value[..length], &ours, "cookie", PLACE).is_none());
        assert!(open(&value[length + 1..], &ours, "cookie", PLACE).is_none());
        let is_truncated = Envelope::parse(&value[..length]) == Err(Truncated);
        assert_eq!(is_truncated, (1..33).contains(&length), "{length}");
    }
    assert!(open(&[&value[..], b"x"].concat(), &ours, "cookie", PLACE).is_none());
}

proptest! {
    #[test]
    fn what_was_sealed_opens(text: Vec<u8>, master: [u8; 32], session_key: String, nonce: [u8; 12],
        prefix: String, field: Vec<u8>) {
        let ring = ring(master);
        let place = Place { prefix: &prefix, field: &field, ..PLACE };
        let cipher = key(&ring).of_session(&session_key);
        let value = seal(key(&ring).id, &cipher, nonce, place, &text);
        prop_assert_eq!(value.len(), text.len() + 33);
        prop_assert_eq!(Envelope::parse(&value).unwrap().unwrap().key_id, key(&ring).id);
        prop_assert_eq!(open(&value, &ring, &session_key, place), Some(text));
    }

    #[test]
    fn no_text_is_taken_for_sealed(text: String) {
        prop_assert_eq!(Envelope::parse(text.as_bytes()), Ok(None));
    }

    #[test]
    fn nothing_else_opens(value: Vec<u8>) {
        for value in [value.clone(), [&[0xF9], &value[..]].concat()] {
            prop_assert_eq!(open(&value, &ring([7; 32]), "cookie", PLACE), None);
        }
    }
}
