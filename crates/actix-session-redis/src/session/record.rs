//! What is done to one session in one step. Every step is safe to repeat; the stories that consist of
//! them are those of [`Sessions`](super::Sessions).

use std::{borrow::Cow, sync::Arc, time::Duration};

use deadpool_redis::redis::Cmd;
use futures_util::future::{FutureExt as _, OptionFuture, try_join, try_join_all};

use super::{
    adopt::Copy,
    changes::Changes,
    details::Details,
    idempotency::IdempotencyKeys,
    index::Index,
    keyspace::{Keyspace, Names, SessionId, UserId, draw_token},
    layout::{
        built_in::BuiltIn,
        hash::{Begun, Birth, Hash, Replacement, Written},
    },
    plan::Plan,
    snapshot::Snapshot,
    state::State,
    tombstone::{self, Ended, Ending, Whose},
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

    pub(super) fn index<'a>(&'a self, op: &'a Operation<'a>, user: &'a UserId) -> Index<'a> {
        Index::new(&self.client, &self.keyspace, op, user)
    }

    /// Ends the session, or what has taken its place. `false` if nothing was left to end, for
    /// somebody else had done it, or it is not theirs whose it must be.
    pub(super) async fn end(
        &self,
        op: &Operation<'_>,
        names: &Names,
        whose: Option<&Whose<'_>>,
    ) -> Result<bool, Error> {
        let who = &*draw_token();
        let mut names = Cow::Borrowed(names);
        loop {
            let ending = Ending {
                who,
                successor: None,
                keep_last_state: None,
                whose,
            };
            let ended = self.record(op, &names).carry_out(&ending).await?;
            names = match ended {
                Ended::ByUs(_) => return Ok(true),
                Ended::BySomebodyElse(None) | Ended::NotTheirs => return Ok(false),
                Ended::BySomebodyElse(Some(successor)) => Cow::Owned(successor),
            };
        }
    }

    /// The same for many, which are told by whom they have to be. Says of each whether it was ended.
    pub(super) async fn end_together(
        &self,
        op: &Operation<'_>,
        ends: &[(Names, Whose<'_>)],
    ) -> Result<Vec<bool>, Error> {
        let who = &*draw_token();
        for (names, _) in ends {
            self.record(op, names).remove_copy().await?;
        }
        let end = |redis: Arc<Connection>| {
            let ends = ends.iter().map(move |(names, whose)| {
                let redis = Arc::clone(&redis);
                async move {
                    let ending = Ending {
                        who,
                        successor: None,
                        keep_last_state: None,
                        whose: Some(whose),
                    };
                    ending.carry_out(redis, names, &self.keyspace).await
                }
            });
            try_join_all(ends)
        };
        let mut ended = Vec::with_capacity(ends.len());
        for (it, (_, whose)) in self.client.run(op, end).await?.into_iter().zip(ends) {
            ended.push(match it {
                Ended::ByUs(_) => true,
                Ended::BySomebodyElse(None) | Ended::NotTheirs => false,
                Ended::BySomebodyElse(Some(successor)) => {
                    self.end(op, &successor, Some(whose)).await?
                }
            });
        }
        Ok(ended)
    }

    /// What is noted of each of these sessions beside its state, and how many milliseconds it has left
    /// to live.
    pub(super) async fn details_of(
        &self,
        op: &Operation<'_>,
        ids: &[&SessionId],
    ) -> Result<Vec<Option<(Details, i64)>>, Error> {
        let look = |redis: Arc<Connection>| {
            let looks = ids.iter().map(move |id| {
                let redis = Arc::clone(&redis);
                async move {
                    let redis_key = &*self.keyspace.session(&Names::of_id(SessionId::clone(id)));
                    match (Hash { redis, redis_key }).details().await {
                        Err(Failure::Permanent(Error::Unreadable { .. })) => Ok(None),
                        details => details,
                    }
                }
            });
            try_join_all(looks)
        };
        self.client.run(op, look).await
    }

    /// Which of these sessions have ended, as far as that is remembered.
    pub(super) async fn have_ended(
        &self,
        op: &Operation<'_>,
        ids: &[&&SessionId],
    ) -> Result<Vec<bool>, Error> {
        let look = |redis: Arc<Connection>| {
            let looks = ids.iter().map(move |id| {
                let redis = Arc::clone(&redis);
                async move {
                    let age = tombstone::age(redis, &self.keyspace.tombstone(id)).await;
                    age.map(|age| age.is_some())
                }
            });
            try_join_all(looks)
        };
        self.client.run(op, look).await
    }

    /// Reads and writes as requests do, under a Redis key that is no session's. What Redis replies
    /// stands, even if it would reply something else in a moment: unless another connection may
    /// lead to another server.
    pub(super) async fn check(&self, op: &Operation<'_>, of_users: bool) -> Result<(), Error> {
        let (redis_key, built_in) = &self.keyspace.check();
        let check = |redis: Arc<Connection>| async move {
            let checked = async {
                let of_built_in = built_in.as_ref().map(|redis_key| {
                    let redis = Arc::clone(&redis);
                    BuiltIn { redis, redis_key }.check()
                });
                let redis = Arc::clone(&redis);
                let ours = Hash { redis, redis_key }.check(of_users);
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

    pub(super) async fn begin(&self, state: &State, plan: &Plan) -> Result<Begun, Error> {
        let keyspace = &self.storage.keyspace;
        let birth = &Birth {
            tombstone: &keyspace.tombstone(&self.names.id),
            state,
            details: &plan.details,
            ttl_ms: plan.ttl_ms,
            latest: plan.latest,
            copy: keyspace.copy(self.names),
        };
        let layout = keyspace.layout();
        self.run(|redis| layout.create(redis, &self.redis_key, birth))
            .await
    }

    pub(super) async fn replace(&self, with: &Replacement<'_>) -> Result<Written, Error> {
        let layout = self.storage.keyspace.layout();
        let replaced = self.run(|redis| layout.replace(redis, &self.redis_key, with));
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
        let written = self.run(|redis| self.hash(redis).write(changes, ttl_ms, key.as_ref()));
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
