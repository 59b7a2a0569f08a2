//! What is done to one session in one step. Every step is safe to repeat; the stories that consist of
//! them are those of [`Sessions`](super::Sessions).

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::{FutureExt as _, OptionFuture, try_join};

use super::{
    adopt::Copy,
    changes::Changes,
    idempotency::IdempotencyKeys,
    keyspace::{Keyspace, Names},
    layout::{
        built_in::BuiltIn,
        hash::{Birth, Hash, Written},
    },
    snapshot::Snapshot,
    state::State,
    tombstone::{self, Ended, Ending},
};
use crate::{
    client::{Client, Connection, Failure, Operation},
    error::Error,
};

/// Where sessions are.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) client: Arc<Client>,
    pub(super) keyspace: Keyspace,
    idempotency_keys: IdempotencyKeys,
}

/// One session, as one operation has to do with it.
pub(super) struct Record<'a> {
    pub(super) storage: &'a Storage,
    pub(super) op: &'a Operation<'a>,
    pub(super) names: &'a Names,
    redis_key: String,
}

impl Storage {
    pub(super) fn new(client: Arc<Client>, keyspace: Keyspace) -> Self {
        Self {
            client,
            keyspace,
            idempotency_keys: IdempotencyKeys::new(),
        }
    }

    pub(super) fn record<'a>(&'a self, op: &'a Operation<'a>, names: &'a Names) -> Record<'a> {
        Record {
            storage: self,
            op,
            names,
            redis_key: self.keyspace.session(names),
        }
    }

    /// Reads and writes as requests do, under a Redis key that is no session's. What Redis replies
    /// stands, even if it would reply something else in a moment: unless another connection may
    /// lead to another server.
    pub(super) async fn check(&self, op: &Operation<'_>) -> Result<(), Error> {
        let (redis_key, built_in) = &self.keyspace.check();
        let check = |redis: Arc<Connection>| async move {
            let checked = async {
                let of_built_in = built_in.as_ref().map(|redis_key| {
                    let redis = Arc::clone(&redis);
                    BuiltIn { redis, redis_key }.check()
                });
                let redis = Arc::clone(&redis);
                let ours = Hash { redis, redis_key }.check();
                try_join(OptionFuture::from(of_built_in).map(Option::transpose), ours).await
            };
            checked.await.map(drop).map_err(|failure| match failure {
                Failure::Transient(fault)
                    if fault.reply().is_some() && !redis.is_given_up_for(&fault) =>
                {
                    Failure::Permanent(op.unavailable(fault))
                }
                failure => failure,
            })
        };
        self.client.run(op, check).await
    }
}

impl<'a> Record<'a> {
    /// # Errors
    ///
    /// [`Error::Unreadable`] when something else is there than a session.
    pub(super) async fn read(&self, with_ttl: bool) -> Result<Option<Snapshot>, Error> {
        let layout = self.storage.keyspace.layout();
        self.run(|redis| layout.read(redis, &self.redis_key, with_ttl))
            .await
    }

    /// How long ago the session has ended, as far as that is remembered.
    pub(super) async fn ended_ago(&self) -> Result<Option<Duration>, Error> {
        let redis_key = &*self.storage.keyspace.tombstone(&self.names.id);
        self.run(|redis| tombstone::age(redis, redis_key)).await
    }

    /// `false` if the key is taken.
    pub(super) async fn begin(&self, state: &State, ttl_ms: i64) -> Result<bool, Error> {
        let keyspace = &self.storage.keyspace;
        let birth = &Birth {
            tombstone: &keyspace.tombstone(&self.names.id),
            born: SystemTime::now(),
            state,
            ttl_ms,
            copy: keyspace.copy(self.names),
        };
        let layout = keyspace.layout();
        self.run(|redis| layout.create(redis, &self.redis_key, birth))
            .await
    }

    /// `false` if it is gone. Without `ttl_ms` its TTL stays.
    pub(super) async fn replace(&self, state: &State, ttl_ms: Option<i64>) -> Result<bool, Error> {
        let layout = self.storage.keyspace.layout();
        let replaced = self.run(|redis| layout.replace(redis, &self.redis_key, state, ttl_ms));
        or_if_unreadable(replaced.await, false)
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
        let written = self.run(|redis| self.hash(redis).write(changes, ttl_ms, key.as_ref()));
        or_if_unreadable(written.await, Written::Gone)
    }

    /// `false` if it is gone.
    pub(super) async fn refresh(&self, ttl_ms: i64) -> Result<bool, Error> {
        self.run(|redis| self.hash(redis).refresh(ttl_ms)).await
    }

    pub(super) async fn carry_out(&self, ending: &Ending<'_>) -> Result<Ended, Error> {
        self.remove_copy().await?;
        let keyspace = &self.storage.keyspace;
        self.run(|redis| ending.carry_out(redis, self.names, keyspace))
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
        match self.storage.record(self.op, &names).copy() {
            Some(copy) => copy.remove().await,
            None => Ok(()),
        }
    }

    async fn run<T: Send, F: Future<Output = Result<T, Failure>> + Send>(
        &self,
        step: impl Fn(Arc<Connection>) -> F + Sync,
    ) -> Result<T, Error> {
        self.storage.client.run(self.op, step).await
    }

    fn hash(&self, redis: Arc<Connection>) -> Hash<'_> {
        let redis_key = &self.redis_key;
        Hash { redis, redis_key }
    }
}

/// What is there by now is no session, and is left alone.
pub(super) fn or_if_unreadable<T>(done: Result<T, Error>, gone: T) -> Result<T, Error> {
    match done {
        Err(Error::Unreadable { .. }) => Ok(gone),
        done => done,
    }
}
