//! What Redis holds for a session: [`Sessions`] is the only writer. It knows neither HTTP nor
//! the trait of actix-session.
//!
//! The stories of a session are in `begin`, `read`, `write`, `modify`, `renewal` and `end`; those of all
//! that a user has, in `enter` and `user_sessions`. They decide by `changes`, `merge_rules`, `plan`,
//! `details`, `policy`, `snapshot` and `state`; and ask Redis through `record`, `layout`, `tombstone`,
//! `index` and `script`, under the names in `keyspace`, with writes that `idempotency` tells from each
//! other and values that `seal` makes unreadable.

mod begin;
mod changes;
mod check;
mod details;
mod end;
mod enter;
mod entry;
// Not the `fuzzing` that cargo-fuzz sets: applications that fuzz themselves have the package, which has no tests.
#[cfg(any(test, actix_session_redis_fuzzing))]
#[path = "../../tests/fuzzing/mod.rs"]
pub mod fuzzing;
mod idempotency;
mod index;
mod keyspace;
mod layout;
mod merge_rules;
mod modify;
mod plan;
mod policy;
mod read;
mod record;
mod renewal;
mod script;
mod seal;
mod session_id;
mod session_key;
mod snapshot;
mod state;
mod tombstone;
mod ttl;
mod turns;
mod user;
mod user_sessions;
mod write;

use std::sync::{Arc, atomic::AtomicBool};

use actix_session::storage::SessionKey;

#[cfg(not(feature = "seal"))]
pub(crate) use self::seal::KeyRing;
#[cfg(feature = "seal")]
pub use self::seal::KeyRing;
pub(crate) use self::{
    details::Details,
    index::Limit,
    keyspace::{BuiltInNames, Keyspace, Names},
    merge_rules::MergeRules,
    policy::{Policy, Terms},
    read::Found,
    renewal::Renewal,
    seal::Seals,
    session_key::{draw_session_key, is_session_key},
    snapshot::Snapshot,
    state::State,
    user::User,
    write::Effect,
};
pub use self::{
    entry::Login,
    session_id::{InvalidSessionId, SessionId},
};
use self::{idempotency::IdempotencyKeys, index::Index, record::Record, turns::Turns};
use crate::{
    client::{Client, Operation},
    error::Error,
    telemetry::events,
};

/// The sessions of one store, and what its application has declared of them.
#[derive(Debug)]
pub(crate) struct Sessions {
    client: Arc<Client>,
    keyspace: Keyspace,
    policy: Policy,
    merge_rules: MergeRules,
    max_state_bytes: usize,
    /// Whether sessions are prolonged here without being written. Only then it pays to ask for
    /// their TTL when they are read.
    refreshes: AtomicBool,
    idempotency_keys: IdempotencyKeys,
    turns: Turns,
}

impl Sessions {
    pub(crate) fn new(
        client: Arc<Client>,
        keyspace: Keyspace,
        policy: Policy,
        merge_rules: MergeRules,
        max_state_bytes: usize,
    ) -> Self {
        Self {
            client,
            keyspace,
            policy,
            merge_rules,
            max_state_bytes,
            refreshes: AtomicBool::new(false),
            idempotency_keys: IdempotencyKeys::new(),
            turns: Turns::new(),
        }
    }

    pub(crate) fn names(&self, session_key: &SessionKey) -> Names {
        self.keyspace.names(session_key)
    }

    /// The session of this name, whether it is there or not.
    pub(crate) fn record<'a>(&'a self, op: &'a Operation<'a>, names: &'a Names) -> Record<'a> {
        Record::new(self, op, names)
    }

    pub(crate) fn allows_lifetime(&self, lifetime: std::time::Duration) -> bool {
        self.policy.allows(lifetime)
    }

    /// Whether a renewal of the session is a login.
    pub(crate) fn is_login(&self, snapshot: &Snapshot, state: &State, terms: Terms<'_>) -> bool {
        let base = self.policy.user(&snapshot.state);
        self.policy.is_login(base.as_ref(), state, terms)
    }

    /// Whose sessions those are in which the field that names the user holds this JSON.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] when the store does not know of users, or it is no user.
    pub(crate) fn user(&self, json: &str) -> Result<User, Error> {
        self.policy.user_named(json)
    }

    fn seals(&self) -> &Seals {
        &self.policy.seals
    }

    fn index<'a>(&'a self, op: &'a Operation<'a>, user: &'a User) -> Index<'a> {
        Index::new(&self.client, &self.keyspace, op, user)
    }

    fn check_size(&self, state: &State) -> Result<(), Error> {
        let (bytes, limit) = (state::size(state), self.max_state_bytes);
        events::state_written(bytes);
        match bytes > limit {
            true => Err(Error::StateTooLarge { bytes, limit }),
            false => Ok(()),
        }
    }
}
