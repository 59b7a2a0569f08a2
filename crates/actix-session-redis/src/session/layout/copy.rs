//! The copy of a session in the layout of the store built into actix-session.

use std::sync::Arc;

use super::{built_in::BuiltIn, hash::Hash};
use crate::{
    client::{Client, Operation},
    error::Error,
    session::snapshot::{Origin, Snapshot},
};

/// The copy of a session.
pub(crate) struct Copy<'a> {
    pub(crate) client: &'a Arc<Client>,
    pub(crate) op: &'a Operation<'a>,
    pub(crate) redis_key: &'a str,
}

impl Copy<'_> {
    /// # Errors
    ///
    /// [`Error::Unreadable`] when it is none of the built-in store's.
    pub(crate) async fn read(&self) -> Result<Option<Snapshot>, Error> {
        let redis_key = self.redis_key;
        let read = |redis| BuiltIn { redis, redis_key }.read_bytes(true);
        let found = self.client.run(self.op, read).await?;
        Ok(found.map(|(mut snapshot, bytes)| {
            snapshot.origin = Origin::Copy(bytes);
            snapshot
        }))
    }

    pub(crate) async fn remove(&self) -> Result<(), Error> {
        let redis_key = self.redis_key;
        let remove = |redis| Hash { redis, redis_key }.remove();
        self.client.run(self.op, remove).await
    }
}
