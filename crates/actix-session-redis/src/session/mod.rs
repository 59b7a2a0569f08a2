//! What Redis holds for a session: [`Sessions`] is the only writer. It knows neither HTTP nor
//! the trait of actix-session.

mod codec;
mod entry;
mod keyspace;
mod merge;
mod script;
mod snapshot;
mod stamp;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration as StdDuration,
};

use actix_session::storage::SessionKey;
use actix_web::cookie::time::Duration;
use deadpool_redis::redis::Cmd;
use tokio::time::Instant;

pub(crate) use self::{
    codec::State,
    keyspace::{Keyspace, draw_session_key, is_session_key},
    merge::MergeRules,
    script::Ended,
    snapshot::Snapshot,
};
use self::{
    entry::Entry,
    keyspace::draw_id,
    script::{Receipt, Target, Written},
    stamp::{stamped, without_stamp},
};
use crate::{
    client::{Client, Failure, Operation},
    error::Error,
    telemetry::events,
};

/// How long Redis remembers that a session has ended: longer than any request that was running
/// at that moment.
const TOMBSTONE_MS: u64 = 5 * 60 * 1000;

/// So much longer than the deadline a receipt is kept: a retry is late when its thread was blocked,
/// or Redis did not get to it at once.
const RECEIPT_SLACK: StdDuration = StdDuration::from_secs(60);

/// The sessions of one store.
#[derive(Debug)]
pub(crate) struct Sessions {
    client: Arc<Client>,
    keyspace: Keyspace,
    max_state_bytes: usize,
    merge_rules: MergeRules,
    /// Whether sessions are prolonged here without being written. Only then it pays to ask for
    /// their TTL when they are read.
    refreshes: AtomicBool,
}

/// What became of a session that was to be written or prolonged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Effect {
    Done,
    /// It has just been prolonged, and there is nothing to write.
    Fresh,
    /// There is no session any more.
    Gone,
}

impl Effect {
    fn done(done: bool) -> Self {
        if done { Self::Done } else { Self::Gone }
    }
}

impl Sessions {
    pub(crate) fn new(
        client: Arc<Client>,
        keyspace: Keyspace,
        max_state_bytes: usize,
        merge_rules: MergeRules,
    ) -> Self {
        Self {
            client,
            keyspace,
            max_state_bytes,
            merge_rules,
            refreshes: AtomicBool::new(false),
        }
    }

    /// `is_snapshot`: something may be written that starts from it.
    pub(crate) async fn read(
        &self,
        op: &Operation<'_>,
        session_key: &SessionKey,
        is_snapshot: bool,
    ) -> Result<Option<Snapshot>, Error> {
        let redis_key = &*self.keyspace.session(session_key);
        let with_ttl = is_snapshot && self.refreshes.load(Relaxed);
        let (body, ttl_left_ms) = self
            .client
            .run(op, |redis| async move {
                entry::read(&redis, redis_key, with_ttl).await
            })
            .await?;
        Ok(body.map(|body| Snapshot::now(body, ttl_left_ms)))
    }

    pub(crate) async fn create(
        &self,
        op: &Operation<'_>,
        state: &State,
        ttl: &Duration,
    ) -> Result<SessionKey, Error> {
        let (entry, keyspace) = (&self.entry(state, ttl)?, &self.keyspace);
        self.client
            .run(
                op,
                |redis| async move { entry.create(&redis, keyspace).await },
            )
            .await
    }

    /// Last write wins.
    pub(crate) async fn replace(
        &self,
        op: &Operation<'_>,
        session_key: &SessionKey,
        state: &State,
        ttl: &Duration,
    ) -> Result<Effect, Error> {
        let entry = &self.entry(state, ttl)?;
        let redis_key = &*self.keyspace.session(session_key);
        let replaced = self
            .client
            .run(
                op,
                |redis| async move { entry.replace(&redis, redis_key).await },
            )
            .await?;
        Ok(Effect::done(replaced))
    }

    /// Stores what a request has made of the snapshot, merged with what others have made of it
    /// meanwhile.
    pub(crate) async fn merge(
        &self,
        op: &Operation<'_>,
        session_key: &SessionKey,
        snapshot: &Snapshot,
        ours: &State,
        ttl: &Duration,
    ) -> Result<Effect, Error> {
        let body = codec::encode(ours, self.max_state_bytes)?;
        if body == without_stamp(&snapshot.body) {
            return self.refresh(op, session_key, Some(snapshot), ttl).await;
        }
        let counts_twice = self.merge_rules.concern(&snapshot.body, ours)?;
        let target = Target {
            redis_key: self.keyspace.session(session_key),
            ttl_ms: entry::ttl_ms(ttl)?,
            receipt: counts_twice.then(|| Receipt {
                redis_key: self.keyspace.receipt(session_key),
                lifetime: self.client.deadline + RECEIPT_SLACK,
                issued: Instant::now(),
            }),
        };
        match self
            .compare_and_set(op, &target, snapshot, ours, body)
            .await
        {
            // Another type of value, so there is nothing to merge with.
            Err(Error::Unreadable { .. }) => {
                Box::pin(self.replace(op, session_key, ours, ttl)).await
            }
            merged => Ok(Effect::done(merged?)),
        }
    }

    async fn compare_and_set(
        &self,
        op: &Operation<'_>,
        target: &Target,
        snapshot: &Snapshot,
        ours: &State,
        body: Vec<u8>,
    ) -> Result<bool, Error> {
        match self
            .store(op, target, &snapshot.body, &stamped(body))
            .await?
        {
            Written::Done => Ok(true),
            Written::Gone => Ok(false),
            Written::Conflict(theirs) => {
                Box::pin(self.resolve(op, target, snapshot, ours, theirs)).await
            }
        }
    }

