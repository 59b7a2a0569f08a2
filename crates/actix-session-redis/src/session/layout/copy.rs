//! The copy of a session in the layout of the store built into actix-session.

use std::sync::Arc;

use super::{built_in::BuiltIn, hash::Hash};
use crate::{
    client::{Client, Operation},
    error::Error,
    session::{
        snapshot::{Origin, Snapshot},
        state::State,
    },
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
        let read = |redis| BuiltIn { redis, redis_key }.read(true);
        let mut snapshot = self.client.run(self.op, read).await?;
        if let Some(snapshot) = &mut snapshot {
            snapshot.origin = Origin::Copy;
        }
        Ok(snapshot)
    }

    pub(crate) async fn exists(&self) -> Result<bool, Error> {
        let redis_key = self.redis_key;
        let exists = |redis| BuiltIn { redis, redis_key }.exists();
        self.client.run(self.op, exists).await
    }

    pub(crate) async fn write(&self, state: &State, ttl_ms: i64) -> Result<(), Error> {
        let redis_key = self.redis_key;
        let write = |redis| BuiltIn { redis, redis_key }.write(state, ttl_ms);
        self.client.run(self.op, write).await
    }

    /// Lets it live for another TTL; `false` if it is gone.
    pub(crate) async fn prolong(&self, ttl_ms: i64) -> Result<bool, Error> {
        let redis_key = self.redis_key;
        let prolong = |redis| Hash { redis, redis_key }.refresh(ttl_ms);
        self.client.run(self.op, prolong).await
    }

    pub(crate) async fn remove(&self) -> Result<(), Error> {
        let redis_key = self.redis_key;
        let remove = |redis| Hash { redis, redis_key }.remove();
        self.client.run(self.op, remove).await
    }
}
