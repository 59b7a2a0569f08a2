//! In the place of key rings and ciphers, without the feature `seal`: there are none.

use super::envelope::{KeyId, Nonce, Tag};

#[derive(Clone, Debug)]
pub(crate) enum KeyRing {}

impl KeyRing {
    pub(crate) fn keys(&self) -> &[MasterKey] {
        match *self {}
    }

    pub(crate) fn seals(&self) -> bool {
        match *self {}
    }
}

pub(crate) struct MasterKey {
    pub(crate) id: KeyId,
    never: KeyRing,
}

impl MasterKey {
    pub(crate) fn of_session(&self, _: &str) -> Cipher {
        match self.never {}
    }

    pub(crate) fn of_notes(&self, _: &str) -> Cipher {
        match self.never {}
    }

    pub(crate) fn of_user(&self, _: &str) -> [u8; 32] {
        match self.never {}
    }
}

pub(crate) enum Cipher {}

impl Cipher {
    pub(super) fn seal(&self, _: &Nonce, _: &[u8], _: &mut [u8]) -> Tag {
        match *self {}
    }

    pub(super) fn open(&self, _: &Nonce, _: &[u8], _: &mut [u8], _: &Tag) -> bool {
        match *self {}
    }
}