    /// If Redis still holds `expected`.
    async fn store(
        &self,
        op: &Operation<'_>,
        target: &Target,
        expected: &[u8],
        body: &[u8],
    ) -> Result<Written, Error> {
        self.client
            .run(op, |redis| async move {
                target.replace(&redis, expected, body).await
            })
            .await
    }

    /// Merges on the server, in one step however many others write; or here, again and again, if
    /// a function of the application's has to decide.
    async fn resolve(
        &self,
        op: &Operation<'_>,
        target: &Target,
        snapshot: &Snapshot,
        ours: &State,
        theirs: Vec<u8>,
    ) -> Result<bool, Error> {
        let base = snapshot.state()?;
        let mut written = match self.merge_rules.changes(&base, ours) {
            // Lua is content with less than what is a state.
            Some(changes) if codec::decode(&theirs).is_ok() => {
                let (changes, limit) = (&changes, self.max_state_bytes);
                let merge =
                    |redis: Arc<_>| async move { target.merge(&redis, changes, limit).await };
                self.client.run(op, merge).await?
            }
            _ => Written::Conflict(theirs),
        };
        let mut tries = 1;
        loop {
            tries += 1;
            let theirs = match written {
                Written::Done => {
                    events::merged();
                    return Ok(true);
                }
                Written::Gone => return Ok(false),
                Written::Conflict(_) if !op.has_time_for_a_try() => {
                    return Err(Error::Contended { tries });
                }
                Written::Conflict(theirs) => theirs,
            };
            // What nobody can read holds no change that could be lost.
            let their_state = codec::decode(&theirs).unwrap_or_else(|_| base.clone());
            let merged = self.merge_rules.merge(&base, &their_state, ours)?;
            let body = stamped(codec::encode(&merged, self.max_state_bytes)?);
            written = self.store(op, target, &theirs, &body).await?;
        }
    }

    /// The state to renew a session with: ours, and what others had changed since it was read until
    /// it ended.
    pub(crate) fn with_late_changes(
        &self,
        ours: State,
        snapshot: &Snapshot,
        theirs: &[u8],
    ) -> Result<State, Error> {
        match (snapshot.state(), codec::decode(theirs)) {
            (Ok(base), Ok(theirs)) => self.merge_rules.merge(&base, &theirs, &ours),
            _ => Ok(ours),
        }
    }

    /// Stores the state of a session that is gone, under a new session key, if it has expired
    /// while the request ran. Not if it has ended.
    pub(crate) async fn save_expired(
        &self,
        op: &Operation<'_>,
        session_key: &SessionKey,
        state: &State,
        ttl: &Duration,
    ) -> Result<Option<SessionKey>, Error> {
        if self.has_ended(op, session_key).await? {
            return Ok(None);
        }
        let new_session_key = self.create(op, state, ttl).await?;
        if !self.has_ended(op, session_key).await? {
            return Ok(Some(new_session_key));
        }
        // It ended just now, and whoever ended it cannot know the new key.
        let delete = &Cmd::del(self.keyspace.session(&new_session_key));
        self.client
            .run(op, |redis| async move { redis.query::<()>(delete).await })
            .await?;
        Ok(None)
    }

    async fn has_ended(&self, op: &Operation<'_>, session_key: &SessionKey) -> Result<bool, Error> {
        let exists = &Cmd::exists(self.keyspace.tombstone(session_key));
        self.client
            .run(op, |redis| async move { redis.query(exists).await })
            .await
    }

    /// Lets the session live for another TTL, if that makes a difference.
    pub(crate) async fn refresh(
        &self,
        op: &Operation<'_>,
        session_key: &SessionKey,
        snapshot: Option<&Snapshot>,
        ttl: &Duration,
    ) -> Result<Effect, Error> {
        let ttl_ms = entry::ttl_ms(ttl)?;
        self.refreshes.store(true, Relaxed);
        if snapshot.is_some_and(|snapshot| snapshot.is_fresh(ttl_ms)) {
            return Ok(Effect::Fresh);
        }
        let expire = &Cmd::pexpire(self.keyspace.session(session_key), ttl_ms);
        let refreshed = self
            .client
            .run(op, |redis| async move { redis.query(expire).await })
            .await?;
        Ok(Effect::done(refreshed))
    }

    /// Ends the session, and remembers that for a while.
    pub(crate) async fn end(
        &self,
        op: &Operation<'_>,
        session_key: &SessionKey,
    ) -> Result<Ended, Error> {
        let redis_key = &*self.keyspace.session(session_key);
        let tombstone = &*self.keyspace.tombstone(session_key);
        let who = &*draw_id();
        self.client
            .run(op, |redis| async move {
                script::end(&redis, redis_key, tombstone, who, TOMBSTONE_MS).await
            })
            .await
    }

    /// Reads and writes as requests do, under a Redis key that is no session's. What Redis replies
    /// stands, even if it would reply something else in a moment: unless another connection may
    /// lead to another server.
    pub(crate) async fn check(&self, op: &Operation<'_>) -> Result<(), Error> {
        let redis_key = &*self.keyspace.check();
        self.client
            .run(op, |redis| async move {
                match script::check(&redis, redis_key).await {
                    Err(Failure::Transient(fault))
                        if fault.reply().is_some() && !redis.is_given_up_for(&fault) =>
                    {
                        Err(Failure::Permanent(op.unavailable(fault)))
                    }
                    checked => checked,
                }
            })
            .await
    }

    fn entry(&self, state: &State, ttl: &Duration) -> Result<Entry, Error> {
        Entry::new(stamped(codec::encode(state, self.max_state_bytes)?), ttl)
    }
}
