//! Sealing: nobody reads the values of a session in Redis, or puts others there, without a master key of
//! the application *and* the session key of the one session.

#[cfg(not(feature = "seal"))]
mod absent;
mod broken;
#[cfg(feature = "seal")]
mod cipher;
mod envelope;
#[cfg(feature = "seal")]
mod key_ring;
mod nonces;
mod secrets;
mod stored;

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use sha2::{Digest as _, Sha256};

#[cfg(not(feature = "seal"))]
pub(crate) use self::absent::KeyRing;
#[cfg(not(feature = "seal"))]
use self::absent::{Cipher, MasterKey};
use self::broken::Broken;
use self::envelope::{Envelope, Place, Truncated};
#[cfg(feature = "seal")]
pub use self::key_ring::KeyRing;
use self::nonces::Nonces;
use self::secrets::Kind;
#[cfg(feature = "seal")]
use self::{cipher::Cipher, key_ring::MasterKey};
pub(crate) use self::{secrets::Secrets, stored::Stored};
use crate::{
    client::Failure,
    error::{Error, Fault},
};

/// What seals the values of a store, if anything does.
#[derive(Debug, Default)]
pub(crate) struct Seals {
    ring: Option<KeyRing>,
    accepts_unsealed: bool,
    prefix: String,
    /// Whether it matters to each request when its session has begun.
    needs_born: bool,
    broken: Broken,
}

impl Seals {
    pub(crate) fn new(
        ring: Option<KeyRing>,
        accepts_unsealed: bool,
        prefix: String,
        needs_born: bool,
    ) -> Self {
        Self {
            ring,
            accepts_unsealed,
            prefix,
            needs_born,
            broken: Broken::default(),
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.ring.is_some()
    }

    /// Whether there may be sessions that are to be sealed anew.
    pub(crate) fn are_changing(&self) -> bool {
        self.is_on() && (self.keys().len() > 1 || self.accepts_unsealed())
    }

    pub(crate) fn of<'a>(&'a self, session_id: &'a str, secrets: &'a Secrets) -> Seal<'a> {
        Seal {
            seals: self,
            session_id,
            secrets,
            was_broken: AtomicBool::new(false),
            nonces: Nonces::default(),
        }
    }

    /// What stands for this JSON in the names of a user: today, and under older keys of the ring, the newest
    /// first, and in clear.
    pub(crate) fn hashes(&self, json: &str) -> Vec<[u8; 32]> {
        let mut hashes: Vec<_> = self.keys().iter().map(|key| key.of_user(json)).collect();
        if self.accepts_unsealed() {
            let at = if self.seals() { hashes.len() } else { 0 };
            hashes.insert(at, Sha256::digest(json).into());
        }
        hashes
    }

    /// Whether what is written is sealed.
    fn seals(&self) -> bool {
        self.ring.as_ref().is_some_and(KeyRing::seals)
    }

    fn accepts_unsealed(&self) -> bool {
        self.accepts_unsealed || !self.seals()
    }

    /// Newest first.
    fn keys(&self) -> &[MasterKey] {
        self.ring.as_ref().map_or(&[], KeyRing::keys)
    }
}

/// What seals the values of one session, for one operation.
pub(crate) struct Seal<'a> {
    seals: &'a Seals,
    session_id: &'a str,
    secrets: &'a Secrets,
    /// A value did not open that one connection has brought.
    was_broken: AtomicBool,
    nonces: Nonces,
}

pub(crate) struct Opened<'v> {
    /// Borrowed if it was not sealed.
    pub(crate) text: Cow<'v, [u8]>,
    /// It would not be sealed like that today.
    pub(crate) is_stale: bool,
}

