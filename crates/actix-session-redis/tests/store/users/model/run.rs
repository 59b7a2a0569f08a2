use std::collections::{BTreeMap, BTreeSet};

use actix_session_redis::AtLimit;

use super::{
    lanes::Limit,
    plan::{AT_FIRST, USERS, User, What, Who},
    record::{Outcome, Record},
    world::World,
};

/// What has come of all requests, in the order in which they ended.
pub(super) struct Run {
    /// The ids of the first sessions.
    pub(super) at_first: BTreeMap<Who, String>,
    /// What Redis held afterwards.
    pub(super) world: World,
    /// Of whom which were listed then.
    pub(super) listed: BTreeMap<User, BTreeSet<String>>,
    /// What it held when all sessions of all users had been ended at last.
    pub(super) after_all: World,
    pub(super) records: Vec<Record>,
    pub(super) limit: Limit,
    pub(super) replies_were_lost: bool,
}

impl Run {
    pub(super) fn check(&self) -> Result<(), String> {
        self.world
            .check_index(|id| self.is_as_it_was(id))
            .and_then(|()| self.world.check_keys())
            .and_then(|()| self.check_lists())
            .and_then(|()| self.check_end_all())
            .and_then(|()| self.check_end_others())
            .and_then(|()| self.check_limit())
            .and_then(|()| self.check_deaths())
            .map_err(|why| {
                let Self {
                    at_first,
                    records,
                    world,
                    ..
                } = self;
                format!("{why}:\nat first {at_first:#?}\n{records:#?}\nafterwards {world:#?}")
            })
    }

    /// What is from before counts from its first write on.
    fn is_as_it_was(&self, id: &str) -> bool {
        let is_stored =
            |it: &Record| it.stored() == Some(id) || matches!(it.answer.outcome, Outcome::Done);
        self.at_first.get(&Who::Veteran).is_some_and(|it| it == id)
            && !self.records.iter().any(is_stored)
    }

    fn check_lists(&self) -> Result<(), String> {
        for user in USERS {
            let (listed, mut live) = (&self.listed[&user], self.world.sessions_of(user));
            live.retain(|id| !self.is_as_it_was(id));
            ensure!(
                *listed == live,
                "{user:?} has {live:?}, and is told {listed:?}"
            );
            let mut left = self.after_all.sessions_of(user);
            left.retain(|id| !self.is_as_it_was(id));
            ensure!(left.is_empty(), "{left:?} of {user:?} cannot be ended");
        }
        Ok(())
    }

    /// When all sessions of a user have been ended, none is left that was there or under way.
    fn check_end_all(&self) -> Result<(), String> {
        for end in &self.records {
            let (Some(user), Some(at)) = (end.plan.ends_all_of(), end.times.ended_all_at) else {
                continue;
            };
            let but = end.loaded_id();
            for id in &end.times.world_then.sessions_of(user) {
                let is_own = Some(&**id) == but || but.is_some() && self.goes_on(id, but);
                ensure!(
                    is_own || !self.world.sessions.contains_key(id),
                    "{id} of {user:?} was not ended in turn {at}"
                );
            }
            let theirs = self.world.sessions_of(user);
            for id in theirs.iter().filter(|id| Some(&***id) != but) {
                let began = self.records.iter().find(|it| it.began() == Some(id));
                match began {
                    Some(_) if but.is_some() && self.goes_on(id, but) => {}
                    Some(began) if began.makes(user) => self.check_begun(began, id, user, end)?,
                    // It has gone along with a renewal.
                    Some(began) => self.check_in_place(began.loaded_id().unwrap(), id, user, at)?,
                    None => self.check_in_place(id, id, user, at)?,
                }
            }
        }
        Ok(())
    }

    /// Whoever ends all others stays logged in, even if a request of theirs renews the session
    /// meanwhile.
    fn check_end_others(&self) -> Result<(), String> {
        for end in &self.records {
            let (What::EndOthers(user), Some(own)) = (end.plan.what, &end.answer.loaded) else {
                continue;
            };
            let mut others = self.records.iter().filter(|it| it.plan != end.plan);
            if own.user != Some(user) || !others.all(|it| it.plan.what == What::Renew) {
                continue;
            }
            let at = end.times.ended_all_at;
            let theirs = self.world.sessions_of(user);
            let mut lives = theirs
                .iter()
                .filter(|id| **id == own.id || self.goes_on(id, Some(&own.id)));
            ensure!(
                lives.next().is_some(),
                "{user:?} has ended all others in turn {at:?}, and is logged out"
            );
        }
        Ok(())
    }

    /// Whether a session goes on with this one.
    fn goes_on(&self, id: &str, from: Option<&str>) -> bool {
        let began = |record: &&Record| record.began() == Some(id);
        let before = self
            .records
            .iter()
            .find(began)
            .and_then(|it| it.loaded_id());
        before.is_some() && (before == from || self.goes_on(before.unwrap(), from))
    }

    fn check_begun(
        &self,
        record: &Record,
        id: &str,
        user: User,
        end: &Record,
    ) -> Result<(), String> {
        let at = end.times.ended_all_at;
        let was_begun = record.plan.has_password() && record.times.began_at < at;
        ensure!(
            !was_begun,
            "{id}: a login is completed that was begun before turn {at:?}"
        );
        // It may have been refused at first.
        let entered_at = match self.limit {
            Some((_, AtLimit::Refuse)) => record.times.last_entered_at,
            _ => record.times.first_entered_at,
        };
        ensure!(
            entered_at > at,
            "{id} was under way in turn {at:?}, and is there"
        );
        let had = |it: &str| end.times.world_then.sessions_of(user).contains(it);
        ensure!(
            !(record.is_renewal()
                && !record.plan.has_password()
                && record.loaded_id().is_some_and(had)
                && record
                    .answer
                    .loaded
                    .as_ref()
                    .is_some_and(|it| it.user == Some(user))),
            "{id} goes on with a session of {user:?} that was ended in turn {at:?}"
        );
        Ok(())
    }

