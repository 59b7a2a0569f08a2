use std::{
    fmt,
    sync::{Arc, Mutex},
};

use super::{Cipher, Kind, envelope::KeyId};
use crate::lock::lock;

/// Those that were made of the names of one session: what a request has read with, it writes with. They
/// go with the names, when the request is over.
#[derive(Default)]
pub(crate) struct Ciphers(Mutex<Vec<(KeyId, Kind, Arc<Cipher>)>>);

impl Ciphers {
    #[cfg_attr(not(feature = "seal"), expect(unused))]
    pub(super) fn get(&self, id: KeyId, kind: Kind, make: impl FnOnce() -> Cipher) -> Arc<Cipher> {
        let mut made = lock(&self.0);
        let found = made.iter().find(|it| (it.0, it.1) == (id, kind));
        if let Some((_, _, cipher)) = found {
            return Arc::clone(cipher);
        }
        let cipher = Arc::new(make());
        made.push((id, kind, Arc::clone(&cipher)));
        cipher
    }
}

/// A clone makes its own: its names may become others.
impl Clone for Ciphers {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Ciphers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
