//! How long sessions live, and whose they are: what the application has declared of that.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use actix_web::cookie::time;

use super::{
    details::Details,
    entry::Login,
    index::Limit,
    seal::Seals,
    state::{State, canonical, field},
    ttl::{LONGEST, milliseconds, now_ms, whole_milliseconds},
    user::User,
};
use crate::error::Error;

/// So many bytes of a label are kept.
const MAX_LABEL_BYTES: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Policy {
    pub(crate) absolute_lifetime: Option<Duration>,
    /// Which lifetimes of its own a session may be asked to have.
    pub(crate) lifetimes: Option<RangeInclusive<Duration>>,
    pub(crate) user_field: Option<String>,
    pub(crate) label_field: Option<String>,
    pub(crate) limit: Option<Limit>,
    /// By which users have their names.
    pub(crate) seals: Arc<Seals>,
}

/// What a request asks for when it writes its session, beside the state.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) ttl: &'a time::Duration,
    pub(crate) lifetime: Option<Duration>,
    pub(crate) login: Option<&'a Login>,
}

impl<'a> Terms<'a> {
    pub(crate) fn only(ttl: &'a time::Duration) -> Self {
        Self {
            ttl,
            lifetime: None,
            login: None,
        }
    }
}

impl Policy {
    /// Whether a session has details that a write needs to know.
    pub(crate) fn needs_details(&self) -> bool {
        self.absolute_lifetime.is_some()
            || self.lifetimes.is_some()
            || self.user_field.is_some()
            || self.seals.are_changing()
    }

    /// Which option cannot work, and why.
    pub(crate) fn invalid(&self) -> Option<(&'static str, &'static str)> {
        let is_too_short = |lifetime: Duration| lifetime < Duration::from_millis(1);
        let has_no_user = self.user_field.is_none();
        if self.absolute_lifetime.is_some_and(is_too_short) {
            Some(("absolute_lifetime", "at least 1 ms is needed"))
        } else if let Some(lifetimes) = &self.lifetimes
            && (lifetimes.is_empty()
                || is_too_short(*lifetimes.start())
                || *lifetimes.end() > LONGEST)
        {
            Some((
                "lifetimes",
                "the range is empty, or exceeds 1 ms to 10,000 years",
            ))
        } else if self.label_field.is_some() && has_no_user {
            Some((
                "label_field",
                "only sessions of users have labels; set user_field",
            ))
        } else if self.limit.is_some() && has_no_user {
            Some(("session_limit", "only users have a limit; set user_field"))
        } else if self.limit.is_some_and(|limit| limit.sessions == 0) {
            Some(("session_limit", "nobody could log in; at least 1 is needed"))
        } else {
            None
        }
    }

    /// Whether a session may be asked to live so long.
    pub(crate) fn allows(&self, lifetime: Duration) -> bool {
        let allowed = self.lifetimes.as_ref();
        allowed.is_some_and(|allowed| allowed.contains(&lifetime))
    }

    /// Whether a renewal is a login: not one by which the session becomes nobody's. `base`: whose the
    /// session was by its state.
    pub(crate) fn is_login(&self, base: Option<&User>, state: &State, terms: Terms<'_>) -> bool {
        let is_other = |user: &User| Some(user) != base;
        terms.login.is_some() || self.user(state).as_ref().is_some_and(is_other)
    }

    /// Why a login cannot be completed with this state, whatever else happens.
    pub(super) fn mistake(&self, login: &Login, state: &State) -> Option<&'static str> {
        match self.user(state) {
            None => Some("the session has no such field, or null in it"),
            Some(user) if user != login.user => {
                Some("the field does not hold what begin_login was called for (7 is not \"7\")")
            }
            Some(_) => None,
        }
    }

    pub(crate) fn user(&self, state: &State) -> Option<User> {
        let json = field(state, self.user_field.as_ref()?)?;
        let json = canonical(&json);
        (json != "null").then(|| User::of(&json, &self.seals))
    }

    /// # Errors
    ///
    /// [`Error::InvalidOption`] when the store does not know of users, or it is no user.
    pub(crate) fn user_named(&self, json: &str) -> Result<User, Error> {
        let json = canonical(json);
        let reason = match &self.user_field {
            None => "the store has no user_field, which says whose a session is",
            Some(_) if json == "null" => "null is no user",
            Some(_) => return Ok(User::of(&json, &self.seals)),
        };
        Err(Error::InvalidOption {
            option: "sessions_of",
            reason: reason.to_owned(),
        })
    }

    /// What becomes of the details, but for the owner, and the TTL: none if the session has reached
    /// its absolute lifetime.
    pub(crate) fn details(
        &self,
        before: &Details,
        state: &State,
        terms: Terms<'_>,
    ) -> Result<Option<(Details, i64)>, Error> {
        let lifetime_ms = match terms.lifetime {
            Some(lifetime) if !self.allows(lifetime) => {
                return Err(Error::InvalidLifetime { lifetime });
            }
            Some(lifetime) => Some(milliseconds(lifetime)),
            None => before.lifetime_ms,
        };
        let ttl_ms = match lifetime_ms {
            Some(lifetime_ms) => lifetime_ms,
            None => whole_milliseconds(terms.ttl)?,
        };
        let is_somebodys = self.user(state).is_some();
        let label = self.label_field.as_ref().filter(|_| is_somebodys);
        let label = label.and_then(|name| field(state, name));
        let left_ms = self.left_ms(before).unwrap_or(i64::MAX);
        let mut details = Details {
            lifetime_ms,
            ..before.clone()
        };
        // A store without `user_field` beside others leaves what they have noted.
        if self.user_field.is_some() {
            let noted = || noted_ttl_ms(before.ttl_ms, ttl_ms, left_ms);
            details.ttl_ms = is_somebodys.then(noted);
            details.label = label
                .filter(|json| json != "null")
                .map(|json| shortened(&json));
        }
        let ttl_ms = ttl_ms.min(left_ms);
        Ok((ttl_ms > 0).then_some((details, ttl_ms)))
    }

    /// How many milliseconds a session may live at most.
    pub(crate) fn left_ms(&self, details: &Details) -> Option<i64> {
        let ends = details
            .born_ms?
            .saturating_add(milliseconds(self.absolute_lifetime?));
        Some(ends.saturating_sub(now_ms()))
    }
}

/// The TTL that is noted, to tell when the session was used the last time. Of one that an absolute
/// lifetime shortens, which it does more with every moment, it says so as seldom as sessions are prolonged.
fn noted_ttl_ms(before: Option<i64>, ttl_ms: i64, left_ms: i64) -> i64 {
    let little = (ttl_ms / 100).min(60_000);
    let is_near = |noted: &i64| noted.saturating_sub(left_ms).saturating_abs() < little;
    match left_ms < ttl_ms {
        true => before.filter(is_near).unwrap_or(left_ms),
        false => ttl_ms,
    }
}

/// Of a label, what is shown of it: a text as it is, everything else as JSON.
fn shortened(json: &str) -> String {
    let label = serde_json::from_str(json).unwrap_or_else(|_| json.to_owned());
    let fits = |end: &usize| label.is_char_boundary(*end);
    let end = (0..=MAX_LABEL_BYTES).rev().find(fits).unwrap_or_default();
    label[..end].to_owned()
}

#[cfg(test)]
#[path = "../../tests/unit/policy.rs"]
mod tests;
