//! AES-256-GCM, of the crates that actix-session encrypts its cookies with.

use aes_gcm::{
    AeadInPlace as _, AesGcm, KeyInit as _,
    aes::{Aes256Enc, cipher::consts::U12},
};

use super::envelope::{Nonce, Tag};

/// With a key that belongs to one session. GCM decrypts as it encrypts, so the keys of the rounds in which AES
/// decrypts are not made.
pub(crate) struct Cipher(AesGcm<Aes256Enc, U12>);

impl Cipher {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(AesGcm::new(key.into()))
    }

    /// Makes the text a ciphertext, and returns its tag.
    pub(super) fn seal(&self, nonce: &Nonce, associated: &[u8], text: &mut [u8]) -> Tag {
        let sealed = self
            .0
            .encrypt_in_place_detached(nonce.into(), associated, text);
        sealed
            .expect("no text that fits into memory is too long")
            .into()
    }

    /// Makes the ciphertext a text; `false` if it is none of this key and this associated data.
    pub(super) fn open(
        &self,
        nonce: &Nonce,
        associated: &[u8],
        ciphertext: &mut [u8],
        tag: &Tag,
    ) -> bool {
        self.0
            .decrypt_in_place_detached(nonce.into(), associated, ciphertext, tag.into())
            .is_ok()
    }
}
