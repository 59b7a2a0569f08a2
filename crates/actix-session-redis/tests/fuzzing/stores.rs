//! Stores with different key rings, and what they make of a value. A model of it in a few lines says what they
//! have to.

use std::sync::Arc;

use super::input::Input;
use crate::{
    client::Failure,
    error::Error,
    session::{BuiltInNames, Keyspace, Names, Seals, seal::Seal},
};

pub(super) const SESSION_KEY: &str =
    "aVerySecretSessionKeyaVerySecretSessionKeyaVerySecretSessionKey9";

const PREFIX: &str = "session:";

/// Who reads.
pub(super) struct Store {
    pub(super) seals: Arc<Seals>,
    pub(super) names: Names,
    #[cfg_attr(not(feature = "seal"), expect(dead_code))]
    knows_session_key: bool,
    accepts_unsealed: bool,
    /// Which of the keys it has, newest first.
    keys: &'static [u8],
}

/// A value as Redis has it.
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    /// What was sealed, where it was for this place, with a key of the reader's ring.
    text: Option<Vec<u8>>,
}

impl Held {
    /// What is never sealed.
    pub(super) fn plain(text: String) -> Self {
        let bytes = text.into_bytes();
        Self { bytes, text: None }
    }
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Value,
    Note,
}

impl Store {
    pub(super) fn any(input: &mut Input<'_>) -> Self {
        #[cfg(feature = "seal")]
        let (keys, accepts, only_reads): (&'static [u8], _, _) = match input.choice(6) {
            0 => (&[], false, false),
            1 => (&[7], false, false),
            2 => (&[7], true, false),
            3 => (&[7], false, true),
            4 => (&[8, 7], false, false),
            _ => (&[8, 7], true, false),
        };
        #[cfg(not(feature = "seal"))]
        let (keys, accepts, only_reads): (&'static [u8], _, _) = (&[], false, input.choice(1) > 0);
        let mut names = names(keys, SESSION_KEY);
        let knows_session_key = input.choice(8) != 7;
        if !knows_session_key {
            names = Names::of_id(names.id);
        }
        Self {
            seals: seals(keys, accepts, only_reads, PREFIX).into(),
            names,
            knows_session_key,
            accepts_unsealed: accepts || only_reads || keys.is_empty(),
            keys,
        }
    }

    pub(super) fn seal(&self) -> Seal<'_> {
        self.names.seal(&self.seals)
    }

    pub(super) fn is_on(&self) -> bool {
        !self.keys.is_empty()
    }

    /// What there may be in a field: sealed as it should be, sealed elsewhere, changed, made up.
    pub(super) fn held(&self, input: &mut Input<'_>, kind: Kind, field: &[u8]) -> Held {
        #[cfg(feature = "seal")]
        match input.choice(4) {
            0 => {}
            1 => return self.sealed(input, kind, field, false),
            2 => return self.sealed(input, kind, field, true),
            _ => {
                let bytes = [&[0xF9], input.bytes()].concat();
                return Held { bytes, text: None };
            }
        }
        let _ = (kind, field);
        let bytes = input.bytes().to_vec();
        Held { bytes, text: None }
    }

    #[cfg(feature = "seal")]
    fn sealed(&self, input: &mut Input<'_>, kind: Kind, field: &[u8], elsewhere: bool) -> Held {
        const OTHER_KEY: &str = "anotherSessionKeyanotherSessionKeyanotherSessionKeyanotherSessi9";

        let (mut key, mut session_key, mut prefix, mut name, mut of) =
            (&[7_u8][..], SESSION_KEY, PREFIX, field.to_vec(), kind);
        if elsewhere {
            match input.choice(8) {
                0 => key = &[8],
                1 => key = &[9],
                2 => session_key = OTHER_KEY,
                3 => prefix = "shop:",
                4 => prefix = "session",
                5 => name = input.bytes().to_vec(),
                6 => of = input.pick(&[Kind::Value, Kind::Note]),
                _ => {}
            }
        }
        let writer = (seals(key, false, false, prefix), names(key, session_key));
        let seal = writer.1.seal(&writer.0);
        let text = input.text();
        let name_text = super::input::text(&name);
        let sealed = match of {
            // Fields of a state are texts.
            Kind::Value if name_text.len() == name.len() => seal.value(name_text, text),
            _ => {
                of = Kind::Note;
                seal.note(&name, text)
            }
        };
        let mut bytes = sealed.into_owned();
        let is_ours = session_key == SESSION_KEY && prefix == PREFIX && name == field;
        let has_secret = matches!(of, Kind::Note) || self.knows_session_key;
        let is_of_kind = matches!(
            (of, kind),
            (Kind::Note, Kind::Note) | (Kind::Value, Kind::Value)
        );
        let opens = is_ours && has_secret && is_of_kind && self.keys.contains(&key[0]);
        let is_changed = elsewhere && change(input, &mut bytes);
        Held {
            bytes,
            text: (opens && !is_changed).then(|| text.as_bytes().to_vec()),
        }
    }

