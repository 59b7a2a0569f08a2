//! How a session goes on under a new key.

use std::time::Duration;

use actix_session::storage::SessionKey;

use super::{
    begin::Created,
    merge_rules::MergeRules,
    policy::Terms,
    record::Record,
    session_key::draw_token,
    snapshot::Snapshot,
    state::{State, was_cleared},
    tombstone::{Ended, Ending},
    write::Effect,
};
use crate::{error::Error, telemetry::events};

/// So much longer than the deadline the last state of a renewed session is kept for a retry, which
/// is late when its thread was blocked, or Redis did not get to it at once.
const RETRY_SLACK: Duration = Duration::from_secs(60);

/// What became of a session that was to begin, or to go on under a new key.
pub(crate) enum Renewal {
    Done(SessionKey),
    /// Somebody else had ended it; or it was gone, and the request has written nothing itself; or all
    /// sessions of the user were ended meanwhile.
    Undone,
    /// Redis did not say whether the old session has ended. The new one is there.
    InDoubt(SessionKey, Error),
}

impl Record<'_> {
    /// Goes on under a new key with what a request has made of the snapshot, and with what others
    /// had made of it until the session ended.
    ///
    /// The new session is there before the old one ends, and until then nobody knows of it.
    pub(crate) async fn renew(
        &self,
        snapshot: &Snapshot,
        ours: &State,
        terms: Terms<'_>,
    ) -> Result<Renewal, Error> {
        let (sessions, op, names) = (self.sessions, self.op, self.names);
        // If the built-in store has ended the old one, it is gone like any other.
        self.adopt(Some(snapshot), terms).await?;
        let created = sessions
            .begin(op, ours, terms, Some((names, snapshot)))
            .await?;
        let Some(Created { session_key, owner }) = created else {
            return Ok(Renewal::Undone);
        };
        let names = sessions.keyspace.names(&session_key);
        let new = sessions.record(op, &names);
        let lives = match self.hand_over(&new, snapshot, ours, terms).await {
            Err(error @ Error::Unavailable { .. }) => {
                return Ok(Renewal::InDoubt(session_key, error));
            }
            lives => lives,
        };
        if let Ok(true) = lives {
            self.leave(snapshot.details.owner.as_ref()).await;
            return Ok(Renewal::Done(session_key));
        }
        // Nobody will ever know its key; if it cannot be removed, it expires.
        if new.remove().await.is_ok() {
            new.leave(owner.as_ref()).await;
        }
        match (lives, terms.login) {
            (Ok(_), Some(_)) => Err(Error::Overtaken),
            (lives, _) => lives.map(|_| Renewal::Undone),
        }
    }

    /// Ends the old session, and brings along what others have made of it. `false` if the new one is not to live.
    async fn hand_over(
        &self,
        new: &Record<'_>,
        snapshot: &Snapshot,
        ours: &State,
        terms: Terms<'_>,
    ) -> Result<bool, Error> {
        let cleared = was_cleared(&snapshot.state, ours);
        let deadline = self.sessions.client.deadline;
        let ending = Ending {
            who: &draw_token(),
            successor: Some(new.names),
            keep_last_state: (!cleared).then_some(deadline + RETRY_SLACK),
            whose: None,
        };
        match self.carry_out(&ending).await? {
            Ended::ByUs(_) if cleared => Ok(true),
            Ended::ByUs(last_state) => Ok(new.bring_along(snapshot, ours, last_state, terms).await),
            // It goes on as this request knew it.
            Ended::ByUsUnread(error) => {
                events::late_changes_lost(&error);
                Ok(true)
            }
            Ended::BySomebodyElse(_) | Ended::NotTheirs => Ok(false),
        }
    }

    /// Into a renewed session goes what others have made of the old one. If that was gone, nothing
    /// of it goes: what is left is what this request has written itself, and `false` means nothing.
    async fn bring_along(
        &self,
        snapshot: &Snapshot,
        ours: &State,
        last_state: Option<State>,
        terms: Terms<'_>,
    ) -> bool {
        let base = &snapshot.state;
        let merged = match &last_state {
            Some(theirs) => self.sessions.merge_rules.merge(base, theirs, ours),
            None => MergeRules::default().merge(base, &State::new(), ours),
        };
        let brought = match merged {
            Ok(own) if last_state.is_none() && own.is_empty() => return false,
            Ok(merged) if merged == *ours => return true,
            Ok(merged) => self.put_before_it_is_known(&merged, terms).await,
            Err(error) => Err(error),
        };
        // The old session has ended: what the user has is the new one, as it is.
        let brought = brought.inspect_err(events::late_changes_lost);
        brought.unwrap_or(Effect::Done) != Effect::Gone
    }

    /// Into a session that nobody knows of yet, and into its copy.
    async fn put_before_it_is_known(
        &self,
        state: &State,
        terms: Terms<'_>,
    ) -> Result<Effect, Error> {
        self.put_into_copy(state).await?;
        self.replace(state, terms).await
    }
}
