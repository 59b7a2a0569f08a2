//! What Redis holds for a session: [`Sessions`] is the only writer. It knows neither HTTP nor
//! the trait of actix-session.

mod adopt;
mod changes;
mod details;
mod idempotency;
mod index;
mod keyspace;
mod layout;
mod ownership;
mod plan;
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

use self::{
    changes::Changes,
    keyspace::{Layout, draw_token},
    layout::hash::{Begun, Replacement, Written},
    plan::{Of, Plan},
    record::{Record, Storage, or_if_unreadable},
    snapshot::Origin,
    state::{canonical, was_cleared},
    tombstone::{Ended, Ending},
    ttl::whole_milliseconds,
};
pub(crate) use self::{
    changes::MergeRules,
    details::{Details, Policy, Terms},
    index::Limit,
    keyspace::{BuiltInNames, Keyspace, Names, UserId, draw_session_key, is_session_key},
    snapshot::Snapshot,
    state::State,
};
pub use self::{
    index::Login,
    keyspace::{InvalidSessionId, SessionId},
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
    policy: Policy,
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

/// What became of a session that was to begin, or to go on under a new key.
pub(crate) enum Renewal {
    Done(SessionKey),
    /// Somebody else had ended it; or it was gone, and the request has written nothing itself; or all
    /// sessions of the user were ended meanwhile.
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
        policy: Policy,
    ) -> Self {
        Self {
            storage: Storage::new(client, keyspace),
            max_state_bytes,
            merge_rules,
            policy,
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
                self.end(op, names, Some(&ours)).await?;
                Ok(None)
            }
            (Some(found), _)
                if self
                    .policy
                    .left_ms(&found.details)
                    .is_some_and(|it| it <= 0) =>
            {
                self.end(op, names, Some(&found)).await?;
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

    /// How long the session lives, if nobody uses it; `None` if it is gone.
    pub(crate) async fn expires_in(&self, names: &Names) -> Result<Option<Duration>, Error> {
        let op = &self.storage.client.operation("expires_in");
        let session = self.storage.record(op, names);
        let left_ms = op.observation.of(session.ttl_left_ms()).await?;
        Ok(u64::try_from(left_ms).ok().map(Duration::from_millis))
    }

    pub(crate) fn allows_lifetime(&self, lifetime: Duration) -> bool {
        let allowed = self.policy.lifetimes.as_ref();
        allowed.is_some_and(|allowed| allowed.contains(&lifetime))
    }

    /// Begins a session under a new key; if that is taken, under another one. `None` if all sessions
    /// of its user have been ended meanwhile.
    pub(crate) async fn create(
        &self,
        op: &Operation<'_>,
        state: &State,
        terms: Terms<'_>,
        from: Option<(&Names, &Snapshot)>,
    ) -> Result<Option<SessionKey>, Error> {
        let base = from.and_then(|(_, snapshot)| self.policy.user(&snapshot.state));
        let is_login = terms.login.is_some() || self.policy.user(state) != base;
        let mut before = from.map_or_else(Details::default, |(_, it)| it.details.clone());
        if is_login {
            before.born_ms = None;
        }
        self.check_size(state)?;
        loop {
            let of = Of::New(&before);
            let Some(mut plan) = Plan::new(&self.policy, of, base.as_ref(), state, terms)? else {
                return Ok(None);
            };
            let session_key = draw_session_key();
            let names = self.names(&session_key);
            let session = self.storage.record(op, &names);
            let from = from.map(|(names, _)| &names.id);
            if !self.storage.enter(op, &names.id, from, &mut plan).await? {
                return Ok(None);
            }
            if let Some(copy) = session.copy() {
                copy.write(state, plan.ttl_ms).await?;
            }
            let begun = session.begin(state, &plan).await;
            match begun {
                Ok(Begun::Done) => return Ok(Some(session_key)),
                // It may be there.
                Err(Error::Unavailable { .. }) => {}
                _ => {
                    let owner = plan.details.owner.as_ref();
                    self.storage.leave(op, &names.id, owner).await;
                }
            }
            if begun? == Begun::Ended {
                return Ok(None);
            }
        }
    }

    /// Before a session is written: makes it one of ours, if it is the built-in store's, and lets
    /// its copy live on. `false` if that store has ended it.
    async fn adopt(
        &self,
        session: &Record<'_>,
        snapshot: Option<&Snapshot>,
        terms: Terms<'_>,
    ) -> Result<bool, Error> {
        let Some(copy) = session.copy() else {
            return Ok(true);
        };
        let copy_lives = copy.prolong(whole_milliseconds(terms.ttl)?).await?;
        match snapshot {
            Some(snapshot) if snapshot.origin == Origin::Copy => {
                // If its key is taken, another request has adopted it.
                if copy_lives && self.begin_adopted(session, &snapshot.state, terms).await? {
                    events::adopted();
                }
                Ok(copy_lives)
            }
            _ if copy_lives => Ok(true),
            _ => {
                let was_ended = session.known_copy().await?.is_some();
                if was_ended {
                    self.end(session.op, session.names, None).await?;
                }
                Ok(!was_ended)
            }
        }
    }

    /// `false` if its key is taken.
    async fn begin_adopted(
        &self,
        session: &Record<'_>,
        state: &State,
        terms: Terms<'_>,
    ) -> Result<bool, Error> {
        // Who has a session there does not log in.
        let user = self.policy.user(state);
        let terms = Terms::only(terms.ttl);
        let of = Of::New(&Details::default());
        let plan = Plan::new(&self.policy, of, user.as_ref(), state, terms)?;
        let Some(mut plan) = plan else {
            return Ok(false);
        };
        let (op, id) = (session.op, &session.names.id);
        if !self.storage.enter(op, id, None, &mut plan).await? {
            return Ok(false);
        }
        Ok(session.begin(state, &plan).await? == Begun::Done)
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
        let session = self.storage.record(op, names);
        let mut changes = self.merge_rules.changes(&snapshot.state, ours);
        let Some(mut plan) = self.plan(&session, snapshot, ours, terms).await? else {
            return Ok(Effect::Gone);
        };
        if changes.is_empty() && plan.is_idle() {
            return self
                .prolong(&session, Some(snapshot), terms, plan.ttl_ms)
                .await;
        }
        self.check_size(ours)?;
        if !self.adopt(&session, Some(snapshot), terms).await?
            || !self.storage.enter(op, &names.id, None, &mut plan).await?
        {
            return Ok(Effect::Gone);
        }
        let is_replaced =
            self.storage.keyspace.layout() == Layout::BuiltIn || was_cleared(&snapshot.state, ours);
        let written = if is_replaced {
            self.put(&session, snapshot, ours, &plan).await?
        } else {
            plan.add_to(&mut changes);
            self.write(&session, snapshot, ours, changes, plan.ttl_ms)
                .await?
        };
        self.settle(&session, &plan, written).await;
        match written {
            Some(effect) => Ok(effect),
            None => self.replace(op, names, ours, terms).await,
        }
    }

    /// What becomes of its details; `None` if it has come to its end.
    async fn plan(
        &self,
        session: &Record<'_>,
        snapshot: &Snapshot,
        ours: &State,
        terms: Terms<'_>,
    ) -> Result<Option<Plan>, Error> {
        let user = self.policy.user(&snapshot.state);
        let of = Of::Known(&snapshot.details);
        let plan = Plan::new(&self.policy, of, user.as_ref(), ours, terms)?;
        if plan.is_none() {
            self.end(session.op, session.names, Some(snapshot)).await?;
        }
        Ok(plan)
    }

    /// Writes changes, and if others have changed the same meanwhile, what comes of both.
    async fn write(
        &self,
        session: &Record<'_>,
        snapshot: &Snapshot,
        ours: &State,
        mut changes: Changes<'_>,
        ttl_ms: i64,
    ) -> Result<Option<Effect>, Error> {
        let mut tries = 1;
        loop {
            let theirs = match session.write(&changes, Some(ttl_ms)).await? {
                Written::Done => break,
                Written::Gone => return Ok(Some(Effect::Gone)),
                Written::Conflict(theirs) => theirs,
            };
            self.goes_on_after(session.op, &mut tries)?;
            if theirs.is_empty() {
                Details::without_owner(&mut changes.own);
                changes.owner = None;
            }
            self.merge_rules
                .meet(&mut changes, &snapshot.state, ours, theirs)?;
        }
        if tries > 1 {
            events::merged();
        }
        Ok(Some(Effect::Done))
    }

    /// Writes all of a state. `None` if the session has become somebody else's meanwhile.
    async fn put(
        &self,
        session: &Record<'_>,
        snapshot: &Snapshot,
        state: &State,
        plan: &Plan,
    ) -> Result<Option<Effect>, Error> {
        let owner = self
            .policy
            .user_field
            .is_some()
            .then_some(&snapshot.details.owner);
        let put = Replacement {
            state,
            own: &plan.own_changes(),
            ttl_ms: Some(plan.ttl_ms),
            latest: plan.latest,
            owner,
        };
        Ok(match session.replace(&put).await? {
            Written::Done => Some(Effect::Done),
            Written::Gone => Some(Effect::Gone),
            Written::Conflict(_) => None,
        })
    }

    /// After a write: takes the session out of the index that it is in no more. If it was not written
    /// and is there, somebody else may have entered it, too.
    async fn settle(&self, session: &Record<'_>, plan: &Plan, written: Option<Effect>) {
        if let Some(written) = written {
            let left = plan.left(written == Effect::Done);
            self.storage
                .leave(session.op, &session.names.id, left)
                .await;
        }
    }

    /// Last write wins.
    pub(crate) async fn replace(
        &self,
        op: &Operation<'_>,
        names: &Names,
        state: &State,
        terms: Terms<'_>,
    ) -> Result<Effect, Error> {
        let ttl_ms = whole_milliseconds(terms.ttl)?;
        self.check_size(state)?;
        let session = self.storage.record(op, names);
        if self.policy.needs_details() {
            return self.replace_known(&session, state, terms).await;
        }
        if !self.adopt(&session, None, terms).await? {
            return Ok(Effect::Gone);
        }
        let put = Replacement::of_state(state, Some(ttl_ms));
        let replaced = session.replace(&put).await?;
        match session.copy() {
            Some(copy) if matches!(replaced, Written::Gone) && copy.exists().await? => {
                events::adopted();
                self.begin_adopted(&session, state, terms)
                    .await
                    .map(Effect::done)
            }
            _ => Ok(Effect::done(matches!(replaced, Written::Done))),
        }
    }

    /// What is noted of a session has to be known before it is replaced.
    async fn replace_known(
        &self,
        session: &Record<'_>,
        state: &State,
        terms: Terms<'_>,
    ) -> Result<Effect, Error> {
        let (op, names) = (session.op, session.names);
        let mut tries = 1;
        loop {
            let found = self.read(op, names, false).await;
            let Some(snapshot) = or_if_unreadable(found, None)? else {
                return Ok(Effect::Gone);
            };
            let Some(mut plan) = self.plan(session, &snapshot, state, terms).await? else {
                return Ok(Effect::Gone);
            };
            if !self.adopt(session, Some(&snapshot), terms).await?
                || !self.storage.enter(op, &names.id, None, &mut plan).await?
            {
                return Ok(Effect::Gone);
            }
            let written = self.put(session, &snapshot, state, &plan).await?;
            self.settle(session, &plan, written).await;
            if let Some(effect) = written {
                return Ok(effect);
            }
            self.goes_on_after(op, &mut tries)?;
        }
    }

    /// Lets the session live for another TTL, if that makes a difference.
    pub(crate) async fn refresh(
        &self,
        op: &Operation<'_>,
        names: &Names,
        snapshot: Option<&Snapshot>,
        terms: Terms<'_>,
    ) -> Result<Effect, Error> {
        let found;
        let snapshot = match snapshot {
            None if self.policy.needs_details() => {
                found = or_if_unreadable(self.read(op, names, true).await, None)?;
                match &found {
                    Some(snapshot) => Some(snapshot),
                    None => return Ok(Effect::Gone),
                }
            }
            snapshot => snapshot,
        };
        match snapshot {
            Some(snapshot) => {
                self.update(op, names, snapshot, &snapshot.state, terms)
                    .await
            }
            None => {
                let ttl_ms = whole_milliseconds(terms.ttl)?;
                let session = self.storage.record(op, names);
                self.prolong(&session, None, terms, ttl_ms).await
            }
        }
    }

    async fn prolong(
        &self,
        session: &Record<'_>,
        snapshot: Option<&Snapshot>,
        terms: Terms<'_>,
        ttl_ms: i64,
    ) -> Result<Effect, Error> {
        self.refreshes.store(true, Relaxed);
        if snapshot.is_some_and(|snapshot| snapshot.is_fresh(ttl_ms)) {
            return Ok(Effect::Fresh);
        }
        if !self.adopt(session, snapshot, terms).await? {
            return Ok(Effect::Gone);
        }
        let refreshed = session.refresh(ttl_ms).await?;
        match session.copy() {
            // Only prolonged there, it would never become one of ours.
            Some(copy) if !refreshed => match or_if_unreadable(copy.read().await, None)? {
                Some(theirs) => {
                    let adopted = self.adopt(session, Some(&theirs), terms).await;
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
                let replaced = session.replace(&Replacement::of_state(&ours, None)).await?;
                return Ok(matches!(replaced, Written::Done).then_some(output));
            }
            match self.modify_to(&session, &snapshot, &ours).await? {
                Written::Done => return Ok(Some(output)),
                Written::Gone => return Ok(None),
                Written::Conflict(_) => self.goes_on_after(op, &mut tries)?,
            }
        }
    }

    /// Its TTL stays.
    async fn modify_to(
        &self,
        session: &Record<'_>,
        snapshot: &Snapshot,
        ours: &State,
    ) -> Result<Written, Error> {
        let (op, id) = (session.op, &session.names.id);
        let mut changes = Changes::exactly(&snapshot.state, ours);
        let ttl_left_ms = match snapshot.ttl_left_ms() {
            None if self.policy.needs_details() => session.ttl_left_ms().await?,
            known => known.unwrap_or_default(),
        };
        let ttl = time::Duration::milliseconds(ttl_left_ms.max(1));
        let terms = Terms::only(&ttl);
        if snapshot.origin == Origin::Copy && !self.adopt(session, Some(snapshot), terms).await? {
            return Ok(Written::Gone);
        }
        let Some(mut plan) = self.plan(session, snapshot, ours, terms).await? else {
            return Ok(Written::Gone);
        };
        plan.keeps_ttl();
        if !self.storage.enter(op, id, None, &mut plan).await? {
            return Ok(Written::Gone);
        }
        plan.add_to(&mut changes);
        let written = session.write(&changes, None).await?;
        let effect = Effect::done(matches!(written, Written::Done));
        self.settle(session, &plan, Some(effect)).await;
        Ok(written)
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
        terms: Terms<'_>,
    ) -> Result<Renewal, Error> {
        let old = self.storage.record(op, names);
        // If the built-in store has ended the old one, it is gone like any other.
        self.adopt(&old, Some(snapshot), terms).await?;
        let created = self
            .create(op, ours, terms, Some((names, snapshot)))
            .await?;
        let Some(session_key) = created else {
            return Ok(Renewal::Undone);
        };
        let new = self.names(&session_key);
        let cleared = was_cleared(&snapshot.state, ours);
        let ending = Ending {
            who: &draw_token(),
            successor: Some(&new),
            keep_last_state: (!cleared).then_some(self.storage.client.deadline + RETRY_SLACK),
            whose: None,
        };
        let lives = match old.carry_out(&ending).await {
            Ok(Ended::ByUs(_)) if cleared => Ok(true),
            Ok(Ended::ByUs(last_state)) => {
                let brought_along = self.bring_along(op, &new, snapshot, ours, last_state, terms);
                Ok(brought_along.await)
            }
            Ok(Ended::BySomebodyElse(_) | Ended::NotTheirs) => Ok(false),
            Err(error @ Error::Unavailable { .. }) => {
                return Ok(Renewal::InDoubt(session_key, error));
            }
            Err(error) => Err(error),
        };
        if let Ok(true) = lives {
            let owner = snapshot.details.owner.as_ref();
            self.storage.leave(op, &names.id, owner).await;
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
        terms: Terms<'_>,
    ) -> bool {
        let base = &snapshot.state;
        let merged = match &last_state {
            Some(theirs) => self.merge_rules.merge(base, theirs, ours),
            None => MergeRules::default().merge(base, &State::new(), ours),
        };
        let brought = match merged {
            Ok(own) if last_state.is_none() && own.is_empty() => return false,
            Ok(merged) if merged == *ours => return true,
            Ok(merged) => self.replace(op, new, &merged, terms).await,
            Err(error) => Err(error),
        };
        // The old session has ended: what the user has is the new one, as it is.
        let brought = brought.inspect_err(events::late_changes_lost);
        brought.unwrap_or(Effect::Done) != Effect::Gone
    }

    /// Ends the session, or what has taken its place. `false` if nothing was left to end, for
    /// somebody else had done it.
    pub(crate) async fn end(
        &self,
        op: &Operation<'_>,
        names: &Names,
        snapshot: Option<&Snapshot>,
    ) -> Result<bool, Error> {
        let ended = self.storage.end(op, names, None).await?;
        let owner = snapshot.and_then(|snapshot| snapshot.details.owner.as_ref());
        self.storage.leave(op, &names.id, owner).await;
        Ok(ended)
    }

    /// Reads and writes as requests do, under a Redis key that is no session's.
    pub(crate) async fn check(&self, op: &Operation<'_>) -> Result<(), Error> {
        self.storage
            .check(op, self.policy.user_field.is_some())
            .await
    }

    /// Whose sessions those are in which the field that names the user holds this JSON.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] when the store does not know of users, or it is no user.
    pub(crate) fn user(&self, json: &str) -> Result<UserId, Error> {
        let json = canonical(json);
        let reason = match &self.policy.user_field {
            None => "the store has no user_field, which says whose a session is",
            Some(_) if json == "null" => "null is no user",
            Some(_) => return Ok(UserId::of(&json)),
        };
        Err(Error::InvalidOption {
            option: "sessions_of",
            reason: reason.to_owned(),
        })
    }

    /// Those that live, oldest first, with what is noted of them, and how long they have left to live.
    pub(crate) async fn list_of(
        &self,
        user: &UserId,
    ) -> Result<Vec<(SessionId, Details, i64)>, Error> {
        let op = &self.storage.client.operation("list_of_user");
        self.storage.sessions_of(op, user).await
    }

    /// `false` if it is no session of the user.
    pub(crate) async fn end_of(&self, user: &UserId, id: &SessionId) -> Result<bool, Error> {
        let op = &self.storage.client.operation("end_of_user");
        self.storage.end_of(op, user, id).await
    }

    /// How many have been ended.
    pub(crate) async fn end_all_of(
        &self,
        user: &UserId,
        but: Option<&SessionId>,
    ) -> Result<usize, Error> {
        let op = &self.storage.client.operation("end_all_of_user");
        self.storage.end_all_of(op, user, but).await
    }

    /// Fails if no other session may begin.
    pub(crate) async fn begin_login(&self, user: &UserId) -> Result<Login, Error> {
        let op = &self.storage.client.operation("begin_login");
        let login = self.storage.begin_login(op, user, self.policy.limit);
        op.observation.of(login).await
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
