use super::plan::{COUNTERS, End, FIELDS};
use crate::support::{
    redis::TestRedis,
    sessions::{State, marker_of, session_key, state_of},
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
    pub(super) end: End,
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
    pub(super) fn check(&self) -> Result<(), String> {
        self.check_invariants()
            .map_err(|why| format!("{why}: {:?}", self.records))
    }

    fn check_invariants(&self) -> Result<(), String> {
        let newcomers: Vec<_> = self
            .records
            .iter()
            .filter(|r| !r.has_loaded_first())
            .collect();
        let visitors: Vec<_> = self
            .records
            .iter()
            .filter(|r| r.has_loaded_first())
            .collect();
        let enders: Vec<_> = visitors.iter().filter(|r| r.end != End::Answer).collect();

        if enders.is_empty() {
            ensure!(newcomers.is_empty(), "a session ended by itself");
            let stored = self.stored(&self.first_session);
            let Some(stored) = stored else {
                return Err("the session is gone".to_owned());
            };
            for field in FIELDS {
                self.check_field(field, stored.get(field), &visitors)?;
            }
        } else {
            ensure!(
                self.stored(&self.first_session).is_none(),
                "the session is back"
            );
            let winners: Vec<_> = enders
                .iter()
                .filter(|r| r.cookie != SessionCookie::Untouched)
                .collect();
            ensure!(
                winners.len() == 1,
                "{} have ended the session",
                winners.len()
            );
            match (winners[0].end, &winners[0].cookie) {
                (End::Purge, SessionCookie::TakenAway) => {}
                (End::Renew, SessionCookie::Names(successor)) => {
                    self.check_renewed(winners[0], successor, &visitors)?;
                }
                (end, cookie) => return Err(format!("{end:?} gave {cookie:?}")),
            }
        }
        for newcomer in newcomers {
            let stored = match &newcomer.cookie {
                SessionCookie::Names(own) => self.stored(own),
                _ => Some(State::new()),
            };
            ensure!(
                stored.as_ref() == Some(&newcomer.left),
                "a newcomer lost his session"
            );
        }
        self.check_keys(!enders.is_empty())
    }

    /// The new session holds what the request that renewed it made of it, and what had been
    /// answered before.
    fn check_renewed(
        &self,
        renewal: &Record,
        successor: &str,
        visitors: &[&Record],
    ) -> Result<(), String> {
        ensure!(
            *successor != self.first_session,
            "the session key is the same"
        );
        let stored = self.stored(successor).ok_or("the new session is missing")?;
        let stays = SessionCookie::Names(self.first_session.clone());
        let mut in_time: Vec<_> = visitors
            .iter()
            .copied()
            .filter(|r| r.cookie == stays)
            .collect();
        in_time.push(renewal);
        FIELDS
            .into_iter()
            .try_for_each(|field| self.check_field(field, stored.get(field), &in_time))
    }

    /// A plain model: one change after the other.
    fn check_field(
        &self,
        field: &str,
        stored: Option<&String>,
        requests: &[&Record],
    ) -> Result<(), String> {
        let changes: Vec<_> = requests
            .iter()
            .map(|request| (request.loaded.get(field), request.left.get(field)))
            .filter(|(loaded, left)| loaded != left)
            .collect();
        if COUNTERS.contains(&field) {
            let number = |value: Option<&String>| value.map_or(0, |n| n.parse::<i64>().unwrap());
            let at_first = if field == "n" { 100 } else { 0 };
            let sum = changes
                .iter()
                .map(|&(loaded, left)| number(left) - number(loaded));
            let expected = at_first + sum.sum::<i64>();
            ensure!(
                number(stored) == expected,
                "{field} is {stored:?}, not {expected}"
            );
        } else if changes.len() < 2 || !self.replies_were_lost {
            // Which of several was the later one is not known if a reply was lost.
            let at_first = "0".to_owned();
            let expected = changes.last().map_or(Some(&at_first), |&(_, left)| left);
            ensure!(
                stored == expected,
                "{field} is {stored:?}, not {expected:?}"
            );
        }
        Ok(())
    }

    /// Every session key expires, and there is no Redis key but the documented ones.
    fn check_keys(&self, has_ended: bool) -> Result<(), String> {
        let first = session_key(&self.first_session);
        let mut expected: Vec<_> = self.records.iter().filter_map(Record::names).collect();
        expected.push(if has_ended {
            marker_of(&first)
        } else {
            state_of(&first)
        });
        if has_ended {
            expected.retain(|key| *key != state_of(&first));
        }
        let receipt = format!("session:written:{{{}}}:", state_of(&first));
        for key in self.redis.keys() {
            let pttl = self.redis.pttl(&key);
            ensure!(pttl > 0, "{key} has {pttl} ms left");
            let is_documented = expected.contains(&key) || key.starts_with(&receipt);
            ensure!(is_documented, "{key} is an orphan");
        }
        Ok(())
    }

    fn stored(&self, session_key: &str) -> Option<State> {
        let body = self.redis.value(&format!("session:{session_key}"))?;
        Some(serde_json::from_slice(&body).unwrap())
    }
}

impl Record {
    fn has_loaded_first(&self) -> bool {
        self.loaded.contains_key("anchor")
    }

    /// The Redis key of the session that the cookie names.
    fn names(&self) -> Option<String> {
        match &self.cookie {
            SessionCookie::Names(key) => Some(format!("session:{key}")),
            _ => None,
        }
    }
}
