//! How a session is changed from outside of its requests.

use actix_web::cookie::time;

use super::{
    changes::Changes,
    layout::asked::{Replacement, Written},
    policy::Terms,
    record::Record,
    snapshot::Snapshot,
    state::State,
    turns::Tries,
};
use crate::error::Error;

impl Record<'_> {
    /// One change of the session from outside of its requests: `change` is called again with what is
    /// there, until nothing of that has changed meanwhile. `None` if there is no such session.
    pub(crate) async fn modify<T>(
        &self,
        mut change: impl FnMut(&mut State) -> T,
    ) -> Result<Option<T>, Error> {
        let mut tries = Tries::first();
        loop {
            let Some(snapshot) = self.read(false).await? else {
                return Ok(None);
            };
            let mut ours = snapshot.state.clone();
            let output = change(&mut ours);
            let changes = self.sessions.merge_rules.changes(&snapshot.state, &ours);
            if changes.is_empty() {
                return Ok(Some(output));
            }
            self.sessions.check_size(&ours)?;
            let written = match self.sessions.keyspace.is_written_whole() {
                true => self.store(&Replacement::of_state(&ours, None)).await?,
                false => self.modify_to(&snapshot, &ours).await?,
            };
            match written {
                Written::Done => return Ok(Some(output)),
                Written::Gone => return Ok(None),
                Written::Conflict(_) => tries.again_in_turn(self).await?,
            }
        }
    }

    /// Its TTL stays.
    async fn modify_to(&self, snapshot: &Snapshot, ours: &State) -> Result<Written, Error> {
        let mut changes = Changes::exactly(&snapshot.state, ours);
        let ttl_left_ms = match snapshot.ttl_left_ms() {
            None if self.sessions.policy.needs_details() => self.ttl_left_ms().await?,
            known => known.unwrap_or_default(),
        };
        // Others may give it the TTL anew that it had.
        let ttl_ms = ttl_left_ms.max(snapshot.details.ttl_ms.unwrap_or(1));
        let ttl = time::Duration::milliseconds(ttl_ms);
        let terms = Terms::only(&ttl);
        if !self.adopt(Some(snapshot), terms).await? {
            return Ok(Written::Gone);
        }
        let Some(mut plan) = self.plan(snapshot, ours, terms).await? else {
            return Ok(Written::Gone);
        };
        plan.keep_ttl();
        if !self.enter_or_end(snapshot, &mut plan).await? {
            return Ok(Written::Gone);
        }
        changes.expect(&snapshot.stored, &snapshot.state);
        plan.add_to(&mut changes);
        if plan.enters.is_some() {
            // Others may let it live for longer meanwhile than it was entered for.
            changes.ttl_at_most = Some(plan.ttl_ms.saturating_mul(2));
        }
        let written = self.store_changes(&changes, None).await?;
        self.settle(&plan, &written).await;
        Ok(written)
    }
}
