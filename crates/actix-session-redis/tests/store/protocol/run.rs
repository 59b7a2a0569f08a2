use std::{collections::BTreeMap, ptr, time::Duration};

use super::{
    plan::{End, Event, LAST_STATE, TOMBSTONE},
    record::Record,
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
    /// Those that have happened before all had ended, and in which turn.
    pub(super) events: Vec<(usize, Event)>,
    pub(super) replies_were_lost: bool,
    /// Whether a write that comes too late leaves fields of no session, until its writer has removed
    /// them.
    pub(super) writes_are_transactions: bool,
}

impl Run {
    pub(super) fn check(&self) -> Result<(), String> {
        self.check_first_session()
            .and_then(|()| self.check_other_sessions())
            .and_then(|()| self.check_logouts())
            .and_then(|()| self.check_keys())
            .map_err(|why| format!("{why}: {:?}, {:?}", self.records, self.events))
    }

    pub(super) fn of(&self, is_one: impl Fn(&Record) -> bool) -> Vec<&Record> {
        self.records.iter().filter(|r| is_one(r)).collect()
    }

    /// It holds what all have made of it until it was gone, and then it stays gone.
    fn check_first_session(&self) -> Result<(), String> {
        let stored = self.stored(&self.first_session);
        let Some(gone_at) = self.gone_at() else {
            let stored = stored.ok_or("the session is gone")?;
            let wrote = self.of(|r| r.end != End::Renew && r.wrote_at().is_some());
            return self.check_fields(stored, &wrote);
        };
        ensure!(stored.is_none(), "the session is back");
        let Some(renewal) = self.renewal() else {
            return Ok(());
        };
        let is_in_time = |at| at < gone_at;
        let mut requests = self.of(|r| r.end != End::Renew && r.wrote_at().is_some_and(is_in_time));
        requests.push(renewal);
        self.check_renewed(renewal, &requests)
    }

    /// When the first session was gone, for whatever reason.
    fn gone_at(&self) -> Option<usize> {
        let ended = self.records.iter().filter_map(|r| r.times.ended_at);
        let removed = self.when(Event::removes_the_first_session);
        ended.chain(removed).min()
    }

    /// The request for which the first session has ended, if that was to renew it.
    fn renewal(&self) -> Option<&Record> {
        let gone_at = self.gone_at()?;
        let mut renewals = self.records.iter().filter(|r| r.end == End::Renew);
        renewals.find(|r| r.times.ended_at == Some(gone_at))
    }

    fn when(&self, happens: fn(Event) -> bool) -> impl Iterator<Item = usize> {
        let events = self.events.iter();
        events
            .filter(move |(_, event)| happens(*event))
            .map(|(at, _)| *at)
    }

    /// The new session holds what the request that renewed it made of it, and what had been written
    /// before: unless it was ended or removed, too.
    fn check_renewed(&self, renewal: &Record, requests: &[&Record]) -> Result<(), String> {
        let SessionCookie::Names(key) = &renewal.cookie else {
            return self.check_loss(renewal);
        };
        ensure!(*key != self.first_session, "the session key is the same");
        let Some(stored) = self.stored(key) else {
            return self.check_loss(renewal);
        };
        let ended_at = renewal.times.ended_at.unwrap_or_default();
        let mut purges = self.purges_after(ended_at);
        ensure!(
            !purges.any(|r| self.is_known(renewal, r.times.done_at)),
            "the logout has missed it"
        );
        ensure!(
            !self.removals().any(|at| at > ended_at),
            "what was removed is back"
        );
        if self.is_forgotten(renewal) {
            ensure!(*stored == renewal.own(), "{stored:?} is not its own");
            return Ok(());
        }
        self.check_fields(stored, requests)
    }

    /// Of both sessions, the first one and the new one.
    fn check_loss(&self, renewal: &Record) -> Result<(), String> {
        let mut purges = self.purges_until_after(renewal.times.ended_at.unwrap_or_default());
        let is_ended = purges.next().is_some() || self.removals().next().is_some();
        ensure!(
            is_ended || self.is_forgotten(renewal),
            "a renewal has lost both sessions"
        );
        Ok(())
    }

    /// Whether Redis has lost what it would tell somebody who has renewed the session, and asks again
    /// since a reply was lost.
    fn is_forgotten(&self, renewal: &Record) -> bool {
        let told_at = renewal.times.told_at.unwrap_or(usize::MAX);
        match renewal.clears {
            true => !self.is_known(renewal, told_at),
            false => !self.has_last_state(renewal, told_at),
        }
    }