impl Seal<'_> {
    pub(crate) fn is_on(&self) -> bool {
        self.seals.is_on()
    }

    /// Whether it is enough to look when the session has begun if somebody asks. Not while some of it may
    /// have to be sealed anew.
    pub(crate) fn born_can_wait(&self) -> bool {
        self.is_on() && !self.seals.needs_born && !self.seals.are_changing()
    }

    /// What Redis is to hold for a field of the state.
    pub(crate) fn value<'t>(&self, field: &str, json: &'t str) -> Cow<'t, [u8]> {
        self.seal(Kind::Value, field.as_bytes(), json)
    }

    /// The same for what whoever lists sessions may read, who does not have their keys.
    pub(crate) fn note<'t>(&self, field: &[u8], text: &'t str) -> Cow<'t, [u8]> {
        self.seal(Kind::Note, field, text)
    }

    pub(crate) fn open_value<'v>(
        &self,
        field: &[u8],
        value: &'v [u8],
    ) -> Result<Opened<'v>, Failure> {
        self.open(Kind::Value, field, value)
    }

    pub(crate) fn open_note<'v>(
        &self,
        field: &[u8],
        value: &'v [u8],
    ) -> Result<Opened<'v>, Failure> {
        self.open(Kind::Note, field, value)
    }

    fn seal<'t>(&self, kind: Kind, field: &[u8], text: &'t str) -> Cow<'t, [u8]> {
        let newest = match self.seals.keys() {
            [newest, ..] if self.seals.seals() => newest,
            _ => return text.as_bytes().into(),
        };
        let cipher = self.cipher(newest, kind);
        let cipher = cipher.expect("who writes a session has its key");
        let nonce = self.nonces.next();
        let place = self.place(field);
        envelope::seal(newest.id, &cipher, nonce, place, text.as_bytes()).into()
    }

    fn open<'v>(&self, kind: Kind, field: &[u8], value: &'v [u8]) -> Result<Opened<'v>, Failure> {
        let Some((envelope, number)) = self.envelope(value)? else {
            return Ok(Opened {
                text: value.into(),
                is_stale: self.seals.seals(),
            });
        };
        let cipher = self.cipher(&self.seals.keys()[number], kind);
        let text = cipher.and_then(|cipher| envelope.open(&cipher, self.place(field)));
        Ok(Opened {
            text: text.ok_or_else(|| self.broken())?.into(),
            is_stale: number > 0 || !self.seals.seals(),
        })
    }

    /// And the number of its key; `None` if it is clear text, and may be.
    ///
    /// # Errors
    ///
    /// When it cannot be what it should.
    pub(crate) fn envelope<'v>(
        &self,
        value: &'v [u8],
    ) -> Result<Option<(Envelope<'v>, usize)>, Failure> {
        let envelope = match Envelope::parse(value) {
            Ok(Some(envelope)) => envelope,
            Err(Truncated) if self.is_on() => return Err(self.broken()),
            Ok(None) if !self.seals.accepts_unsealed() => {
                return Err(Failure::Permanent(Error::Unsealed));
            }
            _ => return Ok(None),
        };
        let mut keys = self.seals.keys().iter();
        let Some(number) = keys.position(|key| key.id == envelope.key_id) else {
            let key_id = envelope.key_id.to_string();
            return Err(Failure::Permanent(Error::UnknownSealKey { key_id }));
        };
        Ok(Some((envelope, number)))
    }

    /// From another connection: what does not open now stands.
    pub(crate) fn ask_again(&self) {
        self.was_broken.store(true, Relaxed);
    }

    /// Replies may have got out of step: what another connection brings stands, and for a while no
    /// connection is replaced for this session again.
    fn broken(&self) -> Failure {
        let (broken, id) = (&self.seals.broken, self.session_id);
        if self.was_broken.swap(true, Relaxed) {
            broken.note(id);
        } else if !broken.is_noted(id) {
            return Failure::Transient(Fault::broken_seal());
        }
        Failure::Permanent(Error::BrokenSeal)
    }

    /// `None` if the session is only known by its id.
    fn cipher(&self, key: &MasterKey, kind: Kind) -> Option<Arc<Cipher>> {
        let (id, secrets) = (key.id, self.secrets);
        Some(match kind {
            Kind::Value => {
                let session_key = secrets.session_key()?;
                secrets.get(id, kind, || key.of_session(session_key))
            }
            Kind::Note => secrets.get(id, kind, || key.of_notes(self.session_id)),
        })
    }

    fn place<'a>(&'a self, field: &'a [u8]) -> Place<'a> {
        Place {
            prefix: &self.seals.prefix,
            session_id: self.session_id,
            field,
        }
    }
}
