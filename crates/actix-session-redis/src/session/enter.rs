//! A session is entered into the index of its user before it becomes theirs; and if they have too many
//! then, the oldest end.

use super::{
    Sessions,
    details::Details,
    entry::Entries,
    index::{Entered, Enters},
    plan::{Of, Plan},
    policy::Terms,
    record::Record,
    session_id::SessionId,
    snapshot::Snapshot,
    state::State,
    user::User,
};
use crate::{client::Operation, error::Error};

impl Record<'_> {
    /// Enters the session into the index, if it has to be. `false` if all sessions of the user were
    /// ended meanwhile, this one among them.
    pub(super) async fn enter(
        &self,
        from: Option<&SessionId>,
        plan: &mut Plan,
    ) -> Result<bool, Error> {
        let Some(enters) = &plan.enters else {
            return Ok(true);
        };
        let (sessions, op) = (self.sessions, self.op);
        let index = sessions.index(op, &enters.user);
        let mut gone = Vec::new();
        let owner = loop {
            match index
                .enter(&self.names.id, from, plan.ttl_ms, enters, &gone)
                .await?
            {
                Entered::Done(owner) => break owner,
                Entered::TooMany(owner, entries) => {
                    sessions.make_room(op, from, enters, entries).await?;
                    break owner;
                }
                Entered::Refused(entries) => {
                    let known = gone;
                    gone = sessions.gone_among(op, &enters.user, &entries).await?;
                    let is_no_other = gone.iter().all(|gone| known.contains(gone));
                    if let (true, Some(limit)) = (is_no_other, enters.limit) {
                        return Err(Error::SessionLimit {
                            limit: limit.sessions,
                        });
                    }
                }
                Entered::Overtaken if enters.is_login => return Err(Error::Overtaken),
                Entered::Overtaken => return Ok(false),
            }
        };
        plan.enter_as(owner);
        Ok(true)
    }

    /// `false` if all sessions of the user were ended, and this one is one of them.
    pub(super) async fn enter_or_end(
        &self,
        snapshot: &Snapshot,
        plan: &mut Plan,
    ) -> Result<bool, Error> {
        let is_entered = self.enter(None, plan).await?;
        if !is_entered {
            self.end(Some(snapshot)).await?;
        }
        Ok(is_entered)
    }

    /// What is noted of the session has changed since the snapshot. `None` if it is gone, or ends.
    pub(super) async fn enter_anew(
        &self,
        snapshot: &Snapshot,
        ours: &State,
        terms: Terms<'_>,
    ) -> Result<Option<Plan>, Error> {
        let Some(now) = self.read_again(false).await? else {
            return Ok(None);
        };
        let policy = &self.sessions.policy;
        let [before, now_theirs, ours_theirs] =
            [&snapshot.state, &now.state, ours].map(|state| policy.user(state));
        // A login is completed that leaves the session whose it was; and it is somebody else's by now.
        if terms.login.is_some() && before == ours_theirs && now_theirs != ours_theirs {
            return Err(Error::Overtaken);
        }
        let plan = self
            .plan_from(&snapshot.state, &now.details, ours, terms)
            .await?;
        let Some(mut plan) = plan else {
            return Ok(None);
        };
        let is_entered = self.enter_or_end(&now, &mut plan).await?;
        Ok(is_entered.then_some(plan))
    }

    /// What becomes of its details; `None` if it has come to its end.
    pub(super) async fn plan(
        &self,
        snapshot: &Snapshot,
        ours: &State,
        terms: Terms<'_>,
    ) -> Result<Option<Plan>, Error> {
        self.plan_from(&snapshot.state, &snapshot.details, ours, terms)
            .await
    }

    async fn plan_from(
        &self,
        base: &State,
        details: &Details,
        ours: &State,
        terms: Terms<'_>,
    ) -> Result<Option<Plan>, Error> {
        let user = self.sessions.policy.user(base);
        let plan = self
            .sessions
            .plan(self.op, Of::Known(details), user.as_ref(), ours, terms)?;
        if plan.is_none() {
            self.expire(details.owner.as_ref()).await?;
        }
        Ok(plan)
    }
}

impl Sessions {
    /// That a login is void since the application is wrong is told to its operators.
    pub(super) fn plan(
        &self,
        op: &Operation<'_>,
        of: Of<'_>,
        base: Option<&User>,
        state: &State,
        terms: Terms<'_>,
    ) -> Result<Option<Plan>, Error> {
        let policy = &self.policy;
        let plan = Plan::new(policy, of, base, state, terms);
        if let (Err(Error::Overtaken), Some(login), Some(field)) =
            (&plan, terms.login, &policy.user_field)
            && let Some(mistake) = policy.mistake(login, state)
        {
            op.observation.log.login_is_mistaken(field, mistake);
        }
        plan
    }

    /// Ends the oldest.
    async fn make_room(
        &self,
        op: &Operation<'_>,
        from: Option<&SessionId>,
        enters: &Enters,
        mut entries: Entries,
    ) -> Result<(), Error> {
        let Enters { user, limit, .. } = enters;
        let limit = limit.map_or(usize::MAX, |limit| limit.sessions);
        let index = self.index(op, user);
        loop {
            entries.all.retain(|entry| Some(&entry.id) != from);
            if entries.all.len() <= limit {
                return Ok(());
            }
            let gone = self.gone_among(op, user, &entries).await?;
            if gone.is_empty() {
                break;
            }
            index.leave(&gone).await?;
            // One that was renewed was entered under its new name before it was gone.
            entries = index.counted().await?;
        }
        let too_many = entries.all.len().saturating_sub(limit);
        entries.all.truncate(too_many);
        self.end_entries(op, user, &entries, &[]).await.map(drop)
    }
}
