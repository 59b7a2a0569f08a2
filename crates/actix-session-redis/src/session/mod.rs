//! What Redis holds for a session: [`Sessions`] is the only writer. It knows neither HTTP nor
//! the trait of actix-session.

mod changes;
mod idempotency;
mod keyspace;
mod layout {
    pub(super) mod hash;
}
mod script;
mod snapshot;
mod state;
mod tombstone;
mod ttl;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use actix_session::storage::SessionKey;
use actix_web::cookie::time;

pub use self::keyspace::{InvalidSessionId, SessionId};
use self::{
    changes::Changes,
    idempotency::IdempotencyKeys,
    keyspace::draw_token,
    layout::hash::{Hash, Written},
    state::was_cleared,
    tombstone::{Ended, Ending},
    ttl::whole_milliseconds,
};
pub(crate) use self::{
    changes::MergeRules,
    keyspace::{Keyspace, draw_session_key, is_session_key},
    snapshot::Snapshot,
    state::State,
};
use crate::{
    client::{Client, Failure, Operation},
    error::Error,
    telemetry::events,
};

/// So much longer than the deadline the last state of a renewed session is kept for a retry, which
/// is late when its thread was blocked, or Redis did not get to it at once.
const RETRY_SLACK: Duration = Duration::from_secs(60);

