//! What is done to one session in one step. Every step is safe to repeat; the stories that consist of
//! them are in `begin`, `read`, `write`, `modify`, `renewal` and `end`.

use std::{sync::Arc, time::Duration};

use deadpool_redis::redis::Cmd;
use futures_util::future::try_join;

use super::{
    Sessions,
    changes::Changes,
    details::BORN,
    entry::{Entry, Owner},
    keyspace::{Layout, Names},
    layout::{
        asked::{Begun, Birth, Replacement, Source, Written},
        built_in::BuiltIn,
        hash::Hash,
    },
    plan::Plan,
    seal::Seal,
    snapshot::{Origin, Snapshot},
    state::State,
    tombstone::{self, Ended, Ending},
    user::User,
};
use crate::{
    client::{Connection, Failure, Operation},
    error::Error,
};

/// One session, as one operation has to do with it.
pub(crate) struct Record<'a> {
    pub(super) sessions: &'a Sessions,
    pub(super) op: &'a Operation<'a>,
    pub(super) names: &'a Names,
    redis_key: String,
    seal: Seal<'a>,
}

impl<'a> Record<'a> {
    pub(super) fn new(sessions: &'a Sessions, op: &'a Operation<'a>, names: &'a Names) -> Self {
        Self {
            sessions,
            op,
            names,
            redis_key: sessions.keyspace.session(names),
            seal: names.seal(sessions.seals()),
        }
    }

    /// In one round trip what there is of the session, and whether it has a copy, while sessions are adopted.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`] when something else is there than a session.
    pub(super) async fn fetch(&self, with_ttl: bool) -> Result<(Option<Snapshot>, bool), Error> {
        self.run(|redis| async move {
            let has_copy = self.of_copy(&redis, |redis_key| Cmd::exists(redis_key));
            let found = async {
                match self.layout() {
                    Layout::Hash => self.hash(&redis).read(with_ttl, &self.seal).await,
                    Layout::BuiltIn => self.built_in(&redis).read(with_ttl).await,
                }
            };
            // In this order: who ends a session here takes both away at once, so one that is still there after its
            // copy was gone has ended there.
            let (has_copy, found) = try_join(has_copy, found).await?;
            Ok((found, has_copy.unwrap_or_default()))
        })
        .await
    }

    /// How long ago the session has ended, as far as that is remembered.
    pub(super) async fn ended_ago(&self) -> Result<Option<Duration>, Error> {
        let redis_key = &*self.sessions.keyspace.tombstone(&self.names.id);
        self.run(|redis| tombstone::age(redis, redis_key)).await
    }

    pub(super) async fn begin(
        &self,
        state: &State,
        plan: &Plan,
        source: Source<'_>,
    ) -> Result<Begun, Error> {
        let keyspace = &self.sessions.keyspace;
        let born_ms = plan.details.born_ms.unwrap_or_default().to_string();
        let birth = &Birth {
            tombstone: &keyspace.tombstone(&self.names.id),
            state,
            born: &self.seal.note(BORN, &born_ms),
            details: &plan.details,
            ttl_ms: plan.ttl_ms,
            latest: plan.latest,
            copy: self.copy_key(),
            source,
        };
        self.run(|redis| async move {
            match self.layout() {
                Layout::Hash => self.hash(&redis).create(birth, &self.seal).await,
                Layout::BuiltIn => self.built_in(&redis).create(birth).await,
            }
        })
        .await
    }

    /// Gives it another state, whatever others have made of it.
    pub(super) async fn store(&self, with: &Replacement<'_>) -> Result<Written, Error> {
        let copy = self.copy_key();
        let stored = self.run(|redis| async move {
            match self.layout() {
                Layout::Hash => self.hash(&redis).replace(with, copy, &self.seal).await,
                Layout::BuiltIn => self.built_in(&redis).replace(with).await,
            }
        });
        or_if_unreadable(stored.await, Written::Gone)
    }

    /// Without `ttl_ms` its TTL stays.
    pub(super) async fn store_changes(
        &self,
        changes: &Changes<'_>,
        ttl_ms: Option<i64>,
    ) -> Result<Written, Error> {
        let is_guarded = !changes.guarded.is_empty();
        let draw = || self.sessions.idempotency_keys.draw(&self.names.id);
        let key = &is_guarded.then(draw);
        let written = self.run(|redis| async move {
            let (hash, copy) = (self.hash(&redis), self.copy_key());
            hash.write(changes, ttl_ms, copy, key.as_ref(), &self.seal)
                .await
        });
        or_if_unreadable(written.await, Written::Gone)
    }

    /// How many milliseconds it has left to live.
    pub(super) async fn ttl_left_ms(&self) -> Result<i64, Error> {
        self.run(|redis| async move { redis.query(&Cmd::pttl(&self.redis_key)).await })
            .await
    }

    /// Whether it is there, and its copy, while sessions are adopted.
    pub(super) async fn set_ttl(&self, ttl_ms: i64) -> Result<(bool, Option<bool>), Error> {
        self.run(|redis| async move {
            let pexpire = &Cmd::pexpire(&self.redis_key, ttl_ms);
            let copy = self.of_copy(&redis, |redis_key| Cmd::pexpire(redis_key, ttl_ms));
            let (copy, ours) = try_join(copy, redis.query(pexpire)).await?;
            Ok((ours, copy))
        })
        .await
    }

