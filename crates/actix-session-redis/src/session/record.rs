//! What is done to one session in one step. Every step is safe to repeat; the stories that consist of
//! them are in `begin`, `read`, `write`, `modify`, `renewal` and `end`.

use std::{borrow::Cow, sync::Arc, time::Duration};

use deadpool_redis::redis::Cmd;

use super::{
    changes::Changes,
    details::BORN,
    entry::{Entry, Owner},
    keyspace::{Names, User},
    layout::{
        copy::Copy,
        hash::{Begun, Birth, Hash, Replacement, Written},
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

    /// # Errors
    ///
    /// [`Error::Unreadable`] when something else is there than a session.
    pub(super) async fn read(&self, with_ttl: bool) -> Result<Option<Snapshot>, Error> {
        let layout = self.storage.keyspace.layout();
        self.run(|redis| layout.read(redis, &self.redis_key, with_ttl, &self.seal))
            .await
    }

    /// How long ago the session has ended, as far as that is remembered.
    pub(super) async fn ended_ago(&self) -> Result<Option<Duration>, Error> {
        let redis_key = &*self.storage.keyspace.tombstone(&self.names.id);
        self.run(|redis| tombstone::age(redis, redis_key)).await
    }

    pub(super) async fn begin(&self, state: &State, plan: &Plan) -> Result<Begun, Error> {
        let keyspace = &self.storage.keyspace;
        let born_ms = plan.details.born_ms.unwrap_or_default().to_string();
        let birth = &Birth {
            tombstone: &keyspace.tombstone(&self.names.id),
            state,
            born: &self.seal.note(BORN, &born_ms),
            details: &plan.details,
            ttl_ms: plan.ttl_ms,
            latest: plan.latest,
            copy: keyspace.copy(self.names),
        };
        let layout = keyspace.layout();
        self.run(|redis| layout.create(redis, &self.redis_key, birth, &self.seal))
            .await
    }

    pub(super) async fn replace(&self, with: &Replacement<'_>) -> Result<Written, Error> {
        let layout = self.storage.keyspace.layout();
        let replaced = self.run(|redis| layout.replace(redis, &self.redis_key, with, &self.seal));
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
                .write(changes, ttl_ms, key.as_ref(), &self.seal)
        };
        let written = self.run(write);
        or_if_unreadable(written.await, Written::Gone)
    }

    /// How many milliseconds it has left to live.
    pub(super) async fn ttl_left_ms(&self) -> Result<i64, Error> {
        self.run(|redis| async move { redis.query(&Cmd::pttl(&self.redis_key)).await })
            .await
    }

    /// `false` if it is gone.
    pub(super) async fn refresh(&self, ttl_ms: i64) -> Result<bool, Error> {
        self.run(|redis| self.hash(redis).refresh(ttl_ms)).await
    }

    pub(super) async fn carry_out(&self, ending: &Ending<'_>) -> Result<Ended, Error> {
        self.remove_copy().await?;
        let keyspace = &self.storage.keyspace;
        self.run(|redis| ending.carry_out(redis, self.names, keyspace, &self.seal))
            .await
    }

    /// Without a tombstone: nobody has known of it.
    pub(super) async fn remove(&self) -> Result<(), Error> {
        self.remove_copy().await?;
        self.run(|redis| self.hash(redis).remove()).await
    }

    /// While sessions are adopted.
    pub(super) fn copy(&self) -> Option<Copy<'a>> {
        let redis_key = self.storage.keyspace.copy(self.names)?;
        Some(Copy {
            client: &self.storage.client,
            op: self.op,
            redis_key,
        })
    }

    /// The Redis key of the copy that the session itself knows of.
    pub(super) async fn known_copy(&self) -> Result<Option<String>, Error> {
        self.run(|redis| self.hash(redis).copy()).await
    }

    /// Of a successor only the session knows where its copy is.
    async fn remove_copy(&self) -> Result<(), Error> {
        let mut names = Cow::Borrowed(self.names);
        if self.storage.keyspace.adopts() && names.built_in.is_none() {
            names.to_mut().built_in = or_if_unreadable(self.known_copy().await, None)?;
        }
        match Record::new(self.storage, self.op, &names).copy() {
            Some(copy) => copy.remove().await,
            None => Ok(()),
        }
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