    /// A session that has become the user's has become so by somebody who came later.
    fn check_in_place(&self, id: &str, now: &str, user: User, at: usize) -> Result<(), String> {
        let gives = |record: &Record| {
            let is_later = record.times.last_entered_at > Some(at);
            let is_begun = record.plan.has_password() && record.times.began_at < Some(at);
            record.loaded_id() == Some(id)
                && record.plan.makes_it_theirs() == Some(user)
                && is_later
                && !is_begun
        };
        ensure!(
            self.records.iter().any(gives),
            "{now} became {user:?}'s by a login that was under way in turn {at}"
        );
        Ok(())
    }

    fn check_limit(&self) -> Result<(), String> {
        let Some((most, at_limit)) = self.limit else {
            return Ok(());
        };
        for user in USERS {
            let live = self.world.sessions_of(user).len();
            ensure!(live <= most, "{user:?} has {live} sessions");
            let expected = self.sessions_but_for_limit(user).min(most);
            let is_exact =
                self.records.iter().all(Record::keeps_sessions) && !self.replies_were_lost;
            ensure!(
                !is_exact || live == expected,
                "{user:?} has {live} sessions, and may have {expected}"
            );
            let is_login = |record: &Record| record.plan.makes_it_theirs().is_some();
            let by_guest = |record: &Record| matches!(record.plan.who, Who::Guest | Who::Newcomer);
            let only_logins = self.records.iter().all(|it| is_login(it) && by_guest(it));
            let is_stored =
                |it: &&Record| it.plan.makes_it_theirs() == Some(user) && it.stored().is_some();
            let is_logged_in = self.records.iter().any(|it| is_stored(&it));
            if only_logins
                && is_logged_in
                && (at_limit == AtLimit::Refuse || !self.replies_were_lost)
            {
                ensure!(live > 0, "{user:?} has logged in, and has no session");
            }
        }
        Ok(())
    }

    /// How many sessions there would be if all who log in anew may do so, and nobody ended any. (Who logs in
    /// in the place of a session that has ended by then is too late.)
    fn sessions_but_for_limit(&self, user: User) -> usize {
        let is_theirs = |(who, whose): &&(Who, Option<User>)| {
            *whose == Some(user) && self.at_first.contains_key(who)
        };
        let at_first = AT_FIRST.iter().filter(is_theirs).count();
        let logs_in = |record: &&Record| {
            let is_late = record.answer.outcome == Outcome::Untouched;
            record.plan.makes_it_theirs() == Some(user) && !is_late
        };
        at_first + self.records.iter().filter(logs_in).count()
    }

    /// A session has ended by somebody who may end it.
    fn check_deaths(&self) -> Result<(), String> {
        let owners = self.owners();
        for (id, owners) in &owners {
            ensure!(
                self.world.sessions.contains_key(id) || self.may_have_ended(id, owners),
                "{id} has ended, and nobody has ended it"
            );
        }
        Ok(())
    }

    /// Whose each session may have been, at some time.
    fn owners(&self) -> BTreeMap<String, BTreeSet<User>> {
        let mut owners = BTreeMap::<String, BTreeSet<User>>::new();
        for (who, user) in AT_FIRST {
            if let Some(id) = self.at_first.get(&who) {
                owners.entry(id.clone()).or_default().extend(user);
            }
        }
        // A session that goes on with another one is known after that.
        for _ in 0..=self.records.len() {
            for record in &self.records {
                let target = record.plan.makes_it_theirs();
                if let Some(loaded) = record.loaded_id().filter(|id| owners.contains_key(*id)) {
                    owners.get_mut(loaded).unwrap().extend(target);
                }
                let Some(began) = record.began() else {
                    continue;
                };
                // Whoever ends a session ends what has taken its place, even if that is somebody else's.
                let before = record.loaded_id().and_then(|id| owners.get(id)).cloned();
                let of_new = owners.entry(began.to_owned()).or_default();
                of_new.extend(before.into_iter().flatten());
                of_new.extend(target);
            }
        }
        owners
    }

    /// A login that is void since its own session was ended meanwhile may have made room before that.
    fn was_refused_at_once(&self, record: &Record) -> bool {
        let is_there = |id: &str| self.world.sessions.contains_key(id);
        record.answer.outcome == Outcome::Refused && record.loaded_id().is_none_or(is_there)
    }

    fn may_have_ended(&self, id: &str, owners: &BTreeSet<User>) -> bool {
        self.records.iter().any(|record| {
            let plan = record.plan;
            let by_itself = plan.ends_own() && record.loaded_id() == Some(id);
            // A logout ends what has taken the place of the session.
            let by_logout = plan.what == What::Purge
                && self
                    .at_first
                    .get(&plan.who)
                    .is_some_and(|old| self.goes_on(id, Some(old)));
            let by_user = plan
                .ends_those_of()
                .is_some_and(|user| owners.contains(&user));
            let for_room = matches!(self.limit, Some((_, AtLimit::EndOldest)))
                && plan
                    .makes_it_theirs()
                    .is_some_and(|user| owners.contains(&user))
                && !self.was_refused_at_once(record);
            by_itself || by_logout || by_user || for_room
        })
    }
}