    pub(super) async fn carry_out(&self, ending: &Ending<'_>) -> Result<Ended, Error> {
        let keyspace = &self.sessions.keyspace;
        self.run(|redis| ending.carry_out(redis, self.names, keyspace, &self.seal))
            .await
    }

    /// Without a tombstone, as if it had never been: no request is late for it.
    pub(super) async fn remove(&self) -> Result<(), Error> {
        let unlink = &Cmd::unlink((&self.redis_key, self.copy_key()));
        self.run(|redis| async move { redis.query(unlink).await })
            .await
    }

    /// What there is of it in the layout of the store built into actix-session, while sessions are adopted.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`] when it is none of that store's.
    pub(super) async fn read_copy(&self) -> Result<Option<Snapshot>, Error> {
        if self.copy_key().is_none() {
            return Ok(None);
        }
        self.run(|redis| self.copy_on(redis)).await
    }

    /// The same in one round trip with how long ago the session has ended, as far as that is remembered.
    pub(super) async fn read_unadopted(
        &self,
    ) -> Result<(Option<Duration>, Option<Snapshot>), Error> {
        let tombstone = &*self.sessions.keyspace.tombstone(&self.names.id);
        self.run(|redis| {
            try_join(
                tombstone::age(Arc::clone(&redis), tombstone),
                self.copy_on(redis),
            )
        })
        .await
    }

    async fn copy_on(&self, redis: Arc<Connection>) -> Result<Option<Snapshot>, Failure> {
        let Some(redis_key) = self.copy_key() else {
            return Ok(None);
        };
        let found = BuiltIn { redis, redis_key }.read_bytes(true).await?;
        Ok(found.map(|(mut snapshot, bytes)| {
            snapshot.origin = Origin::Copy(bytes);
            snapshot
        }))
    }

    pub(super) async fn remove_copy(&self) -> Result<(), Error> {
        let unlink = &Cmd::unlink(self.copy_key());
        self.run(|redis| async move { redis.query(unlink).await })
            .await
    }

    /// Of a session that nobody knows of yet: after that, its copy is never written.
    pub(super) async fn put_into_copy(&self, state: &State) -> Result<(), Error> {
        let Some(redis_key) = self.copy_key() else {
            return Ok(());
        };
        let put = &Replacement::of_state(state, None);
        self.run(|redis| BuiltIn { redis, redis_key }.replace(put))
            .await
            .map(drop)
    }

    pub(super) fn copy_key(&self) -> Option<&'a str> {
        self.sessions.keyspace.copy(self.names)
    }

    /// The Redis key of the copy that the session itself knows of.
    pub(super) async fn known_copy(&self) -> Result<Option<String>, Error> {
        self.run(|redis| async move { self.hash(&redis).copy().await })
            .await
    }

    /// Its time is up, as if Redis had removed it.
    pub(super) async fn expire(&self, owner: Option<&Owner>) -> Result<(), Error> {
        self.remove().await?;
        self.leave(owner).await;
        Ok(())
    }

    /// It has ended, or is somebody else's: takes it out of the index that it was in.
    pub(super) async fn leave(&self, owner: Option<&Owner>) {
        if let Some(Owner { user, entered, .. }) = owner {
            let (id, entered) = (self.names.id.clone(), *entered);
            let user = User::only(user.clone());
            let index = self.sessions.index(self.op, &user);
            // What stays is taken for gone by whoever looks, and goes when its time is up.
            let _ = index.leave(&[Entry::new(id, entered)]).await;
        }
    }

    async fn run<T: Send, F: Future<Output = Result<T, Failure>> + Send>(
        &self,
        step: impl Fn(Arc<Connection>) -> F + Sync,
    ) -> Result<T, Error> {
        let done = self.sessions.client.run(self.op, step).await;
        done.inspect_err(|error| self.op.observation.failed_to_open(&self.names.id, error))
    }

    fn layout(&self) -> Layout {
        self.sessions.keyspace.layout()
    }

    fn hash(&self, redis: &Arc<Connection>) -> Hash<'_> {
        Hash {
            redis: Arc::clone(redis),
            redis_key: &self.redis_key,
        }
    }

    fn built_in(&self, redis: &Arc<Connection>) -> BuiltIn<'_> {
        BuiltIn {
            redis: Arc::clone(redis),
            redis_key: &self.redis_key,
        }
    }

    /// Whether a command has found the copy, while sessions are adopted.
    async fn of_copy(
        &self,
        redis: &Arc<Connection>,
        command: impl FnOnce(&str) -> Cmd,
    ) -> Result<Option<bool>, Failure> {
        match self.copy_key() {
            Some(redis_key) => redis.query(&command(redis_key)).await.map(Some),
            None => Ok(None),
        }
    }
}

/// What is there by now is no session, and is left alone.
pub(super) fn or_if_unreadable<T>(done: Result<T, Error>, gone: T) -> Result<T, Error> {
    match done {
        Err(Error::Unreadable { .. }) => Ok(gone),
        done => done,
    }
}
