//! What a write makes of a session beside its state.

use super::{
    changes::Changes,
    details::{Details, OwnChanges},
    entry::Owner,
    index::Enters,
    policy::{Policy, Terms},
    state::State,
    user::User,
};
use crate::error::Error;

pub(super) struct Plan {
    pub(super) before: Details,
    pub(super) details: Details,
    pub(super) ttl_ms: i64,
    /// Until when it may be written, if that matters.
    pub(super) latest: Option<i64>,
    /// If it has to be entered into the index first.
    pub(super) enters: Option<Enters>,
    /// By its state, it becomes somebody else's, or nobody's.
    pub(super) changes_hands: bool,
    /// It is written only if it says of its owner what it did.
    owner_matters: bool,
}

/// The session that a write is about.
pub(super) enum Of<'a> {
    Known(&'a Details),
    /// One that begins with some of these.
    New(&'a Details),
}

impl Plan {
    /// None if the session has reached its absolute lifetime. `base`: whose it was by its state.
    pub(super) fn new(
        policy: &Policy,
        of: Of<'_>,
        base: Option<&User>,
        state: &State,
        terms: Terms<'_>,
    ) -> Result<Option<Self>, Error> {
        let (is_new, before) = match of {
            Of::Known(details) => (false, details.clone()),
            Of::New(details) => (true, details.born_now()),
        };
        let Some((mut details, ttl_ms)) = policy.details(&before, state, terms)? else {
            return Ok(None);
        };
        let user = policy.user(state);
        let theirs = |owner: &&Owner| user.as_ref().is_some_and(|user| user.is(&owner.user));
        // Under which of their names, too.
        let known = before.owner.as_ref().filter(theirs);
        let current = |owner: &&Owner| user.as_ref().is_some_and(|user| user.id == owner.user);
        let owner = known.filter(current).cloned();
        let entered = known.map(|known| known.entered);
        let is_entered = owner.as_ref().is_some_and(|it| it.is_entered_for(ttl_ms));
        let changes_hands = base != user.as_ref();
        let enters = match user {
            Some(user) if is_new || !is_entered || terms.login.is_some() => Some(Enters {
                since: under_way_since(terms, &user, entered, base)?,
                after: before.last_entered(),
                stays: owner.is_some() && !is_new,
                is_login: terms.login.is_some(),
                limit: policy.limit.filter(|_| base != Some(&user)),
                user,
            }),
            None if terms.login.is_some() => return Err(Error::Overtaken),
            _ => None,
        };
        if is_new {
            details = details.without_past();
        } else if policy.user_field.is_some() {
            details.give_to(owner);
        }
        // Whoever makes it somebody else's meanwhile takes it out of the index that it was in: that of this
        // request's user, too, if it was there in between. It enters it into theirs, for as long as other
        // sessions live.
        let owner_matters = changes_hands
            || enters.is_some()
            || details.lifetime_ms.is_some()
            || details.owner_text != before.owner_text;
        let owner_matters = owner_matters && policy.user_field.is_some();
        Ok(Some(Self {
            before,
            details,
            ttl_ms,
            latest: None,
            enters,
            changes_hands,
            owner_matters,
        }))
    }

    /// The session has been entered.
    pub(super) fn enter_as(&mut self, owner: Owner) {
        if self.enters.as_ref().is_some_and(|enters| !enters.stays) {
            self.latest = Some(owner.latest_write());
        }
        self.details.give_to(Some(owner));
    }

    /// The session is not given a TTL by this write.
    pub(super) fn keep_ttl(&mut self) {
        self.details.ttl_ms = self.before.ttl_ms.or(self.details.ttl_ms);
    }

    /// Whether nothing is to be written.
    pub(super) fn is_idle(&self) -> bool {
        self.enters.is_none() && self.own_changes().is_empty()
    }

    pub(super) fn own_changes(&self) -> OwnChanges {
        self.before.changes(&self.details)
    }

    /// Whose index the session leaves when it was written, for it is not theirs any more.
    pub(super) fn left(&self) -> Option<&Owner> {
        let (old, new) = (self.before.owner.as_ref(), self.details.owner.as_ref());
        old.filter(|old| new.is_none_or(|new| new.user != old.user))
    }

    /// Adds the changes of details to those of the state.
    pub(super) fn add_to(&self, changes: &mut Changes<'_>) {
        (changes.own, changes.latest) = (self.own_changes(), self.latest);
        changes.owner_text = self.owner_matters.then(|| self.before.owner_text.clone());
    }
}

/// Since when what makes it the user's has been under way, if it matters that all sessions of the user may have
/// been ended meanwhile.
fn under_way_since(
    terms: Terms<'_>,
    user: &User,
    entered: Option<i64>,
    base: Option<&User>,
) -> Result<Option<i64>, Error> {
    match (terms.login, entered) {
        (Some(login), _) => login.since(user).ok_or(Error::Overtaken).map(Some),
        (None, Some(entered)) => Ok(Some(entered)),
        // It was theirs already, and nobody knows since when.
        (None, None) => Ok((base == Some(user)).then_some(1)),
    }
}