    /// What a field has to be read as.
    pub(super) fn model(&self, held: &Held) -> Result<Vec<u8>, ()> {
        let is_sealed = held.bytes.first() == Some(&0xF9);
        match &held.text {
            Some(text) => Ok(text.clone()),
            None if is_sealed && (self.is_on() || held.bytes.len() >= 33) => Err(()),
            None if self.accepts_unsealed => Ok(held.bytes.clone()),
            None => Err(()),
        }
    }
}

/// Changes what was sealed, if the input says so.
#[cfg(feature = "seal")]
fn change(input: &mut Input<'_>, bytes: &mut Vec<u8>) -> bool {
    let before = bytes.clone();
    for _ in 0..input.choice(4) {
        let at = (usize::from(input.byte()) * 256 + usize::from(input.byte())) % (bytes.len() + 1);
        match input.choice(5) {
            0 if at < bytes.len() => bytes[at] ^= input.byte(),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(..at)),
            3 => bytes.insert(at, input.byte()),
            _ => bytes.extend_from_slice(input.bytes()),
        }
    }
    *bytes != before
}

/// What any reply is read as, and why not.
pub(super) fn check(failure: &Failure) {
    const ONLY: &str = "nothing else goes wrong with what was read";

    match failure {
        Failure::Transient(fault) => assert!(fault.to_string().len() < 200, "{ONLY}: {fault}"),
        Failure::Permanent(
            Error::Unreadable { .. }
            | Error::UnknownSealKey { .. }
            | Error::Unsealed
            | Error::BrokenSeal,
        ) => {}
        Failure::Permanent(error) => panic!("{ONLY}: {error}"),
    }
}

pub(super) fn keyspace(built_in: BuiltInNames, is_sealed: bool) -> Keyspace {
    Keyspace::new(PREFIX.to_owned(), built_in, is_sealed)
}

fn names(keys: &[u8], session_key: &str) -> Names {
    let session_key = session_key.to_owned().try_into();
    let keyspace = keyspace(BuiltInNames::Ignored, !keys.is_empty());
    keyspace.names(&session_key.expect("it is short"))
}

#[cfg(feature = "seal")]
fn seals(keys: &[u8], accepts_unsealed: bool, only_reads: bool, prefix: &str) -> Seals {
    let ring = (!keys.is_empty()).then(|| {
        let ring = crate::KeyRing::new(keys.iter().map(|&key| [key; 32]));
        let ring = ring.expect("keys of 32 bytes");
        if only_reads { ring.only_reads() } else { ring }
    });
    Seals::new(ring, accepts_unsealed, prefix.to_owned(), true)
}

#[cfg(not(feature = "seal"))]
fn seals(_: &[u8], _: bool, _: bool, prefix: &str) -> Seals {
    Seals::new(None, false, prefix.to_owned(), true)
}

/// One value after another, of one session.
#[cfg(feature = "seal")]
pub(super) fn envelope(data: &[u8]) {
    use super::{COPIED, within};
    use crate::session::details::{BORN, LABEL};

    let mut input = Input::new(data);
    let store = Store::any(&mut input);
    let mut failures = 0;
    let seal = store.seal();
    while !input.is_empty() {
        let kind = input.pick(&[Kind::Value, Kind::Note]);
        let field = input.pick(&[&b"user"[..], b"", b"\xFF", BORN, LABEL]);
        let held = store.held(&mut input, kind, field);
        let expected = store.model(&held);
        let came = held.bytes.len();
        let opened = within(COPIED, came, || match kind {
            Kind::Value => seal.open_value(field, &held.bytes),
            Kind::Note => seal.open_note(field, &held.bytes),
        });
        match opened {
            Ok(opened) => assert_eq!(Ok(opened.text.into_owned()), expected),
            Err(failure) => {
                assert!(expected.is_err(), "does not open: {failure:?}");
                check(&failure);
                // What another connection brings stands.
                if !matches!(
                    failure,
                    Failure::Permanent(Error::Unsealed | Error::UnknownSealKey { .. })
                ) {
                    let is_transient = matches!(failure, Failure::Transient(_));
                    assert_eq!(is_transient, failures == 0);
                    failures += 1;
                }
            }
        }
    }
}
