//! How a session is written: what a request has made of it, or all of it; and how it is prolonged.

use std::sync::atomic::Ordering::Relaxed;

use super::{
    changes::Changes,
    details::Details,
    layout::asked::{Begun, Replacement, Source, Written},
    plan::Plan,
    policy::Terms,
    record::{Record, or_if_unreadable},
    snapshot::{Origin, Snapshot},
    state::{State, was_cleared},
    ttl::whole_milliseconds,
    turns::Tries,
};
use crate::{error::Error, telemetry::events};

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

impl Record<'_> {
    /// Stores what a request has made of the snapshot, and nothing else.
    pub(crate) async fn update(
        &self,
        snapshot: &Snapshot,
        ours: &State,
        terms: Terms<'_>,
    ) -> Result<Effect, Error> {
        match self.write_what_has_changed(snapshot, ours, terms).await? {
            // A write that is dropped is nothing to be told of, but a login is.
            Effect::Gone if terms.login.is_some() => Err(Error::Overtaken),
            effect => Ok(effect),
        }
    }

    async fn write_what_has_changed(
        &self,
        snapshot: &Snapshot,
        ours: &State,
        terms: Terms<'_>,
    ) -> Result<Effect, Error> {
        let sessions = self.sessions;
        let mut changes = sessions.merge_rules.changes(&snapshot.state, ours);
        let Some(plan) = self.plan(snapshot, ours, terms).await? else {
            return Ok(Effect::Gone);
        };
        if changes.is_empty() && plan.is_idle() && !snapshot.stored.has_stale() {
            return self.prolong(Some(snapshot), terms, plan.ttl_ms).await;
        }
        if !changes.is_empty() {
            // A request that only prolongs the session has not made it as large as it is.
            sessions.check_size(ours)?;
        }
        let Some(mut plan) = self.adopt_and_enter(snapshot, ours, terms, plan).await? else {
            return Ok(Effect::Gone);
        };
        let is_replaced =
            sessions.keyspace.is_written_whole() || was_cleared(&snapshot.state, ours);
        let written = if is_replaced {
            self.put(ours, &plan).await?
        } else {
            changes.expect(&snapshot.stored, &snapshot.state);
            plan.add_to(&mut changes);
            self.write(snapshot, ours, changes, &mut plan, terms)
                .await?
        };
        self.settle(&plan, &written).await;
        match written {
            Written::Done => Ok(Effect::Done),
            Written::Gone => Ok(Effect::Gone),
            Written::Conflict(_) => self.replace(ours, terms).await,
        }
    }

    /// `None` if it has ended, or ends.
    async fn adopt_and_enter(
        &self,
        snapshot: &Snapshot,
        ours: &State,
        terms: Terms<'_>,
        mut plan: Plan,
    ) -> Result<Option<Plan>, Error> {
        if !self.adopt(Some(snapshot), terms).await? {
            return Ok(None);
        }
        let needs_details = self.sessions.policy.needs_details();
        if needs_details && matches!(snapshot.origin, Origin::Copy(_)) {
            // Something is noted of it from now on.
            return self.enter_anew(snapshot, ours, terms).await;
        }
        let is_entered = self.enter_or_end(snapshot, &mut plan).await?;
        Ok(is_entered.then_some(plan))
    }

    /// Writes changes, and if others have changed the same meanwhile, what comes of both.
    async fn write(
        &self,
        snapshot: &Snapshot,
        ours: &State,
        mut changes: Changes<'_>,
        plan: &mut Plan,
        terms: Terms<'_>,
    ) -> Result<Written, Error> {
        let (mut ttl_ms, mut tries) = (Some(plan.ttl_ms), Tries::first());
        loop {
            let theirs = match self.store_changes(&changes, ttl_ms).await? {
                Written::Conflict(theirs) => theirs,
                written => {
                    if tries.count > 1 && matches!(written, Written::Done) {
                        events::merged();
                    }
                    return Ok(written);
                }
            };
            tries.again_in_turn(self).await?;
            if theirs.is_empty() && (plan.changes_hands || terms.login.is_some()) {
                // In the index where this request has entered it, it may be no more.
                match self.enter_anew(snapshot, ours, terms).await? {
                    Some(anew) => *plan = anew,
                    None => return Ok(Written::Gone),
                }
                plan.add_to(&mut changes);
                ttl_ms = Some(plan.ttl_ms);
            } else if theirs.is_empty() {
                // It lives as long as it is entered for where it is now.
                Details::without_owner(&mut changes.own);
                (changes.owner_text, ttl_ms) = (None, None);
            }
            let rules = &self.sessions.merge_rules;
            rules.resolve_conflicts(&mut changes, &snapshot.state, ours, theirs)?;
        }
    }

    /// Writes all of a state. A conflict is that the session says something else of its owner by now.
    async fn put(&self, state: &State, plan: &Plan) -> Result<Written, Error> {
        let has_users = self.sessions.policy.user_field.is_some();
        self.store(&Replacement {
            state,
            own: &plan.own_changes(),
            ttl_ms: Some(plan.ttl_ms),
            latest: plan.latest,
            owner_text: has_users.then_some(&plan.before.owner_text),
        })
        .await
    }

    /// After a write: takes the session out of the index that it is in no more. What was entered for a
    /// write that came to nothing stays: somebody else may have entered the same, and written it.
    pub(super) async fn settle(&self, plan: &Plan, written: &Written) {
        if let Written::Done = written {
            self.leave(plan.left()).await;
        }
    }

    /// Stores a state, whatever others have made of the session: the last write wins.
    pub(crate) async fn replace(&self, state: &State, terms: Terms<'_>) -> Result<Effect, Error> {
        let ttl_ms = whole_milliseconds(terms.ttl)?;
        self.sessions.check_size(state)?;
        if self.sessions.policy.needs_details() {
            return self.replace_known(state, terms).await;
        }
        let with = Replacement::of_state(state, Some(ttl_ms));
        let replace = async || {
            let stored = self.store(&with).await?;
            Ok(Effect::done(matches!(stored, Written::Done)))
        };
        match replace().await? {
            Effect::Gone if self.copy_key().is_some() => {
                match self.begin_adopted(state, Source::AnyCopy, terms).await? {
                    Begun::Done => Ok(Effect::Done),
                    // Another request has adopted it meanwhile.
                    Begun::Taken | Begun::Before => replace().await,
                    Begun::Ended | Begun::Changed => Ok(Effect::Gone),
                }
            }
            effect => Ok(effect),
        }
    }

    /// What is noted of a session has to be known before it is replaced.
    async fn replace_known(&self, state: &State, terms: Terms<'_>) -> Result<Effect, Error> {
        let mut tries = Tries::first();
        loop {
            let Some(snapshot) = self.read_again(false).await? else {
                return Ok(Effect::Gone);
            };
            let Some(mut plan) = self.plan(&snapshot, state, terms).await? else {
                return Ok(Effect::Gone);
            };
            if !self.adopt(Some(&snapshot), terms).await?
                || !self.enter_or_end(&snapshot, &mut plan).await?
            {
                return Ok(Effect::Gone);
            }
            let written = self.put(state, &plan).await?;
            self.settle(&plan, &written).await;
            match written {
                Written::Done => return Ok(Effect::Done),
                Written::Gone => return Ok(Effect::Gone),
                Written::Conflict(_) => tries.again(self.op)?,
            }
        }
    }

    /// Lets the session live for another TTL, if that makes a difference.
    pub(crate) async fn refresh(
        &self,
        snapshot: Option<&Snapshot>,
        terms: Terms<'_>,
    ) -> Result<Effect, Error> {
        let found;
        let snapshot = match snapshot {
            None if self.sessions.policy.needs_details() => {
                found = self.read_again(true).await?;
                match &found {
                    Some(snapshot) => Some(snapshot),
                    None => return Ok(Effect::Gone),
                }
            }
            snapshot => snapshot,
        };
        match snapshot {
            Some(snapshot) => self.update(snapshot, &snapshot.state, terms).await,
            None => {
                let ttl_ms = whole_milliseconds(terms.ttl)?;
                self.prolong(None, terms, ttl_ms).await
            }
        }
    }

    async fn prolong(
        &self,
        snapshot: Option<&Snapshot>,
        terms: Terms<'_>,
        ttl_ms: i64,
    ) -> Result<Effect, Error> {
        self.sessions.refreshes.store(true, Relaxed);
        if snapshot.is_some_and(|snapshot| snapshot.is_fresh(ttl_ms)) {
            return Ok(Effect::Fresh);
        }
        if !self.adopt(snapshot, terms).await? {
            return Ok(Effect::Gone);
        }
        match self.set_ttl(ttl_ms).await? {
            // Only prolonged there, it would never become one of ours.
            (false, Some(true)) => match or_if_unreadable(self.read_copy().await, None)? {
                Some(theirs) => self.adopt(Some(&theirs), terms).await.map(Effect::done),
                None => Ok(Effect::Gone),
            },
            // The built-in store has ended it.
            (true, Some(false)) => Ok(Effect::done(self.known_copy().await?.is_none())),
            (ours, _) => Ok(Effect::done(ours)),
        }
    }
}
