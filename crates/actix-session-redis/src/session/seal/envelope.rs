//! What a sealed value looks like in Redis.
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | the format version: 0xF9 is version 1. No UTF-8 text has this byte, so nothing that is sealed is taken for a text, nor the other way round |
//! | 4 | the id of the key |
//! | 12 | the nonce |
//! | n | the ciphertext, as long as the text |
//! | 16 | the tag |

use std::fmt;

use super::Cipher;

const VERSION_1: u8 = 0xF9;

const ID_BYTES: usize = 4;

const NONCE_BYTES: usize = 12;

const TAG_BYTES: usize = 16;

pub(crate) type Nonce = [u8; NONCE_BYTES];

pub(crate) type Tag = [u8; TAG_BYTES];

const HEADER_BYTES: usize = 1 + ID_BYTES + NONCE_BYTES;

/// Names a key, and tells nothing of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyId(pub(crate) [u8; ID_BYTES]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A sealed value.
#[derive(Debug, PartialEq)]
pub(crate) struct Envelope<'a> {
    pub(crate) key_id: KeyId,
    nonce: Nonce,
    ciphertext: &'a [u8],
    tag: Tag,
}

/// It was sealed, and is no more than a piece of that.
#[derive(Debug, PartialEq)]
pub(crate) struct Truncated;

impl<'a> Envelope<'a> {
    /// `None` if it is not sealed.
    pub(crate) fn parse(value: &'a [u8]) -> Result<Option<Self>, Truncated> {
        let Some((&VERSION_1, rest)) = value.split_first() else {
            return Ok(None);
        };
        let (id, rest) = rest.split_first_chunk().ok_or(Truncated)?;
        let (nonce, rest) = rest.split_first_chunk().ok_or(Truncated)?;
        let (ciphertext, tag) = rest.split_last_chunk().ok_or(Truncated)?;
        Ok(Some(Self {
            key_id: KeyId(*id),
            nonce: *nonce,
            ciphertext,
            tag: *tag,
        }))
    }

    /// `None` if it was not sealed with this key, for this place.
    pub(crate) fn open(&self, cipher: &Cipher, place: Place<'_>) -> Option<Vec<u8>> {
        let mut text = self.ciphertext.to_vec();
        let associated = &place.associated_data(self.key_id);
        let opened = cipher.open(&self.nonce, associated, &mut text, &self.tag);
        opened.then_some(text)
    }
}

pub(crate) fn seal(
    key_id: KeyId,
    cipher: &Cipher,
    nonce: Nonce,
    place: Place<'_>,
    text: &[u8],
) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(HEADER_BYTES + text.len() + TAG_BYTES);
    sealed.push(VERSION_1);
    sealed.extend_from_slice(&key_id.0);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(text);
    let associated = &place.associated_data(key_id);
    let tag = cipher.seal(&nonce, associated, &mut sealed[HEADER_BYTES..]);
    sealed.extend_from_slice(&tag);
    sealed
}

/// Where a value is, and nowhere else is it accepted.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// That of the store.
    pub(crate) prefix: &'a str,
    pub(crate) session_id: &'a str,
    pub(crate) field: &'a [u8],
}

impl Place<'_> {
    /// The format version, the id of the key, the number of bytes of the prefix (4 bytes, the highest
    /// first), the prefix, the session id (always of 43 bytes), and the name of the field.
    fn associated_data(&self, key_id: KeyId) -> Vec<u8> {
        let prefix_bytes = u32::try_from(self.prefix.len()).unwrap_or(u32::MAX);
        let names_bytes = self.prefix.len() + self.session_id.len() + self.field.len();
        let mut data = Vec::with_capacity(1 + ID_BYTES + 4 + names_bytes);
        data.push(VERSION_1);
        data.extend_from_slice(&key_id.0);
        data.extend_from_slice(&prefix_bytes.to_be_bytes());
        data.extend_from_slice(self.prefix.as_bytes());
        data.extend_from_slice(self.session_id.as_bytes());
        data.extend_from_slice(self.field);
        data
    }
}

#[cfg(all(test, feature = "seal"))]
#[path = "../../../tests/unit/envelope.rs"]
mod tests;
