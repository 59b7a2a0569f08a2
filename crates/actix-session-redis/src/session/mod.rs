//! What Redis holds for a session: [`Sessions`] is the only writer. It knows neither HTTP nor
//! the trait of actix-session.
//!
//! The stories of a session are in `begin`, `read`, `write`, `modify`, `renewal` and `end`; those of all
//! that a user has, in `enter` and `user_sessions`. They decide by `changes`, `plan`, `details`, `rules`,
//! `snapshot` and `state`; and ask Redis through `record`, `layout`, `tombstone`, `index` and `script`,
//! under the names in `keyspace`, with writes that `idempotency` tells from each other and values that
//! `seal` makes unreadable.

mod begin;
mod changes;
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
mod modify;
mod plan;
mod read;
mod record;
mod renewal;
mod rules;
mod script;
mod seal;
mod snapshot;
mod state;
mod storage;
mod tombstone;
mod ttl;
mod turns;
mod user_sessions;
mod write;

use std::{sync::Arc, time::Duration};

use actix_session::storage::SessionKey;

#[cfg(not(feature = "seal"))]
pub(crate) use self::seal::KeyRing;
#[cfg(feature = "seal")]
pub use self::seal::KeyRing;
pub(crate) use self::{
    changes::MergeRules,
    details::{Details, Policy, Terms},
    index::Limit,
    keyspace::{BuiltInNames, Keyspace, Names, User, draw_session_key, is_session_key},
    read::Found,
    renewal::Renewal,
    rules::Rules,
    seal::Seals,
    snapshot::Snapshot,
    state::State,
    write::Effect,
};
pub use self::{
    entry::Login,
    keyspace::{InvalidSessionId, SessionId},
};
use self::{record::Record, storage::Storage};
use crate::{
    client::{Client, Operation},
    error::Error,
};

/// The sessions of one store.
#[derive(Debug)]
pub(crate) struct Sessions {
    storage: Storage,
}

impl Sessions {
    pub(crate) fn new(client: Arc<Client>, keyspace: Keyspace, rules: Rules) -> Self {
        Self {
            storage: Storage::new(client, keyspace, rules),
        }
    }

    pub(crate) fn names(&self, session_key: &SessionKey) -> Names {
        self.storage.keyspace.names(session_key)
    }

    fn record<'a>(&'a self, op: &'a Operation<'a>, names: &'a Names) -> Record<'a> {
        Record::new(&self.storage, op, names)
    }

    /// For a request of the session, which may have ended.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`] when something else is there than a session.
    pub(crate) async fn find(&self, op: &Operation<'_>, names: &Names) -> Result<Found, Error> {
        read::find(&self.record(op, names), true).await
    }

    /// # Errors
    ///
    /// [`Error::Unreadable`] when something else is there than a session.
    pub(crate) async fn read(
        &self,
        op: &Operation<'_>,
        names: &Names,
    ) -> Result<Option<Snapshot>, Error> {
        let found = read::read(&self.record(op, names), false).await?;
        Ok(found.session())
    }

    /// How long the session lives, if nobody uses it; `None` if it is gone.
    pub(crate) async fn expires_in(
        &self,
        names: &Names,
        snapshot: &Snapshot,
    ) -> Result<Option<Duration>, Error> {
        let op = &self.storage.client.operation("expires_in");
        let session = self.record(op, names);
        let ttl_left_ms = op.of(read::ttl_left_ms(&session)).await?;
        let left_ms = self.storage.rules.policy.left_ms(&snapshot.details);
        let left_ms = ttl_left_ms.min(left_ms.unwrap_or(i64::MAX));
        Ok(u64::try_from(left_ms).ok().map(Duration::from_millis))
    }

    pub(crate) fn allows_lifetime(&self, lifetime: Duration) -> bool {
        self.storage.rules.policy.allows(lifetime)
    }

    /// Whether a renewal of the session is a login.
    pub(crate) fn is_login(&self, snapshot: &Snapshot, state: &State, terms: Terms<'_>) -> bool {
        let policy = &self.storage.rules.policy;
        let base = policy.user(&snapshot.state);
        policy.is_login(base.as_ref(), state, terms)
    }