    /// Until that turn, Redis knows of a session that it was renewed.
    fn is_known(&self, renewal: &Record, until: usize) -> bool {
        self.is_kept(renewal, until, Event::TombstoneEvicted, TOMBSTONE)
            || self.has_last_state(renewal, until)
    }

    fn has_last_state(&self, renewal: &Record, until: usize) -> bool {
        !renewal.clears && self.is_kept(renewal, until, Event::LastStateEvicted, LAST_STATE)
    }

    fn is_kept(&self, renewal: &Record, until: usize, evicted: Event, ttl: Duration) -> bool {
        let ended_at = renewal.times.ended_at.unwrap_or_default();
        let events = self.events.iter();
        let between = events.filter(|(at, _)| (ended_at..until).contains(at));
        let between: Vec<_> = between.map(|(_, event)| *event).collect();
        let passed: Duration = between.iter().map(|event| event.time()).sum();
        !between.contains(&evicted) && passed < ttl
    }

    fn purges_after(&self, ended_at: usize) -> impl Iterator<Item = &Record> {
        let records = self.records.iter();
        records.filter(move |r| r.end == End::Purge && r.times.ended_at > Some(ended_at))
    }

    /// Also those that have asked again after that, because a reply was lost.
    fn purges_until_after(&self, ended_at: usize) -> impl Iterator<Item = &Record> {
        let purges = self.of(|r| r.end == End::Purge).into_iter();
        purges.filter(move |r| r.times.ended_at.max(r.times.told_at) > Some(ended_at))
    }

    /// In which turns all sessions but the first one were removed.
    fn removals(&self) -> impl Iterator<Item = usize> {
        self.when(Event::removes_other_sessions)
    }

    /// Every other session is that of one request, and holds what that has written itself.
    fn check_other_sessions(&self) -> Result<(), String> {
        let renewal = self.renewal();
        let is_it = |r: &Record| renewal.is_some_and(|renewal| ptr::eq(renewal, r));
        for request in self.of(|r| !is_it(r)) {
            let is_new = self.is_newcomer(request);
            let (may_begin, must_begin) = match request.end {
                End::Save => (true, true),
                End::Renew => (is_new || !self.events.is_empty(), is_new),
                // When some time has passed, it is not late any more.
                End::Answer | End::HangUp => (is_new && !self.events.is_empty(), false),
                End::Modify | End::Purge | End::UpdateTtl => (false, false),
            };
            match &request.cookie {
                SessionCookie::Names(key) if may_begin => self.check_own(request, key)?,
                SessionCookie::TakenAway if request.end == End::Purge => {}
                SessionCookie::Untouched if !must_begin || request.own().is_empty() => {}
                cookie => return Err(format!("{:?} gave {cookie:?}", request.end)),
            }
        }
        Ok(())
    }

    fn check_own(&self, request: &Record, key: &str) -> Result<(), String> {
        let times = &request.times;
        if let Some(stored) = self.stored(key) {
            ensure!(*stored == request.own(), "{stored:?} is not its own");
            let is_back = self.removals().any(|at| at > times.done_at);
            ensure!(!is_back, "what was removed is back");
            return Ok(());
        }
        let is_removed = self.removals().any(|at| times.read_at < Some(at));
        let mut purges = times
            .ended_at
            .into_iter()
            .flat_map(|at| self.purges_until_after(at));
        ensure!(
            is_removed || purges.next().is_some(),
            "a newcomer lost his session"
        );
        Ok(())
    }

    /// Whether there was no session any more when it was loaded.
    fn is_newcomer(&self, request: &Record) -> bool {
        let gone_at = self.gone_at();
        gone_at.is_some() && request.times.read_at > gone_at
    }

    /// One of them takes the cookie away, unless what they are to end is gone for another reason.
    fn check_logouts(&self) -> Result<(), String> {
        if !self.events.is_empty() {
            return Ok(());
        }
        let purges = self.of(|r| r.end == End::Purge);
        let is_told = |r: &&Record| r.cookie == SessionCookie::TakenAway;
        let told = purges.iter().copied().filter(is_told).count();
        ensure!(
            told == purges.len().min(1),
            "{told} of {} logouts have ended the session",
            purges.len()
        );
        let first_end = purges.iter().find(|r| r.times.ended_at == self.gone_at());
        ensure!(
            first_end.is_none_or(is_told),
            "the logout that has ended the session was not told"
        );
        Ok(())
    }

    fn stored(&self, session_key: &str) -> Option<&State> {
        let entry = self
            .entries
            .get(&hash_of(&self::session_key(session_key)))?;
        entry.state.as_ref()
    }
}
