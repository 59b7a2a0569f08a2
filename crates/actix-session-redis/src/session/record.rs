//! What is done to one session in one step. Every step is safe to repeat; the stories that consist of
//! them are in `begin`, `read`, `write`, `modify`, `renewal` and `end`.

use std::{sync::Arc, time::Duration};

use deadpool_redis::redis::Cmd;
use futures_util::future::{FutureExt as _, OptionFuture, try_join};

use super::{
    changes::Changes,
    details::BORN,
    entry::{Entry, Owner},
    keyspace::{Names, User},
    layout::{
        asked::{Begun, Birth, Replacement, Source, Written},
        built_in::BuiltIn,
        copy::Copy,
        hash::Hash,
    },
    plan::Plan,
    seal::Seal,
    snapshot::Snapshot,
    state::State,
    storage::{Storage, or_if_unreadable},
    tombstone::{self, Ended, Ending},
};
use crate::{
    client::{Connection, Failure, Operation},
    error::Error,
};

/// One session, as one operation has to do with it.
pub(super) struct Record<'a> {
    pub(super) storage: &'a Storage,
    pub(super) op: &'a Operation<'a>,
    pub(super) names: &'a Names,
    redis_key: String,
    seal: Seal<'a>,
}

impl<'a> Record<'a> {
    pub(super) fn new(storage: &'a Storage, op: &'a Operation<'a>, names: &'a Names) -> Self {
        Self {
            storage,
            op,
            names,
            redis_key: storage.keyspace.session(names),
            seal: names.seal(storage.seals()),
        }
    }

    /// In one round trip what there is of the session, and whether it has a copy, while sessions are adopted.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`] when something else is there than a session.
    pub(super) async fn read(&self, with_ttl: bool) -> Result<(Option<Snapshot>, bool), Error> {
        let layout = self.storage.keyspace.layout();
        self.run(|redis| async {
            let has_copy = self.copy_key().map(|redis_key| {
                let redis = Arc::clone(&redis);
                BuiltIn { redis, redis_key }.exists()
            });
            let has_copy = OptionFuture::from(has_copy).map(Option::transpose);
            let found = layout.read(redis, &self.redis_key, with_ttl, &self.seal);
            // In this order: who ends a session here takes both away at once, so one that is still there after its
            // copy was gone has ended there.
            let (has_copy, found) = try_join(has_copy, found).await?;
            Ok((found, has_copy.unwrap_or_default()))
        })
        .await
    }

    /// How long ago the session has ended, as far as that is remembered.
    pub(super) async fn ended_ago(&self) -> Result<Option<Duration>, Error> {
        let redis_key = &*self.storage.keyspace.tombstone(&self.names.id);
        self.run(|redis| tombstone::age(redis, redis_key)).await
    }

    pub(super) async fn begin(
        &self,
        state: &State,
        plan: &Plan,
        source: Source<'_>,
    ) -> Result<Begun, Error> {
        let keyspace = &self.storage.keyspace;
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
        let layout = keyspace.layout();
        self.run(|redis| layout.create(redis, &self.redis_key, birth, &self.seal))
            .await
    }

    pub(super) async fn replace(&self, with: &Replacement<'_>) -> Result<Written, Error> {
        let layout = self.storage.keyspace.layout();
        let replaced = self
            .run(|redis| layout.replace(redis, &self.redis_key, with, self.copy_key(), &self.seal));
        or_if_unreadable(replaced.await, Written::Gone)
    }

    /// Without `ttl_ms` its TTL stays.
    pub(super) async fn write(
        &self,
        changes: &Changes<'_>,
        ttl_ms: Option<i64>,
    ) -> Result<Written, Error> {
        let is_guarded = !changes.guarded.is_empty();
        let draw = || self.storage.idempotency_keys.draw(&self.names.id);
        let key = &is_guarded.then(draw);
        let write = |redis| {
            self.hash(redis)
                .write(changes, ttl_ms, self.copy_key(), key.as_ref(), &self.seal)
        };
        let written = self.run(write);
        or_if_unreadable(written.await, Written::Gone)
    }

    /// How many milliseconds it has left to live.
    pub(super) async fn ttl_left_ms(&self) -> Result<i64, Error> {
        self.run(|redis| async move { redis.query(&Cmd::pttl(&self.redis_key)).await })
            .await
    }

    /// Whether it is there, and its copy, while sessions are adopted.
    pub(super) async fn refresh(&self, ttl_ms: i64) -> Result<(bool, Option<bool>), Error> {
        self.run(|redis| async {
            let copy = self.copy_key().map(|redis_key| {
                let redis = Arc::clone(&redis);
                Hash { redis, redis_key }.refresh(ttl_ms)
            });
            let copy = OptionFuture::from(copy).map(Option::transpose);
            let (copy, ours) = try_join(copy, self.hash(redis).refresh(ttl_ms)).await?;
            Ok((ours, copy))
        })
        .await
    }

    pub(super) async fn carry_out(&self, ending: &Ending<'_>) -> Result<Ended, Error> {
        let keyspace = &self.storage.keyspace;
        self.run(|redis| ending.carry_out(redis, self.names, keyspace, &self.seal))
            .await
    }

    /// Without a tombstone: nobody has known of it.
    pub(super) async fn remove(&self) -> Result<(), Error> {
        let unlink = &Cmd::unlink((&self.redis_key, self.copy_key()));
        self.run(|redis| async move { redis.query(unlink).await })
            .await
    }

    /// While sessions are adopted.
    pub(super) fn copy(&self) -> Option<Copy<'a>> {
        Some(Copy {
            client: &self.storage.client,
            op: self.op,
            redis_key: self.copy_key()?,
        })
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

    fn copy_key(&self) -> Option<&'a str> {
        self.storage.keyspace.copy(self.names)
    }

    /// The Redis key of the copy that the session itself knows of.
    pub(super) async fn known_copy(&self) -> Result<Option<String>, Error> {
        self.run(|redis| self.hash(redis).copy()).await
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
            let index = self.storage.index(self.op, &user);
            // What stays is taken for gone by whoever looks, and goes when its time is up.
            let _ = index.leave(&[Entry::new(id, entered)]).await;
        }
    }

    async fn run<T: Send, F: Future<Output = Result<T, Failure>> + Send>(
        &self,
        step: impl Fn(Arc<Connection>) -> F + Sync,
    ) -> Result<T, Error> {
        let done = self.storage.client.run(self.op, step).await;
        done.inspect_err(|error| self.op.observation.failed_to_open(&self.names.id, error))
    }

    fn hash(&self, redis: Arc<Connection>) -> Hash<'_> {
        let redis_key = &self.redis_key;
        Hash { redis, redis_key }
    }
}
