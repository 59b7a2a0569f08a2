//! How a session is laid out in Redis: as ours, or as that of the store built into actix-session.

pub(super) mod asked;
pub(super) mod built_in;
pub(super) mod copy;
pub(super) mod fields;
pub(super) mod hash;

use std::sync::Arc;

use self::{
    asked::{Begun, Birth, Replacement, Written},
    built_in::BuiltIn,
    hash::Hash,
};
use deadpool_redis::redis::Value;

use super::{
    keyspace::Layout,
    script::{BUILT_IN_END, END, Script},
    seal::Seal,
    snapshot::Snapshot,
    state::State,
};
use crate::client::{Connection, Failure};

impl Layout {
    /// Whether a write sends the whole state: there are no fields to write one by one.
    pub(super) fn is_written_whole(self) -> bool {
        match self {
            Self::Hash => false,
            Self::BuiltIn => true,
        }
    }

    /// The script that ends a session.
    pub(super) fn end_script(self) -> &'static Script {
        match self {
            Self::Hash => &END,
            Self::BuiltIn => &BUILT_IN_END,
        }
    }

    /// The last state of a session, as [`end_script`](Self::end_script) returns it.
    pub(super) fn last_state(
        self,
        reply: Value,
        seal: &Seal<'_>,
    ) -> Result<Option<State>, Failure> {
        match self {
            Self::Hash => {
                fields::understand(reply, seal).map(|it| it.ours.is_born.then_some(it.state))
            }
            Self::BuiltIn => built_in::understand(reply),
        }
    }

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
        copy: Option<&str>,
        seal: &Seal<'_>,
    ) -> Result<Written, Failure> {
        match self {
            Self::Hash => Hash { redis, redis_key }.replace(with, copy, seal).await,
            Self::BuiltIn => BuiltIn { redis, redis_key }.replace(with).await,
        }
    }
}
