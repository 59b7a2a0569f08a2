//! What Redis holds for a session: [`Sessions`] is the only writer. It knows neither HTTP nor
//! the trait of actix-session.

mod adopt;
mod changes;
mod idempotency;
mod keyspace;
mod layout;
mod script;
mod snapshot;
mod state;
mod tombstone;
mod ttl;

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use actix_session::storage::SessionKey;
use actix_web::cookie::time;
use futures_util::future::{FutureExt as _, OptionFuture, try_join};

pub use self::keyspace::{InvalidSessionId, SessionId};
use self::{
    adopt::Copy,
    changes::Changes,
    idempotency::IdempotencyKeys,
    keyspace::{Layout, draw_token},
    layout::{
        built_in::BuiltIn,
        hash::{Birth, Hash, Written},
    },
    snapshot::Origin,
    state::was_cleared,
    tombstone::{Ended, Ending},
    ttl::whole_milliseconds,
};
pub(crate) use self::{
    changes::MergeRules,
    keyspace::{BuiltInNames, Keyspace, Names, draw_session_key, is_session_key},
    snapshot::Snapshot,
    state::State,
};
use crate::{
    client::{Client, Connection, Failure, Operation},
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

    pub(crate) fn names(&self, session_key: &SessionKey) -> Names {
        self.keyspace.names(session_key)
    }

    /// `may_refresh`: the session may be prolonged, so it pays to know how long it lives.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`] when something else is there than a session.
    pub(crate) async fn read(
        &self,
        op: &Operation<'_>,
        names: &Names,
        may_refresh: bool,
    ) -> Result<Option<Snapshot>, Error> {
        let (layout, redis_key) = (self.keyspace.layout(), &*self.keyspace.session(names));
        let with_ttl = may_refresh && self.refreshes.load(Relaxed);
        let read = |redis| layout.read(redis, redis_key, with_ttl);
        let found = self.client.run(op, read).await?;
        match (found, self.copy(op, names)) {
            (None, Some(copy)) if self.ended_ago(op, names).await?.is_none() => copy.read().await,
            (Some(ours), Some(copy)) if ours.origin == Origin::Copied && !copy.exists().await? => {
                self.end(op, names).await?;
                Ok(None)
            }
            (found, _) => Ok(found),
        }
    }

    /// How long ago the session has ended, as far as that is remembered.
    pub(crate) async fn ended_ago(
        &self,
        op: &Operation<'_>,
        names: &Names,
    ) -> Result<Option<Duration>, Error> {
        let redis_key = &*self.keyspace.tombstone(&names.id);
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
        loop {
            let session_key = draw_session_key();
            let names = self.names(&session_key);
            if let Some(copy) = self.copy(op, &names) {
                copy.write(state, ttl_ms).await?;
            }
            if self.begin(op, &names, state, ttl_ms).await? {
                return Ok(session_key);
            }
        }
    }

    /// `false` if the key is taken.
    async fn begin(
        &self,
        op: &Operation<'_>,
        names: &Names,
        state: &State,
        ttl_ms: i64,
    ) -> Result<bool, Error> {
        let (layout, redis_key) = (self.keyspace.layout(), &*self.keyspace.session(names));
        let birth = &Birth {
            tombstone: &self.keyspace.tombstone(&names.id),
            born: SystemTime::now(),
            state,
            ttl_ms,
            copy: self.keyspace.copy(names),
        };
        let create = |redis| layout.create(redis, redis_key, birth);
        self.client.run(op, create).await
    }

    /// While sessions are adopted.
    fn copy<'a>(&'a self, op: &'a Operation<'a>, names: &'a Names) -> Option<Copy<'a>> {
        let client = &self.client;
        let redis_key = self.keyspace.copy(names)?;
        Some(Copy {
            client,
            op,
            redis_key,
        })
    }

    /// Before a session is written: makes it one of ours, if it is the built-in store's, and lets
    /// its copy live on. `false` if that store has ended it.
    async fn adopt(
        &self,
        op: &Operation<'_>,
        names: &Names,
        snapshot: Option<&Snapshot>,
        ttl_ms: i64,
    ) -> Result<bool, Error> {
        let Some(copy) = self.copy(op, names) else {
            return Ok(true);
        };
        let copy_lives = copy.prolong(ttl_ms).await?;
        match snapshot {
            Some(snapshot) if snapshot.origin == Origin::Copy => {
                if copy_lives {
                    // If its key is taken, another request has adopted it.
                    if self.begin(op, names, &snapshot.state, ttl_ms).await? {
                        events::adopted();
                    }
                }
                Ok(copy_lives)
            }
            _ if copy_lives => Ok(true),
            _ => {
                let redis_key = &*self.keyspace.session(names);
                let had_copy = |redis| Hash { redis, redis_key }.copy();
                let was_ended = self.client.run(op, had_copy).await?.is_some();
                if was_ended {
                    self.end(op, names).await?;
                }
                Ok(!was_ended)
            }
        }
    }

    /// Stores what a request has made of the snapshot, and nothing else.
    pub(crate) async fn update(
        &self,
        op: &Operation<'_>,
        names: &Names,
        snapshot: &Snapshot,
        ours: &State,
        ttl: &time::Duration,
    ) -> Result<Effect, Error> {
        let mut changes = self.merge_rules.changes(&snapshot.state, ours);
        if changes.is_empty() {
            return self.refresh(op, names, Some(snapshot), ttl).await;
        }
        let ttl_ms = whole_milliseconds(ttl)?;
        self.check_size(ours)?;
        if !self.adopt(op, names, Some(snapshot), ttl_ms).await? {
            return Ok(Effect::Gone);
        }
        if self.keyspace.layout() == Layout::BuiltIn || was_cleared(&snapshot.state, ours) {
            return self.store(op, names, ours, Some(ttl_ms)).await;
        }
        let mut tries = 1;
        loop {
            let theirs = match self.write(op, names, &changes, Some(ttl_ms)).await? {
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
        names: &Names,
        state: &State,
        ttl: &time::Duration,
    ) -> Result<Effect, Error> {
        let ttl_ms = whole_milliseconds(ttl)?;
        self.check_size(state)?;
        if !self.adopt(op, names, None, ttl_ms).await? {
            return Ok(Effect::Gone);
        }
        let replaced = self.store(op, names, state, Some(ttl_ms)).await?;
        match self.copy(op, names) {
            Some(copy) if replaced == Effect::Gone && copy.exists().await? => {
                events::adopted();
                self.begin(op, names, state, ttl_ms).await.map(Effect::done)
            }
            _ => Ok(replaced),
        }
    }

    /// Without `ttl_ms` its TTL stays.
    async fn store(
        &self,
        op: &Operation<'_>,
        names: &Names,
        state: &State,
        ttl_ms: Option<i64>,
    ) -> Result<Effect, Error> {
        let (layout, redis_key) = (self.keyspace.layout(), &*self.keyspace.session(names));
        let replace = |redis| layout.replace(redis, redis_key, state, ttl_ms);
        let replaced = self.client.run(op, replace).await;
        or_if_unreadable(replaced, false).map(Effect::done)
    }

    /// Lets the session live for another TTL, if that makes a difference.
    pub(crate) async fn refresh(
        &self,
        op: &Operation<'_>,
        names: &Names,
        snapshot: Option<&Snapshot>,
        ttl: &time::Duration,
    ) -> Result<Effect, Error> {
        let ttl_ms = whole_milliseconds(ttl)?;
        self.refreshes.store(true, Relaxed);
        if snapshot.is_some_and(|snapshot| snapshot.is_fresh(ttl_ms)) {
            return Ok(Effect::Fresh);
        }
        if !self.adopt(op, names, snapshot, ttl_ms).await? {
            return Ok(Effect::Gone);
        }
        let redis_key = &*self.keyspace.session(names);
        let refresh = |redis| Hash { redis, redis_key }.refresh(ttl_ms);
        let refreshed = self.client.run(op, refresh).await?;
        match self.copy(op, names) {
            // Only prolonged there, it would never become one of ours.
            Some(copy) if !refreshed => match or_if_unreadable(copy.read().await, None)? {
                Some(theirs) => {
                    let adopted = self.adopt(op, names, Some(&theirs), ttl_ms).await;
                    adopted.map(Effect::done)
                }
                None => Ok(Effect::Gone),
            },
            _ => Ok(Effect::done(refreshed)),
        }
    }

    /// One change of a session from outside of its requests: `change` is called again with what is
    /// there, until nothing of that has changed meanwhile. `None` if there is no such session.
    pub(crate) async fn modify<T>(
        &self,
        op: &Operation<'_>,
        names: &Names,
        mut change: impl FnMut(&mut State) -> T,
    ) -> Result<Option<T>, Error> {
        let mut tries = 1;
        loop {
            let Some(snapshot) = self.read(op, names, false).await? else {
                return Ok(None);
            };
            let mut ours = snapshot.state.clone();
            let output = change(&mut ours);
            if Changes::between(&snapshot.state, &ours).is_empty() {
                return Ok(Some(output));
            }
            self.check_size(&ours)?;
            if self.keyspace.layout() == Layout::BuiltIn {
                let stored = self.store(op, names, &ours, None).await?;
                return Ok((stored == Effect::Done).then_some(output));
            }
            if snapshot.origin == Origin::Copy
                && let Some(ttl_ms) = snapshot.ttl_left_ms()
                && !self.adopt(op, names, Some(&snapshot), ttl_ms).await?
            {
                return Ok(None);
            }
            let changes = Changes::exactly(&snapshot.state, &ours);
            match self.write(op, names, &changes, None).await? {
                Written::Done => return Ok(Some(output)),
                Written::Gone => return Ok(None),
                Written::Conflict(_) => self.goes_on_after(op, &mut tries)?,
            }
        }
    }

    async fn write(
        &self,
        op: &Operation<'_>,
        names: &Names,
        changes: &Changes<'_>,
        ttl_ms: Option<i64>,
    ) -> Result<Written, Error> {
        let redis_key = &*self.keyspace.session(names);
        let is_guarded = !changes.guarded.is_empty();
        let key = &is_guarded.then(|| self.idempotency_keys.draw(&names.id));
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
        names: &Names,
        snapshot: &Snapshot,
        ours: &State,
        ttl: &time::Duration,
    ) -> Result<Renewal, Error> {
        // If the built-in store has ended the old one, it is gone like any other.
        self.adopt(op, names, Some(snapshot), whole_milliseconds(ttl)?)
            .await?;
        let session_key = self.create(op, ours, ttl).await?;
        let new = self.names(&session_key);
        let cleared = was_cleared(&snapshot.state, ours);
        let ending = Ending {
            names,
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
        new: &Names,
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
    pub(crate) async fn end(&self, op: &Operation<'_>, names: &Names) -> Result<bool, Error> {
        let who = &*draw_token();
        let mut names = names.clone();
        loop {
            let ending = Ending {
                names: &names,
                who,
                successor: None,
                keep_last_state: None,
            };
            names = match self.carry_out(op, &ending).await? {
                Ended::ByUs(_) => return Ok(true),
                Ended::BySomebodyElse(None) => return Ok(false),
                Ended::BySomebodyElse(Some(successor)) => successor,
            };
        }
    }

    async fn carry_out(&self, op: &Operation<'_>, ending: &Ending<'_>) -> Result<Ended, Error> {
        self.remove_copy(op, ending.names).await?;
        let end = |redis| ending.carry_out(redis, &self.keyspace);
        self.client.run(op, end).await
    }

    /// Of a successor only the session knows where its copy is.
    async fn remove_copy(&self, op: &Operation<'_>, names: &Names) -> Result<(), Error> {
        let mut names = Cow::Borrowed(names);
        if self.keyspace.adopts() && names.built_in.is_none() {
            let redis_key = &*self.keyspace.session(&names);
            let copy = |redis| Hash { redis, redis_key }.copy();
            let copy = self.client.run(op, copy).await;
            names.to_mut().built_in = or_if_unreadable(copy, None)?;
        }
        match self.copy(op, &names) {
            Some(copy) => copy.remove().await,
            None => Ok(()),
        }
    }

    /// Without a tombstone: nobody has known of it.
    async fn remove(&self, op: &Operation<'_>, names: &Names) -> Result<(), Error> {
        self.remove_copy(op, names).await?;
        let redis_key = &*self.keyspace.session(names);
        let remove = |redis| Hash { redis, redis_key }.remove();
        self.client.run(op, remove).await
    }

    /// Reads and writes as requests do, under a Redis key that is no session's. What Redis replies
    /// stands, even if it would reply something else in a moment: unless another connection may
    /// lead to another server.
    pub(crate) async fn check(&self, op: &Operation<'_>) -> Result<(), Error> {
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
