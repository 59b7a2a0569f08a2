use std::collections::BTreeSet;

use super::{
    lane::{ANCHOR, Handled, Plan, Side, What, own_field},
    lanes::Lanes,
    world::World,
};
use crate::support::{
    app::SessionCookie,
    sessions::{State, hash_of, session_key},
};

fn is_old(state: &State) -> bool {
    state.contains_key(ANCHOR)
}

/// A request, and what has come of it.
#[derive(Debug)]
pub(super) struct Request {
    plan: Plan,
    handled: Option<Handled>,
    cookie: SessionCookie,
    /// Whether the session had ended when the request first asked Redis.
    comes_too_late: Option<bool>,
    /// What there was of the session when it first tried to end it.
    ended: Option<Option<State>>,
}

impl Request {
    pub(super) fn of(plan: Plan) -> Self {
        Self {
            plan,
            handled: None,
            cookie: SessionCookie::Untouched,
            comes_too_late: None,
            ended: None,
        }
    }

    pub(super) fn note(&mut self, turn: &Turn<'_>, handled: Option<&Handled>) {
        let state = turn.before.theirs(turn.first);
        self.comes_too_late.get_or_insert(state.is_none());
        // Before its handler has run, it has ended what it has found ended there.
        if handled.is_some() && ["end", "built_in_end", "DEL"].contains(&turn.command) {
            let ours = match turn.adopts {
                true => state.and_then(|_| turn.before.ours(turn.first)),
                false => state,
            };
            self.ended.get_or_insert_with(|| ours.cloned());
        }
    }

    pub(super) fn ends(&mut self, handled: Option<Handled>, cookie: SessionCookie) {
        (self.handled, self.cookie) = (handled, cookie);
    }

    fn is_here(&self) -> bool {
        self.plan.side == Side::Here
    }

    /// Whether it has found the session that all are about.
    fn has_loaded(&self) -> bool {
        let handled = self.handled.as_ref();
        handled.is_some_and(|it| is_old(&it.loaded))
    }

    fn may_end(&self) -> bool {
        self.plan.what.ends() && self.has_loaded()
    }
}

impl Handled {
    /// What comes of a state by what the request has changed.
    fn apply(&self, what: What, state: &State) -> State {
        if what == What::ClearAndSet {
            return self.left.clone();
        }
        let mut state = state.clone();
        let fields: BTreeSet<_> = self.loaded.keys().chain(self.left.keys()).collect();
        for field in fields {
            match (self.loaded.get(field), self.left.get(field)) {
                (before, after) if before == after => {}
                (_, None) => drop(state.remove(field)),
                (_, Some(json)) => drop(state.insert(field.clone(), json.clone())),
            }
        }
        state
    }
}

/// One command, and what it has changed.
pub(super) struct Turn<'a> {
    pub(super) adopts: bool,
    /// The session key of the session that all requests are about.
    pub(super) first: &'a str,
    pub(super) before: &'a World,
    pub(super) after: &'a World,
    pub(super) command: &'a str,
}

impl Turn<'_> {
    pub(super) fn check(&self, request: &Request, handled: Option<&Handled>) -> Result<(), String> {
        let eternal = &self.after.eternal;
        ensure!(eternal.is_empty(), "{eternal:?} never expire");
        let (before, after) = (
            self.before.theirs(self.first),
            self.after.theirs(self.first),
        );
        ensure!(before.is_some() || after.is_none(), "it is back there");
        let (before, after) = (self.before.ours(self.first), self.after.ours(self.first));
        let lives = self.before.theirs(self.first).is_some();
        ensure!(
            lives || before.is_some() || after.is_none(),
            "it is back here"
        );
        if !request.is_here() {
            return Ok(());
        }
        if self.adopts {
            self.check_copies()?;
        }
        match handled {
            Some(handled) => self.check_write(request.plan.what, handled),
            None => Ok(()),
        }
    }

    /// A copy is what the session was when it began, or was adopted; and both end at once.
    fn check_copies(&self) -> Result<(), String> {
        for (key, state) in &self.before.theirs {
            let after = self.after.theirs(key);
            // One that nobody knows of yet is made to what it has to be.
            let is_known = key == self.first || self.command != "SET";
            ensure!(
                after.is_none_or(|after| after == state) || !is_known,
                "the copy {key} is written"
            );
        }
        for (key, ours) in &self.after.ours {
            let copy = ours.copy.as_deref().unwrap_or_default();
            let is_there = |world: &World| world.theirs.contains_key(copy);
            ensure!(
                is_there(self.after) || !is_there(self.before),
                "of {key}, only the copy has ended"
            );
            if !self.before.ours.contains_key(key) {
                ensure!(
                    self.after.theirs(copy) == Some(&ours.state),
                    "{key} is not what its copy is"
                );
            }
        }
        Ok(())
    }

    /// Of two that write at once, no field is lost; in the same layout, the later one wins.
    fn check_write(&self, what: What, handled: &Handled) -> Result<(), String> {
        if !what.writes_in_place() || !is_old(&handled.loaded) {
            return Ok(());
        }
        let (before, after, expected) = if self.adopts {
            if !["EXEC", "write", "replace"].contains(&self.command) {
                return Ok(());
            }
            let before = self.before.ours(self.first);
            let expected = before.map(|state| handled.apply(what, state));
            (before, self.after.ours(self.first), expected)
        } else {
            if self.command != "SET" {
                return Ok(());
            }
            let before = self.before.theirs(self.first);
            let expected = before.map(|_| handled.left.clone());
            (before, self.after.theirs(self.first), expected)
        };
        // What has changed meanwhile is modified once more.
        let is_in_vain = what == What::Modify && after == before;
        ensure!(
            is_in_vain || after == expected.as_ref(),
            "it holds {after:?}, not {expected:?}"
        );
        Ok(())
    }
}

