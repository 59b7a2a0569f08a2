//! What Redis holds for a session: [`Sessions`] is the only writer. It knows neither HTTP nor
//! the trait of actix-session.

mod adopt;
mod changes;
mod idempotency;
mod keyspace;
mod layout;
mod record;
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
    time::Duration,
};

use actix_session::storage::SessionKey;
use actix_web::cookie::time;

pub use self::keyspace::{InvalidSessionId, SessionId};
use self::{
    changes::Changes,
    keyspace::{Layout, draw_token},
    layout::hash::Written,
    record::{Storage, or_if_unreadable},
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
    client::{Client, Operation},
    error::Error,
    telemetry::events,
};

/// So much longer than the deadline the last state of a renewed session is kept for a retry, which
/// is late when its thread was blocked, or Redis did not get to it at once.
const RETRY_SLACK: Duration = Duration::from_secs(60);

/// The sessions of one store.
#[derive(Debug)]
pub(crate) struct Sessions {
    storage: Storage,
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
            storage: Storage::new(client, keyspace),
            max_state_bytes,
            merge_rules,
            refreshes: AtomicBool::new(false),
        }
    }

    pub(crate) fn names(&self, session_key: &SessionKey) -> Names {
        self.storage.keyspace.names(session_key)
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
        let with_ttl = may_refresh && self.refreshes.load(Relaxed);
        let session = self.storage.record(op, names);
        match (session.read(with_ttl).await?, session.copy()) {
            (None, Some(copy)) if session.ended_ago().await?.is_none() => copy.read().await,
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
        self.storage.record(op, names).ended_ago().await
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
            let session = self.storage.record(op, &names);
            if let Some(copy) = session.copy() {
                copy.write(state, ttl_ms).await?;
            }
            if session.begin(state, ttl_ms).await? {
                return Ok(session_key);
            }
        }
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
        let session = self.storage.record(op, names);
        let Some(copy) = session.copy() else {
            return Ok(true);
        };
        let copy_lives = copy.prolong(ttl_ms).await?;
        match snapshot {
            Some(snapshot) if snapshot.origin == Origin::Copy => {
                if copy_lives {
                    // If its key is taken, another request has adopted it.
                    if session.begin(&snapshot.state, ttl_ms).await? {
                        events::adopted();
                    }
                }
                Ok(copy_lives)
            }
            _ if copy_lives => Ok(true),
            _ => {
                let was_ended = session.known_copy().await?.is_some();
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
        let session = self.storage.record(op, names);
        if self.storage.keyspace.layout() == Layout::BuiltIn || was_cleared(&snapshot.state, ours) {
            return session.replace(ours, Some(ttl_ms)).await.map(Effect::done);
        }
        let mut tries = 1;
        loop {
            let theirs = match session.write(&changes, Some(ttl_ms)).await? {
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
        let session = self.storage.record(op, names);
        let replaced = session.replace(state, Some(ttl_ms)).await?;
        match session.copy() {
            Some(copy) if !replaced && copy.exists().await? => {
                events::adopted();
                session.begin(state, ttl_ms).await.map(Effect::done)
            }
            _ => Ok(Effect::done(replaced)),
        }
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
        let session = self.storage.record(op, names);
        let refreshed = session.refresh(ttl_ms).await?;
        match session.copy() {
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
        let session = self.storage.record(op, names);
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
            if self.storage.keyspace.layout() == Layout::BuiltIn {
                let replaced = session.replace(&ours, None).await?;
                return Ok(replaced.then_some(output));
            }
            if snapshot.origin == Origin::Copy
                && let Some(ttl_ms) = snapshot.ttl_left_ms()
                && !self.adopt(op, names, Some(&snapshot), ttl_ms).await?
            {
                return Ok(None);
            }
            let changes = Changes::exactly(&snapshot.state, &ours);
            match session.write(&changes, None).await? {
                Written::Done => return Ok(Some(output)),
                Written::Gone => return Ok(None),
                Written::Conflict(_) => self.goes_on_after(op, &mut tries)?,
            }
        }
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
            who: &draw_token(),
            successor: Some(&new),
            keep_last_state: (!cleared).then_some(self.storage.client.deadline + RETRY_SLACK),
        };
        let lives = match self.storage.record(op, names).carry_out(&ending).await {
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
        let _ = self.storage.record(op, &new).remove().await;
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
                who,
                successor: None,
                keep_last_state: None,
            };
            let ended = self.storage.record(op, &names).carry_out(&ending).await?;
            names = match ended {
                Ended::ByUs(_) => return Ok(true),
                Ended::BySomebodyElse(None) => return Ok(false),
                Ended::BySomebodyElse(Some(successor)) => successor,
            };
        }
    }

    /// Reads and writes as requests do, under a Redis key that is no session's.
    pub(crate) async fn check(&self, op: &Operation<'_>) -> Result<(), Error> {
        self.storage.check(op).await
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
