use std::{
    fmt,
    sync::{Arc, Mutex},
};

use super::{Cipher, envelope::KeyId};
use crate::lock::lock;

/// What can be read.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// With the session key.
    Value,
    /// With the session id.
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

/// A clone makes its own ciphers.
impl Clone for Secrets {
    fn clone(&self) -> Self {
        Self::of(self.session_key.clone())
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
