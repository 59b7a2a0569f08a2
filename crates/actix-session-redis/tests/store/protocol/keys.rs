use std::time::Duration;

use super::{
    plan::{End, LAST_STATE, SESSION, TOMBSTONE},
    record::Record,
    run::Run,
};
use crate::support::{
    servers::Entry,
    sessions::{hash_of, last_state_of, session_key, tombstone_of},
};

impl Run {
    /// Every Redis key expires in time, and there is none but the documented ones: of each session three
    /// at most. What is in the place of a session is one, unless its writer has hung up before he could
    /// remove it.
    pub(super) fn check_keys(&self) -> Result<(), String> {
        let hang_ups = self.of(|r| r.end == End::HangUp);
        let may_be_left = self.writes_are_transactions && !hang_ups.is_empty();
        let documented = self.documented_keys();
        for (key, Entry { pttl, state }) in &self.entries {
            let longest = documented.iter().find(|(it, _)| it == key);
            let Some((_, longest)) = longest else {
                return Err(format!("{key} is an orphan"));
            };
            let expires = u64::try_from(*pttl).map(Duration::from_millis);
            let expires_in_time = expires.is_ok_and(|pttl| !pttl.is_zero() && pttl <= *longest);
            ensure!(expires_in_time, "{key} has {pttl} ms left");
            let is_beside_a_session = key.contains('{');
            ensure!(
                is_beside_a_session || state.is_some() || may_be_left,
                "{key} holds fields of no session"
            );
        }
        Ok(())
    }

    /// Each with the longest TTL that it may have.
    fn documented_keys(&self) -> Vec<(String, Duration)> {
        let first = session_key(&self.first_session);
        let mut keys = vec![
            (hash_of(&first), SESSION),
            (tombstone_of(&first), TOMBSTONE),
            (last_state_of(&first), LAST_STATE),
        ];
        let others = self.records.iter().filter_map(Record::names);
        keys.extend(others.map(|session| (session, SESSION)));
        // A logout that comes to know of a renewed session ends it, whether or not a cookie names it.
        if self.records.iter().any(|r| r.end == End::Purge) {
            let renewed = self.of(|r| r.end == End::Renew && r.times.ended_at.is_some());
            let renewed = renewed.iter().filter_map(|r| r.times.begun.as_ref());
            let tombstone = |session| format!("session:ended:{{{session}}}");
            keys.extend(renewed.map(|session| (tombstone(session), TOMBSTONE)));
        }
        keys
    }
}
