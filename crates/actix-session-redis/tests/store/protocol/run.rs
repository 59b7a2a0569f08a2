use std::collections::BTreeMap;

use super::{
    plan::{AT_FIRST, COUNTERS, End, Event},
    record::{Record, number},
};
use crate::support::{
    app::SessionCookie,
    servers::Entry,
    sessions::{State, hash_of, session_key},
};

/// What has come of all requests, in the order in which they ended.
pub(super) struct Run {
    /// What Redis holds afterwards.
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) first_session: String,
    pub(super) records: Vec<Record>,
    /// Those that have happened before all had ended.
    pub(super) events: Vec<Event>,
    pub(super) replies_were_lost: bool,
    /// Whether a write that comes too late leaves fields of no session, until its writer has removed
    /// them.
    pub(super) writes_are_transactions: bool,
}

macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}

impl Run {
    /// Whatever was removed from Redis meanwhile: nothing that has ended is back, under any key, and
    /// nothing of it is in the session of somebody who came later.
    pub(super) fn check_nothing_is_back(&self) -> Result<(), String> {
        self.check_old_state()
            .and_then(|()| self.check_keys())
            .map_err(|why| format!("{why}: {:?}", self.records))
    }

    /// It is in one session, whichever that is, unless somebody has removed it.
    fn check_old_state(&self) -> Result<(), String> {
        ensure!(
            self.records
                .iter()
                .all(|r| r.times.ended_at.is_none() || r.loaded.is_empty())
                || self.stored(&self.first_session).is_none(),
            "the session is back"
        );
        let states = self.entries.values().filter_map(|it| it.state.as_ref());
        let old = states.filter(|state| state.contains_key("anchor")).count();
        ensure!(old <= 1, "{old} sessions hold the old state");
        let removes_it = |r: &Record| r.end == End::Purge || r.may_clear;
        let is_removed =
            self.events.contains(&Event::SessionRemoved) || self.records.iter().any(removes_it);
        ensure!(old == 1 || is_removed, "a renewal has lost both sessions");
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.check_invariants()
            .map_err(|why| format!("{why}: {:?}", self.records))
    }

    fn check_invariants(&self) -> Result<(), String> {
        let visitors = self.of(|r| self.has_loaded_first(r));
        let purges = self.of(|r| r.end == End::Purge).len();
        let taken_away = self.of(|r| r.cookie == SessionCookie::TakenAway).len();
        ensure!(
            taken_away == purges.min(1),
            "{taken_away} of {purges} logouts have ended the session"
        );
        let ends = visitors.iter().filter(|r| r.times.ended_at.is_some());
        match ends.min_by_key(|r| r.times.ended_at) {
            None => {
                let wrote = visitors
                    .iter()
                    .copied()
                    .filter(|r| r.times.wrote_at.is_some());
                self.check_fields(&self.first_session, &wrote.collect::<Vec<_>>())?;
            }
            Some(first_end) => {
                ensure!(
                    self.stored(&self.first_session).is_none(),
                    "the session is back"
                );
                let before = |r: &&Record| {
                    r.end != End::Renew
                        && r.times.wrote_at.is_some()
                        && r.times.wrote_at < first_end.times.ended_at
                };
                let mut in_time: Vec<_> = visitors.iter().copied().filter(before).collect();
                in_time.push(first_end);
                self.check_successor(first_end, purges > 0, &in_time)?;
            }
        }
        for newcomer in self.of(|r| !self.has_loaded_first(r)) {
            self.check_newcomer(newcomer)?;
        }
        self.check_keys()
    }

    fn has_loaded_first(&self, record: &Record) -> bool {
        let first_end = self.records.iter().filter_map(|r| r.times.ended_at).min();
        first_end.is_none_or(|first_end| record.times.read_at < Some(first_end))
    }

    fn of(&self, is_one: impl Fn(&Record) -> bool) -> Vec<&Record> {
        self.records.iter().filter(|r| is_one(r)).collect()
    }

