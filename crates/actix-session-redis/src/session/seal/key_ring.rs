use std::{env, fmt, sync::Arc};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{Cipher, envelope::KeyId};
use crate::error::Error;

const KEY_BYTES: usize = 32;

/// More than anybody needs who changes them; each is tried for the names of users.
const MAX_KEYS: usize = 16;

/// The master keys by which a store [seals](crate::RedisSessionStoreBuilder::seal) what it keeps in
/// Redis: the first writes, all of them read.
///
/// Each is 32 random bytes. No other application should have them, and Redis must not: they belong into
/// a secret of the deployment, for example an environment variable.
///
/// ```
/// use actix_session_redis::KeyRing;
///
/// # fn main() -> Result<(), actix_session_redis::Error> {
/// // `openssl rand -base64 32` makes one.
/// let keys = KeyRing::from_base64("uTiXUOmrPgNRfVYlxlc+FpDOLbfHN5FTWfCUexDCYwY=")?;
/// # Ok(())
/// # }
/// ```
///
/// [How to change them](crate::sealing#changing-the-keys) without logging anybody out is told in the
/// chapter on sealing. They are wiped from memory when the last clone is dropped, and `Debug` shows only
/// their ids.
#[derive(Clone)]
pub struct KeyRing {
    keys: Arc<[MasterKey]>,
    only_reads: bool,
}

impl KeyRing {
    /// Of these keys, newest first.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] when a key has not 32 bytes, there are none or more than 16, or two are the
    /// same.
    pub fn new(keys: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Self, Error> {
        let mut ring: Vec<MasterKey> = Vec::new();
        for (number, key) in (1..).zip(keys) {
            let key = MasterKey::new(key.as_ref(), number)?;
            if ring.iter().any(|other| other.id == key.id) {
                return Err(invalid(format!("key {number} is there twice")));
            }
            ring.push(key);
        }
        match ring.len() {
            1..=MAX_KEYS => Ok(Self {
                keys: ring.into(),
                only_reads: false,
            }),
            0 => Err(invalid("there is no key".to_owned())),
            keys => Err(invalid(format!(
                "there are {keys} keys, at most {MAX_KEYS} are allowed"
            ))),
        }
    }

    /// Of keys in [base64](https://www.rfc-editor.org/rfc/rfc4648#section-4), separated by commas, newest
    /// first. The alphabet for URLs is understood, too, and padding may be left out.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and when one is not base64. The text is not quoted.
    pub fn from_base64(keys: &str) -> Result<Self, Error> {
        if keys.trim().is_empty() {
            return Self::new([[]; 0]);
        }
        let decoded = (1..)
            .zip(keys.split(','))
            .map(|(number, key)| decode(key.trim(), number));
        Self::new(
            decoded
                .collect::<Result<Vec<_>, _>>()?
                .iter()
                .map(|key| &key[..]),
        )
    }

    /// Of the [keys in base64](Self::from_base64) that an environment variable holds.
    ///
    /// # Errors
    ///
    /// As [`from_base64`](Self::from_base64), and when the variable is not set.
    pub fn from_env(variable: &str) -> Result<Self, Error> {
        match env::var(variable) {
            Ok(keys) => Self::from_base64(&Zeroizing::new(keys)),
            Err(env::VarError::NotPresent) => Err(invalid(format!("{variable} is not set"))),
            Err(env::VarError::NotUnicode(_)) => Err(invalid(format!("{variable} is no text"))),
        }
    }

    /// The same keys, with which nothing is sealed yet, or no more: a store with them reads sealed sessions
    /// and others, and writes clear text. So every instance can read what the first one seals, before
    /// there is one; and sealing can be given up again.
    #[must_use]
    pub fn only_reads(mut self) -> Self {
        self.only_reads = true;
        self
    }

    /// Newest first.
    pub(crate) fn keys(&self) -> &[MasterKey] {
        &self.keys
    }

    pub(crate) fn seals(&self) -> bool {
        !self.only_reads
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.keys.iter().map(|key| key.id).collect();
        let mut ring = f.debug_struct("KeyRing");
        ring.field("keys", &ids);
        ring.field("only_reads", &self.only_reads).finish()
    }
}

/// From which all keys for one purpose are derived, by
/// [HKDF](https://www.rfc-editor.org/rfc/rfc5869). It is a strong key, so that it needs no extraction
/// ([section 3.3](https://www.rfc-editor.org/rfc/rfc5869#section-3.3)).
pub(crate) struct MasterKey {
    pub(crate) id: KeyId,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl MasterKey {
    fn new(key: &[u8], number: usize) -> Result<Self, Error> {
        let bytes = key.try_into().map_err(|_| {
            let bytes = key.len();
            invalid(format!(
                "key {number} has {bytes} bytes, {KEY_BYTES} are needed"
            ))
        })?;
        let mut key = Self {
            id: KeyId([0; 4]),
            bytes: Zeroizing::new(bytes),
        };
        key.id = KeyId(*key.derive("key id", b""));
        Ok(key)
    }

    /// For what only whoever has the cookie of the session may read.
    pub(crate) fn of_session(&self, session_key: &str) -> Cipher {
        Cipher::new(&self.derive("session", session_key.as_bytes()))
    }

    /// For what is shown of the session to whoever lists those of a user.
    pub(crate) fn of_notes(&self, session_id: &str) -> Cipher {
        Cipher::new(&self.derive("notes", session_id.as_bytes()))
    }

    /// What stands for this JSON in the name of a user.
    pub(crate) fn of_user(&self, json: &str) -> [u8; 32] {
        *self.derive("user", json.as_bytes())
    }

    fn derive<const BYTES: usize>(&self, purpose: &str, of: &[u8]) -> Zeroizing<[u8; BYTES]> {
        let mut derived = Zeroizing::new([0; BYTES]);
        let info = [b"actix-session-redis 1 ", purpose.as_bytes(), b"\0", of];
        Hkdf::<Sha256>::from_prk(&*self.bytes)
            .expect("a key has as many bytes as a hash")
            .expand_multi_info(&info, &mut *derived)
            .expect("a hash is enough");
        derived
    }
}

fn decode(key: &str, number: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = match key.contains(['-', '_']) {
        true => alphabet::URL_SAFE,
        false => alphabet::STANDARD,
    };
    match GeneralPurpose::new(&alphabet, CONFIG).decode(key) {
        Ok(key) => Ok(Zeroizing::new(key)),
        Err(_) => Err(invalid(format!("key {number} is not base64"))),
    }
}

fn invalid(reason: String) -> Error {
    let option = "seal";
    Error::InvalidOption { option, reason }
}
