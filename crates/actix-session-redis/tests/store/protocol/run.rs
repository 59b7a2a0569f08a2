use std::collections::BTreeSet;

use super::plan::{AT_FIRST, COUNTERS, End, Plan};
use crate::support::{
    redis::TestRedis,
    sessions::{State, hash_of, session_key},
};

/// What has come of all requests, in the order in which they ended.
pub(super) struct Run<'a> {
    pub(super) redis: &'a TestRedis,
    pub(super) first_session: String,
    pub(super) records: Vec<Record>,
    pub(super) replies_were_lost: bool,
}

/// What came of a request.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) loaded: State,
    pub(super) left: State,
    pub(super) clears: bool,
    pub(super) end: End,
    /// When, in turns, Redis was asked for its session; first asked to write its changes, and to end
    /// its session.
    pub(super) read_at: Option<usize>,
    pub(super) wrote_at: Option<usize>,
    pub(super) ended_at: Option<usize>,
    pub(super) cookie: SessionCookie,
}

#[derive(Debug, PartialEq)]
pub(super) enum SessionCookie {
    Untouched,
    TakenAway,
    Names(String),
}

macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}

impl Run<'_> {
    /// Whatever was removed from Redis meanwhile: nothing that has ended is back, under any key, and
    /// nothing of it is in the session of somebody who came later.
    pub(super) fn check_nothing_is_back(&self) -> Result<(), String> {
        ensure!(
            self.records
                .iter()
                .all(|r| r.ended_at.is_none() || r.loaded.is_empty())
                || self.stored(&self.first_session).is_none(),
            "the session is back"
        );
        let sessions = self.redis.sessions();
        let states = sessions.iter().filter_map(|key| self.redis.state(key));
        let old = states.filter(|state| state.contains_key("anchor")).count();
        ensure!(old <= 1, "{old} sessions hold the old state");
        self.check_keys()
            .map_err(|why| format!("{why}: {:?}", self.records))
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
        let ends = visitors.iter().filter(|r| r.ended_at.is_some());
        match ends.min_by_key(|r| r.ended_at) {
            None => {
                let wrote = visitors.iter().copied().filter(|r| r.wrote_at.is_some());
                self.check_fields(&self.first_session, &wrote.collect::<Vec<_>>())?;
            }
            Some(first_end) => {
                ensure!(
                    self.stored(&self.first_session).is_none(),
                    "the session is back"
                );
                let before = |r: &&Record| {
                    r.end != End::Renew && r.wrote_at.is_some() && r.wrote_at < first_end.ended_at
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
        let first_end = self.records.iter().filter_map(|r| r.ended_at).min();
        first_end.is_none_or(|first_end| record.read_at < Some(first_end))
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
        let losers = self.of(|r| self.has_loaded_first(r) && r.ended_at > first_end.ended_at);
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
                    stored.as_ref() == Some(&newcomer.left),
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
            End::Renew => r.ended_at,
            _ => r.wrote_at,
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
                let (stored, expected) = (number(&stored, counter), number(&expected, counter));
                ensure!(stored == expected, "{counter} is {stored}, not {expected}");
            }
        } else {
            ensure!(stored == expected, "{stored:?} is stored, not {expected:?}");
        }
        Ok(())
    }

    /// Every Redis key expires, and there is none but the documented ones.
    fn check_keys(&self) -> Result<(), String> {
        let first = session_key(&self.first_session);
        let mut expected: Vec<_> = self.records.iter().filter_map(Record::names).collect();
        expected.push(hash_of(&first));
        expected.push(format!("session:late:{{{}}}", hash_of(&first)));
        for key in self.redis.keys() {
            let pttl = self.redis.pttl(&key);
            ensure!(pttl > 0, "{key} has {pttl} ms left");
            let is_documented = expected.contains(&key) || key.starts_with("session:ended:{");
            ensure!(is_documented, "{key} is an orphan");
        }
        Ok(())
    }

    fn stored(&self, session_key: &str) -> Option<State> {
        self.redis.state(&hash_of(&self::session_key(session_key)))
    }
}

fn number(state: &State, field: &str) -> i64 {
    state.get(field).map_or(0, |value| value.parse().unwrap())
}

impl Record {
    pub(super) fn of(plan: &Plan, loaded: State, left: State, cookie: SessionCookie) -> Self {
        Self {
            // To remove all that was loaded is to clear it; to set all of it anew is not.
            // (`modify` may come before what it has not seen.)
            clears: plan.end != End::Modify
                && loaded.keys().all(|field| plan.removes(field))
                && loaded.keys().any(|field| !left.contains_key(field)),
            loaded,
            left,
            end: plan.end,
            read_at: None,
            wrote_at: None,
            ended_at: None,
            cookie,
        }
    }

    /// What it has changed.
    fn write(&self, state: &mut State) {
        if self.clears {
            *state = self.left.clone();
            return;
        }
        let fields = self.loaded.keys().chain(self.left.keys());
        for field in fields.collect::<BTreeSet<_>>() {
            match (self.loaded.get(field), self.left.get(field)) {
                (before, after) if before == after => {}
                (_, None) => drop(state.remove(field)),
                (_, Some(_)) if COUNTERS.contains(&&**field) => {
                    let difference = number(&self.left, field) - number(&self.loaded, field);
                    let sum = number(state, field) + difference;
                    state.insert(field.to_owned(), sum.to_string());
                }
                (_, Some(after)) => drop(state.insert(field.to_owned(), after.clone())),
            }
        }
    }

    /// The Redis key of the session that the cookie names.
    fn names(&self) -> Option<String> {
        match &self.cookie {
            SessionCookie::Names(key) => Some(hash_of(&session_key(key))),
            _ => None,
        }
    }
}
