//! How a session is laid out in Redis: as ours, or as that of the store built into actix-session.

pub(super) mod built_in;
pub(super) mod hash;

use std::sync::Arc;

use self::{
    built_in::BuiltIn,
    hash::{Birth, Hash},
};
use super::{keyspace::Layout, snapshot::Snapshot, state::State};
use crate::client::{Connection, Failure};

impl Layout {
    /// Reads a session, and on demand how many milliseconds it has left to live, in one round trip.
    pub(super) async fn read(
        self,
        redis: Arc<Connection>,
        redis_key: &str,
        with_ttl: bool,
    ) -> Result<Option<Snapshot>, Failure> {
        match self {
            Self::Hash => Hash { redis, redis_key }.read(with_ttl).await,
            Self::BuiltIn => BuiltIn { redis, redis_key }.read(with_ttl).await,
        }
    }

    /// Begins a session; `false` if the key is taken.
    pub(super) async fn create(
        self,
        redis: Arc<Connection>,
        redis_key: &str,
        birth: &Birth<'_>,
    ) -> Result<bool, Failure> {
        match self {
            Self::Hash => Hash { redis, redis_key }.create(birth).await,
            Self::BuiltIn => BuiltIn { redis, redis_key }.create(birth).await,
        }
    }

    /// Gives a session another state, whatever others have made of it; `false` if it is gone.
    pub(super) async fn replace(
        self,
        redis: Arc<Connection>,
        redis_key: &str,
        state: &State,
        ttl_ms: Option<i64>,
    ) -> Result<bool, Failure> {
        match self {
            Self::Hash => Hash { redis, redis_key }.replace(state, ttl_ms).await,
            Self::BuiltIn => BuiltIn { redis, redis_key }.replace(state, ttl_ms).await,
        }
    }
}