    /// Begins a session under a new key; if that is taken, under another one. `None` if all sessions
    /// of its user have been ended meanwhile.
    pub(crate) async fn create(
        &self,
        op: &Operation<'_>,
        state: &State,
        terms: Terms<'_>,
    ) -> Result<Option<SessionKey>, Error> {
        let created = begin::create(&self.storage, op, state, terms, None).await?;
        Ok(created.map(|created| created.session_key))
    }

    /// Stores what a request has made of the snapshot, and nothing else.
    pub(crate) async fn update(
        &self,
        op: &Operation<'_>,
        names: &Names,
        snapshot: &Snapshot,
        ours: &State,
        terms: Terms<'_>,
    ) -> Result<Effect, Error> {
        write::update(&self.record(op, names), snapshot, ours, terms).await
    }

    /// Stores a state, whatever others have made of the session: the last write wins.
    pub(crate) async fn replace(
        &self,
        op: &Operation<'_>,
        names: &Names,
        state: &State,
        terms: Terms<'_>,
    ) -> Result<Effect, Error> {
        write::replace(&self.record(op, names), state, terms).await
    }

    /// Lets the session live for another TTL, if that makes a difference.
    pub(crate) async fn refresh(
        &self,
        op: &Operation<'_>,
        names: &Names,
        snapshot: Option<&Snapshot>,
        terms: Terms<'_>,
    ) -> Result<Effect, Error> {
        write::refresh(&self.record(op, names), snapshot, terms).await
    }

    /// One change of a session from outside of its requests: `change` is called again with what is
    /// there, until nothing of that has changed meanwhile. `None` if there is no such session.
    pub(crate) async fn modify<T>(
        &self,
        op: &Operation<'_>,
        names: &Names,
        change: impl FnMut(&mut State) -> T,
    ) -> Result<Option<T>, Error> {
        modify::modify(&self.record(op, names), change).await
    }

    /// Goes on under a new key with what a request has made of the snapshot, and with what others
    /// had made of it until the session ended.
    pub(crate) async fn renew(
        &self,
        op: &Operation<'_>,
        names: &Names,
        snapshot: &Snapshot,
        ours: &State,
        terms: Terms<'_>,
    ) -> Result<Renewal, Error> {
        renewal::renew(&self.record(op, names), snapshot, ours, terms).await
    }

    /// Ends the session, or what has taken its place. `false` if nothing was left to end, for
    /// somebody else had done it.
    pub(crate) async fn end(
        &self,
        op: &Operation<'_>,
        names: &Names,
        snapshot: Option<&Snapshot>,
    ) -> Result<bool, Error> {
        end::end(&self.record(op, names), snapshot).await
    }

    /// Reads and writes as requests do, under a Redis key that is no session's.
    pub(crate) async fn check(&self, op: &Operation<'_>) -> Result<(), Error> {
        self.storage.check(op).await
    }

    /// Whose sessions those are in which the field that names the user holds this JSON.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] when the store does not know of users, or it is no user.
    pub(crate) fn user(&self, json: &str) -> Result<User, Error> {
        self.storage.rules.policy.user_named(json)
    }

    /// Those that live, oldest first, with what is noted of them, and how long they have left to live.
    pub(crate) async fn list_of(
        &self,
        user: &User,
    ) -> Result<Vec<(SessionId, Details, i64)>, Error> {
        let op = &self.storage.client.operation("list_of_user");
        user_sessions::sessions_of(&self.storage, op, user).await
    }

    /// `false` if it is no session of the user.
    pub(crate) async fn end_of(&self, user: &User, id: &SessionId) -> Result<bool, Error> {
        let op = &self.storage.client.operation("end_of_user");
        user_sessions::end_of(&self.storage, op, user, id).await
    }

    /// How many have been ended.
    pub(crate) async fn end_all_of(
        &self,
        user: &User,
        but: Option<&SessionId>,
    ) -> Result<usize, Error> {
        let op = &self.storage.client.operation("end_all_of_user");
        user_sessions::end_all_of(&self.storage, op, user, but).await
    }

    /// Fails if no other session may begin; whoever `has_one` needs no other.
    pub(crate) async fn begin_login(&self, user: &User, has_one: bool) -> Result<Login, Error> {
        let op = &self.storage.client.operation("begin_login");
        let limit = self.storage.rules.policy.limit.filter(|_| !has_one);
        let login = user_sessions::begin_login(&self.storage, op, user, limit);
        op.of(login).await
    }
}
