//! What a browser may send for a session key, and what is handed to the store as a key or an id.

use actix_session::storage::SessionKey;

use super::{COPIED, input::text, stores::keyspace, within};
use crate::session::{
    BuiltInNames, SessionId, is_session_key, session_id::InvalidSessionId, user::UserId,
};

/// Whatever the cookie holds is taken for a session key before anything is known of it.
pub(super) fn session_key(data: &[u8]) {
    let text = text(data);
    is_session_id_or_not(text);
    let Ok(session_key) = SessionKey::try_from(text.to_owned()) else {
        return;
    };
    let is_one = text.len() == 64 && text.chars().all(|c| c.is_ascii_alphanumeric());
    assert_eq!(is_session_key(&session_key), is_one);
    let prefix = || "theirs:".to_owned();
    for built_in in [
        BuiltInNames::Ignored,
        BuiltInNames::Adopted { prefix: prefix() },
        BuiltInNames::Used { prefix: prefix() },
    ] {
        for is_sealed in [false, true] {
            let is_used = matches!(built_in, BuiltInNames::Used { .. });
            let keyspace = keyspace(copied(&built_in), is_sealed);
            let names = within(COPIED, text.len(), || keyspace.names(&session_key));
            is_session_id_or_not(names.id.as_ref());
            let ours = ["session:", names.id.as_ref()].concat();
            let theirs = ["theirs:", text].concat();
            assert_eq!(
                keyspace.session(&names),
                if is_used { &*theirs } else { &*ours }
            );
            assert_eq!(
                keyspace.tombstone(&names.id),
                format!("session:ended:{{{ours}}}")
            );
            let told = keyspace.decode_successor(keyspace.encode_successor(&names).into());
            // No session of ours has another kind of key.
            let expected = (is_one || !is_used).then_some(&names.id);
            assert_eq!(told.map(|told| told.id).as_ref(), expected);
        }
    }
}

fn copied(names: &BuiltInNames) -> BuiltInNames {
    match names {
        BuiltInNames::Ignored => BuiltInNames::Ignored,
        BuiltInNames::Adopted { prefix } => BuiltInNames::Adopted {
            prefix: prefix.clone(),
        },
        BuiltInNames::Used { prefix } => BuiltInNames::Used {
            prefix: prefix.clone(),
        },
    }
}

fn is_session_id_or_not(text: &str) {
    let is_id = text.len() == 43
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    match within(COPIED, text.len(), || text.parse::<SessionId>()) {
        Ok(id) => assert!(is_id && id.to_string() == text),
        Err(InvalidSessionId) => assert!(!is_id),
    }
    assert_eq!(UserId::parse(text).is_some(), is_id);
}

/// The master keys are the application's own, but a mistake in them must show no part of them.
#[cfg(feature = "seal")]
pub(super) fn key_ring(data: &[u8]) {
    let text = text(data);
    let ring = within(super::JSON, text.len(), || {
        crate::KeyRing::from_base64(text)
    });
    let shown = match &ring {
        Ok(ring) => format!("{ring:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    for key in text.split(',').map(str::trim) {
        assert!(
            key.len() < 43 || key.contains(' ') || !shown.contains(key),
            "{shown}"
        );
    }
    if let Ok(ring) = ring {
        assert!((1..=16).contains(&ring.keys().len()));
        assert_eq!(ring.keys().len(), text.split(',').count());
        let again = crate::KeyRing::from_base64(&[text, " "].concat());
        let ids = |ring: &crate::KeyRing| ring.keys().iter().map(|key| key.id).collect::<Vec<_>>();
        assert_eq!(again.ok().as_ref().map(ids), Some(ids(&ring)));
    }
}