/// When all requests have ended.
pub(super) struct End<'a> {
    pub(super) first: &'a str,
    pub(super) world: &'a World,
    pub(super) requests: &'a [Request],
    pub(super) lanes: &'a Lanes,
}

impl End<'_> {
    pub(super) async fn check(&self) -> Result<(), String> {
        self.check_orphans()?;
        let ends = self.requests.iter().filter(|it| it.may_end()).count();
        let lives = self.world.theirs(self.first).is_some();
        ensure!(lives == (ends == 0), "{ends} end it, and it lives: {lives}");
        let here = self.lanes.load_here(self.first).await;
        let there = self.lanes.load_there(self.first).await;
        ensure!(
            here.is_some() == lives && there.is_some() == lives,
            "it is {here:?} here and {there:?} there"
        );
        for (number, request) in self.requests.iter().enumerate() {
            if request.is_here() {
                self.check_request(number, request, ends)
                    .await
                    .map_err(|why| format!("{number}: {why}"))?;
            }
        }
        Ok(())
    }

    /// Nothing is left of what was undone, and nothing is there that nobody knows the key of.
    fn check_orphans(&self) -> Result<(), String> {
        let mut known = BTreeSet::from([self.first]);
        known.extend(self.requests.iter().filter_map(|it| match &it.cookie {
            SessionCookie::Names(key) => Some(&**key),
            _ => None,
        }));
        let ours: BTreeSet<_> = known.iter().map(|key| hash_of(&session_key(key))).collect();
        for key in self.world.theirs.keys() {
            ensure!(known.contains(&**key), "{key} is an orphan");
        }
        for key in self.world.ours.keys() {
            ensure!(ours.contains(key), "{key} is an orphan");
        }
        Ok(())
    }

    async fn check_request(
        &self,
        number: usize,
        request: &Request,
        ends: usize,
    ) -> Result<(), String> {
        let (has_loaded, what) = (request.has_loaded(), request.plan.what);
        // Also by a logout that has come too late: it ends what has taken the place of the session.
        let is_purged = self
            .requests
            .iter()
            .any(|it| it.is_here() && it.plan.what == What::Purge);
        ensure!(
            !(has_loaded && request.comes_too_late == Some(true)),
            "it has read what had ended"
        );
        let successor = match &request.cookie {
            SessionCookie::Names(key) => key,
            _ if !has_loaded || ends != 1 => return Ok(()),
            cookie if what == What::Purge => {
                ensure!(*cookie == SessionCookie::TakenAway, "a logout in vain");
                return Ok(());
            }
            _ => {
                ensure!(what != What::Renew || is_purged, "a login in vain");
                return Ok(());
            }
        };
        ensure!(
            !has_loaded || what == What::Renew,
            "the cookie is touched by what has come too late"
        );
        let here = self.lanes.load_here(successor).await;
        let there = self.lanes.load_there(successor).await;
        ensure!(here.is_some() == there.is_some(), "{here:?}, {there:?}");
        let (Some(here), Some(there)) = (here, there) else {
            ensure!(is_purged, "its new session is gone");
            return Ok(());
        };
        let ended = request.ended.as_ref().and_then(Option::as_ref);
        match (&request.handled, ended) {
            (Some(handled), Some(ended)) if has_loaded => {
                let expected = handled.apply(what, ended);
                ensure!(here == expected, "it holds {here:?}, not {expected:?}");
                ensure!(
                    there == expected,
                    "it holds {there:?} there, not {expected:?}"
                );
            }
            _ => {
                for state in [&here, &there] {
                    let own = own_field(number);
                    ensure!(!is_old(state), "what had ended is back under {successor}");
                    ensure!(state.contains_key(&own), "its own change is lost");
                }
            }
        }
        Ok(())
    }
}
