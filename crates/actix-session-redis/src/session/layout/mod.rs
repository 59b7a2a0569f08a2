//! How a session is laid out in Redis: as ours, or as that of the store built into actix-session.

pub(super) mod built_in;
pub(super) mod copy;
pub(super) mod fields;
pub(super) mod hash;

use std::sync::Arc;

use self::{
    built_in::BuiltIn,
    hash::{Begun, Birth, Hash, Replacement, Written},
};
use super::{keyspace::Layout, seal::Seal, snapshot::Snapshot};
use crate::client::{Connection, Failure};

impl Layout {
    /// Reads a session, and on demand how many milliseconds it has left to live, in one round trip.
    pub(super) async fn read(
        self,
        redis: Arc<Connection>,
        redis_key: &str,
        with_ttl: bool,
        seal: &Seal<'_>,
    ) -> Result<Option<Snapshot>, Failure> {
        match self {
            Self::Hash => Hash { redis, redis_key }.read(with_ttl, seal).await,
            Self::BuiltIn => BuiltIn { redis, redis_key }.read(with_ttl).await,
        }
    }

    /// Begins a session.
    pub(super) async fn create(
        self,
        redis: Arc<Connection>,
        redis_key: &str,
        birth: &Birth<'_>,
        seal: &Seal<'_>,
    ) -> Result<Begun, Failure> {
        match self {
            Self::Hash => Hash { redis, redis_key }.create(birth, seal).await,
            Self::BuiltIn => BuiltIn { redis, redis_key }.create(birth).await,
        }
    }

    /// Gives a session another state, whatever others have made of it.
    pub(super) async fn replace(
        self,
        redis: Arc<Connection>,
        redis_key: &str,
        with: &Replacement<'_>,
        seal: &Seal<'_>,
    ) -> Result<Written, Failure> {
        match self {
            Self::Hash => Hash { redis, redis_key }.replace(with, seal).await,
            Self::BuiltIn => BuiltIn { redis, redis_key }.replace(with).await,
        }
    }
}