/// The sessions of one store.
#[derive(Debug)]
pub(crate) struct Sessions {
    client: Arc<Client>,
    keyspace: Keyspace,
    max_state_bytes: usize,
    merge_rules: MergeRules,
    idempotency_keys: IdempotencyKeys,
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

/// What became of a session that was to go on under a new key.
pub(crate) enum Renewal {
    Done(SessionKey),
    /// Somebody else had ended it; or it was gone, and the request has written nothing itself.
    Undone,
    /// Redis did not say whether the old session has ended. The new one is there.
    InDoubt(SessionKey, Error),
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
            idempotency_keys: IdempotencyKeys::new(),
            refreshes: AtomicBool::new(false),
        }
    }

    /// `may_refresh`: the session may be prolonged, so it pays to know how long it lives.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`] when something else is there than a session.
    pub(crate) async fn read(
        &self,
        op: &Operation<'_>,
        id: &SessionId,
        may_refresh: bool,
    ) -> Result<Option<Snapshot>, Error> {
        let redis_key = &*self.keyspace.session(id);
        let with_ttl = may_refresh && self.refreshes.load(Relaxed);
        let read = |redis| Hash { redis, redis_key }.read(with_ttl);
        self.client.run(op, read).await
    }

    /// How long ago the session has ended, as far as that is remembered.
    pub(crate) async fn ended_ago(
        &self,
        op: &Operation<'_>,
        id: &SessionId,
    ) -> Result<Option<Duration>, Error> {
        let redis_key = &*self.keyspace.tombstone(id);
        let age = |redis| tombstone::age(redis, redis_key);
        self.client.run(op, age).await
    }

    /// Begins a session under a new key; if that is taken, under another one.
    pub(crate) async fn create(
        &self,
        op: &Operation<'_>,
        state: &State,
        ttl: &time::Duration,
    ) -> Result<SessionKey, Error> {
        let ttl_ms = whole_milliseconds(ttl)?;
        self.check_size(state)?;
        let born = SystemTime::now();
        loop {
            let session_key = draw_session_key();
            let id = SessionId::of(&session_key);
            let redis_key = &*self.keyspace.session(&id);
            let tombstone = &*self.keyspace.tombstone(&id);
            let create = |redis| Hash { redis, redis_key }.create(tombstone, born, state, ttl_ms);
            if self.client.run(op, create).await? {
                return Ok(session_key);
            }
        }
    }

    /// Stores what a request has made of the snapshot, and nothing else.
    pub(crate) async fn update(
        &self,
        op: &Operation<'_>,
        id: &SessionId,
        snapshot: &Snapshot,
        ours: &State,
        ttl: &time::Duration,
    ) -> Result<Effect, Error> {
        if was_cleared(&snapshot.state, ours) {
            return self.replace(op, id, ours, ttl).await;
        }
        let mut changes = self.merge_rules.changes(&snapshot.state, ours);
        if changes.is_empty() {
            return self.refresh(op, id, Some(snapshot), ttl).await;
        }
        let ttl_ms = whole_milliseconds(ttl)?;
        self.check_size(ours)?;
        let mut tries = 1;
        loop {
            let theirs = match self.write(op, id, &changes, Some(ttl_ms)).await? {
                Written::Done => break,
                Written::Gone => return Ok(Effect::Gone),
                Written::Conflict(theirs) => theirs,
            };
            self.goes_on_after(op, &mut tries)?;
            self.merge_rules
                .meet(&mut changes, &snapshot.state, ours, theirs)?;
        }
        if tries > 1 {
            events::merged();
        }
        Ok(Effect::Done)
    }

    /// Last write wins.
    pub(crate) async fn replace(
        &self,
        op: &Operation<'_>,
        id: &SessionId,
        state: &State,
        ttl: &time::Duration,
    ) -> Result<Effect, Error> {
        let ttl_ms = whole_milliseconds(ttl)?;
        self.check_size(state)?;
        let redis_key = &*self.keyspace.session(id);
        let replace = |redis| Hash { redis, redis_key }.replace(state, ttl_ms);
        let replaced = self.client.run(op, replace).await;
        or_if_unreadable(replaced, false).map(Effect::done)
    }

    /// Lets the session live for another TTL, if that makes a difference.
    pub(crate) async fn refresh(
        &self,
        op: &Operation<'_>,
        id: &SessionId,
        snapshot: Option<&Snapshot>,
        ttl: &time::Duration,
    ) -> Result<Effect, Error> {
        let ttl_ms = whole_milliseconds(ttl)?;
        self.refreshes.store(true, Relaxed);
        if snapshot.is_some_and(|snapshot| snapshot.is_fresh(ttl_ms)) {
            return Ok(Effect::Fresh);
        }
        let redis_key = &*self.keyspace.session(id);
        let refresh = |redis| Hash { redis, redis_key }.refresh(ttl_ms);
        self.client.run(op, refresh).await.map(Effect::done)
    }

    /// One change of a session from outside of its requests: `change` is called again with what is
    /// there, until nothing of that has changed meanwhile. `None` if there is no such session.
    pub(crate) async fn modify<T>(
        &self,
        op: &Operation<'_>,
        id: &SessionId,
        mut change: impl FnMut(&mut State) -> T,
    ) -> Result<Option<T>, Error> {
        let mut tries = 1;
        loop {
            let Some(snapshot) = self.read(op, id, false).await? else {
                return Ok(None);
            };
            let mut ours = snapshot.state.clone();
            let output = change(&mut ours);
            if Changes::between(&snapshot.state, &ours).is_empty() {
                return Ok(Some(output));
            }
            self.check_size(&ours)?;
            let changes = Changes::exactly(&snapshot.state, &ours);
            match self.write(op, id, &changes, None).await? {
                Written::Done => return Ok(Some(output)),
                Written::Gone => return Ok(None),
                Written::Conflict(_) => self.goes_on_after(op, &mut tries)?,
            }
        }
    }

    async fn write(
        &self,
        op: &Operation<'_>,
        id: &SessionId,
        changes: &Changes<'_>,
        ttl_ms: Option<i64>,
    ) -> Result<Written, Error> {
        let redis_key = &*self.keyspace.session(id);
        let is_guarded = !changes.guarded.is_empty();
        let key = &is_guarded.then(|| self.idempotency_keys.draw(id));
        let write = |redis| Hash { redis, redis_key }.write(changes, ttl_ms, key.as_ref());
        or_if_unreadable(self.client.run(op, write).await, Written::Gone)
    }

    fn goes_on_after(&self, op: &Operation<'_>, tries: &mut u32) -> Result<(), Error> {
        events::conflicted();
        if !op.has_time_for_a_try() {
            return Err(Error::Contended { tries: *tries });
        }
        *tries += 1;
        Ok(())
    }

    /// Goes on under a new key with what a request has made of the snapshot, and with what others
    /// had made of it until the session ended.
    ///
    /// The new session is there before the old one ends, and until then nobody knows of it.
    pub(crate) async fn renew(
        &self,
        op: &Operation<'_>,
        id: &SessionId,
        snapshot: &Snapshot,
        ours: &State,
        ttl: &time::Duration,
    ) -> Result<Renewal, Error> {
        let session_key = self.create(op, ours, ttl).await?;
        let new = SessionId::of(&session_key);
        let cleared = was_cleared(&snapshot.state, ours);
        let ending = Ending {
            id,
            who: &draw_token(),
            successor: Some(&new),
            keep_last_state: (!cleared).then_some(self.client.deadline + RETRY_SLACK),
        };
        let lives = match self.carry_out(op, &ending).await {
            Ok(Ended::ByUs(_)) if cleared => Ok(true),
            Ok(Ended::ByUs(last_state)) => {
                let brought_along = self.bring_along(op, &new, snapshot, ours, last_state, ttl);
                Ok(brought_along.await)
            }
            Ok(Ended::BySomebodyElse(_)) => Ok(false),
            Err(error @ Error::Unavailable { .. }) => {
                return Ok(Renewal::InDoubt(session_key, error));
            }
            Err(error) => Err(error),
        };
        if let Ok(true) = lives {
            return Ok(Renewal::Done(session_key));
        }
        // Nobody will ever know its key; if it cannot be removed, it expires.
        let _ = self.remove(op, &new).await;
        lives.map(|_| Renewal::Undone)
    }

    /// Into a renewed session goes what others have made of the old one. If that was gone, nothing
    /// of it goes: what is left is what this request has written itself, and `false` means nothing.
    async fn bring_along(
        &self,
        op: &Operation<'_>,
        new: &SessionId,
        snapshot: &Snapshot,
        ours: &State,
        last_state: Option<State>,
        ttl: &time::Duration,
    ) -> bool {
        let base = &snapshot.state;
        let merged = match &last_state {
            Some(theirs) => self.merge_rules.merge(base, theirs, ours),
            None => MergeRules::default().merge(base, &State::new(), ours),
        };
        let brought = match merged {
            Ok(own) if last_state.is_none() && own.is_empty() => return false,
            Ok(merged) if merged == *ours => return true,
            Ok(merged) => self.replace(op, new, &merged, ttl).await,
            Err(error) => Err(error),
        };
        // The old session has ended: what the user has is the new one, as it is.
        let brought = brought.inspect_err(events::late_changes_lost);
        brought.unwrap_or(Effect::Done) != Effect::Gone
    }

    /// Ends the session, or what has taken its place. `false` if nothing was left to end, for
    /// somebody else had done it.
    pub(crate) async fn end(&self, op: &Operation<'_>, id: &SessionId) -> Result<bool, Error> {
        let who = &*draw_token();
        let mut id = id.clone();
        loop {
            let ending = Ending {
                id: &id,
                who,
                successor: None,
                keep_last_state: None,
            };
            id = match self.carry_out(op, &ending).await? {
                Ended::ByUs(_) => return Ok(true),
                Ended::BySomebodyElse(None) => return Ok(false),
                Ended::BySomebodyElse(Some(successor)) => successor,
            };
        }
    }

    async fn carry_out(&self, op: &Operation<'_>, ending: &Ending<'_>) -> Result<Ended, Error> {
        let end = |redis| ending.carry_out(redis, &self.keyspace);
        self.client.run(op, end).await
    }

    /// Without a tombstone: nobody has known of it.
    async fn remove(&self, op: &Operation<'_>, id: &SessionId) -> Result<(), Error> {
        let redis_key = &*self.keyspace.session(id);
        let remove = |redis| Hash { redis, redis_key }.remove();
        self.client.run(op, remove).await
    }

    /// Reads and writes as requests do, under a Redis key that is no session's. What Redis replies
    /// stands, even if it would reply something else in a moment: unless another connection may
    /// lead to another server.
    pub(crate) async fn check(&self, op: &Operation<'_>) -> Result<(), Error> {
        let redis_key = &*self.keyspace.check();
        let check = |redis| async move {
            let hash = Hash { redis, redis_key };
            hash.check().await.map_err(|failure| match failure {
                Failure::Transient(fault)
                    if fault.reply().is_some() && !hash.redis.is_given_up_for(&fault) =>
                {
                    Failure::Permanent(op.unavailable(fault))
                }
                failure => failure,
            })
        };
        self.client.run(op, check).await
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

/// What is there by now is no session, and is left alone.
fn or_if_unreadable<T>(written: Result<T, Error>, gone: T) -> Result<T, Error> {
    match written {
        Err(Error::Unreadable { .. }) => Ok(gone),
        written => written,
    }
}