    /// The new session holds what the request that renewed it made of it, and what had been
    /// written before.
    fn check_successor(
        &self,
        first_end: &Record,
        is_purged: bool,
        in_time: &[&Record],
    ) -> Result<(), String> {
        let losers =
            self.of(|r| self.has_loaded_first(r) && r.times.ended_at > first_end.times.ended_at);
        for loser in losers.iter().filter(|r| r.end == End::Renew) {
            ensure!(
                loser.cookie == SessionCookie::Untouched,
                "two have renewed the session"
            );
        }
        match (first_end.end, &first_end.cookie) {
            (End::Purge, SessionCookie::TakenAway) => Ok(()),
            (End::Renew, SessionCookie::Untouched) if is_purged => Ok(()),
            (End::Renew, SessionCookie::Names(successor)) => {
                ensure!(
                    *successor != self.first_session,
                    "the session key is the same"
                );
                if is_purged {
                    ensure!(self.stored(successor).is_none(), "the logout has missed it");
                    return Ok(());
                }
                self.check_fields(successor, in_time)
            }
            (end, cookie) => Err(format!("{end:?} gave {cookie:?}")),
        }
    }

    /// Who has come too late is answered as anonymous, and may log in.
    fn check_newcomer(&self, newcomer: &Record) -> Result<(), String> {
        match (newcomer.end, &newcomer.cookie) {
            (End::Purge, _) => Ok(()),
            (end, SessionCookie::Untouched) if end != End::Renew || newcomer.left.is_empty() => {
                Ok(())
            }
            (End::Renew, SessionCookie::Names(own)) => {
                let stored = self.stored(own);
                ensure!(
                    stored == Some(&newcomer.left),
                    "a newcomer lost his session"
                );
                Ok(())
            }
            (end, cookie) => Err(format!("{end:?} of a newcomer gave {cookie:?}")),
        }
    }

    /// A plain model: one change after the other.
    fn check_fields(&self, session_key: &str, requests: &[&Record]) -> Result<(), String> {
        let stored = self.stored(session_key).ok_or("the session is gone")?;
        let mut requests = requests.to_vec();
        requests.sort_by_key(|r| match r.end {
            End::Renew => r.times.ended_at,
            _ => r.times.wrote_at,
        });
        let at_first = AT_FIRST.map(|(field, value)| (field.to_owned(), value.to_owned()));
        let mut expected = State::from(at_first);
        for request in &requests {
            request.write(&mut expected);
        }
        if self.replies_were_lost && requests.iter().any(|r| r.clears) {
            return Ok(());
        }
        if self.replies_were_lost {
            // Which of several was the later one is not known then. Counters are not concerned.
            for counter in COUNTERS {
                let (stored, expected) = (number(stored, counter), number(&expected, counter));
                ensure!(stored == expected, "{counter} is {stored}, not {expected}");
            }
        } else {
            ensure!(
                *stored == expected,
                "{stored:?} is stored, not {expected:?}"
            );
        }
        Ok(())
    }

    /// Every Redis key expires, and there is none but the documented ones. What is in the place of a
    /// session is one, unless its writer has hung up before he could remove it.
    fn check_keys(&self) -> Result<(), String> {
        let first = session_key(&self.first_session);
        let mut expected: Vec<_> = self.records.iter().filter_map(Record::names).collect();
        expected.push(hash_of(&first));
        expected.push(format!("session:late:{{{}}}", hash_of(&first)));
        let hang_ups = self.of(|r| r.end == End::HangUp);
        let may_be_left = self.writes_are_transactions && !hang_ups.is_empty();
        for (key, Entry { pttl, state }) in &self.entries {
            ensure!(*pttl > 0, "{key} has {pttl} ms left");
            let is_documented = expected.contains(key) || key.starts_with("session:ended:{");
            ensure!(is_documented, "{key} is an orphan");
            let is_beside_a_session = key.contains('{');
            ensure!(
                is_beside_a_session || state.is_some() || may_be_left,
                "{key} holds fields of no session"
            );
        }
        Ok(())
    }

    fn stored(&self, session_key: &str) -> Option<&State> {
        let entry = self
            .entries
            .get(&hash_of(&self::session_key(session_key)))?;
        entry.state.as_ref()
    }
}
