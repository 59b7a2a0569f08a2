use actix_session::storage::SessionKey;
use actix_web::cookie::time::Duration;
use session_store_conformance::{Garbage, Harness};

use crate::{
    defect::Defect::{ExpiresEarly, HasAStorageOfItsOwn},
    store::Memory,
};

impl Harness for Memory {
    type Store = Self;

    fn store(&self) -> Self {
        match self.has(HasAStorageOfItsOwn) {
            true => Self::with(HasAStorageOfItsOwn),
            false => self.clone(),
        }
    }

    fn shortest_ttl(&self) -> Duration {
        match self.has(ExpiresEarly) {
            // So long that a busy machine does not hide it.
            true => Duration::seconds(2),
            false => Duration::milliseconds(30),
        }
    }

    async fn overwrite(&self, session_key: &SessionKey, garbage: Garbage<'_>) -> bool {
        let Garbage::Bytes(bytes) = garbage else {
            return false;
        };
        let mut storage = self.storage.borrow_mut();
        let entry = storage.entries.get_mut(&self.name(session_key.as_ref()));
        entry.is_some_and(|entry| {
            entry.bytes = bytes.to_vec();
            true
        })
    }

    async fn contents(&self) -> Option<Vec<u8>> {
        let storage = self.storage.borrow();
        let parts = storage.entries.iter();
        let parts = parts.map(|(name, entry)| [name.as_bytes(), &entry.bytes].concat());
        Some(parts.collect::<Vec<_>>().concat())
    }
}

/// The same store, of which the suite knows no more than it has to.
#[derive(Default)]
pub(crate) struct Opaque(Memory);

impl Harness for Opaque {
    type Store = Memory;

    fn store(&self) -> Memory {
        self.0.store()
    }

    fn shortest_ttl(&self) -> Duration {
        self.0.shortest_ttl()
    }
}
