use std::sync::{Arc, Mutex};

use super::{Cipher, envelope::KeyId};
use crate::lock::lock;

/// By which of the two secrets of a session a text is sealed.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// By its session key.
    Value,
    /// By its id, and the master key alone.
    Note,
}

/// By what one session is opened: its session key, if it is known, and the ciphers that were made so far.
/// What a request has read with, it writes with.
#[derive(Default)]
pub(crate) struct Secrets {
    session_key: Option<String>,
    ciphers: Mutex<Vec<(KeyId, Kind, Arc<Cipher>)>>,
}

impl Secrets {
    pub(crate) fn of(session_key: Option<String>) -> Self {
        Self {
            session_key,
            ..Self::default()
        }
    }

    pub(crate) fn session_key(&self) -> Option<&str> {
        self.session_key.as_deref()
    }

    #[cfg_attr(not(feature = "seal"), expect(unused))]
    pub(super) fn get(&self, id: KeyId, kind: Kind, make: impl FnOnce() -> Cipher) -> Arc<Cipher> {
        let mut made = lock(&self.ciphers);
        let found = made.iter().find(|it| (it.0, it.1) == (id, kind));
        if let Some((_, _, cipher)) = found {
            return Arc::clone(cipher);
        }
        let cipher = Arc::new(make());
        made.push((id, kind, Arc::clone(&cipher)));
        cipher
    }
}
