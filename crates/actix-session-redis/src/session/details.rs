//! What is noted of a session beside its state: how long it lives, whose it is, what it is called.

use std::{ops::RangeInclusive, str, sync::Arc, time::Duration};

use actix_web::cookie::time;

use super::{
    entry::{Login, Owner},
    index::Limit,
    keyspace::User,
    seal::Seals,
    state::{State, canonical, field},
    ttl::{milliseconds, now_ms, whole_milliseconds},
};
use crate::error::{Error, MAX_TTL_YEARS};

/// When the session has begun, in milliseconds since 1970. Only what begins a session sets it.
pub(crate) const BORN: &[u8] = b"\xFFborn";

/// The fields that hold them. `fields.lua` knows them, too.
const USER: &[u8] = b"\xFFuser";
const TTL: &[u8] = b"\xFFttl";
const LIFETIME: &[u8] = b"\xFFlifetime";
pub(crate) const LABEL: &[u8] = b"\xFFlabel";

/// So many bytes of a label are kept.
const MAX_LABEL_BYTES: usize = 256;

/// The longest lifetime that a session may be asked to have.
pub(crate) const MOST: Duration =
    Duration::from_secs(MAX_TTL_YEARS.unsigned_abs() * 365 * 24 * 60 * 60);

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Details {
    /// When the session has begun, or the one that it has taken the place of: in milliseconds since
    /// 1970.
    pub(crate) born_ms: Option<i64>,
    /// Whose it is, as far as the index knows.
    pub(crate) owner: Option<Owner>,
    /// What the session says of that; of one that was somebody's, that it is nobody's, too. Whenever it becomes
    /// somebody else's, that is another text than it ever was.
    pub(crate) owner_text: Vec<u8>,
    /// The TTL that it was given the last time, if it is somebody's: it tells when that was.
    pub(crate) ttl_ms: Option<i64>,
    /// The TTL that it was asked to have instead of the session middleware's.
    pub(crate) lifetime_ms: Option<i64>,
    pub(crate) label: Option<String>,
    /// Some of it is not sealed with the newest key.
    pub(crate) is_stale: bool,
}

/// Fields of ours that are to be set, or removed.
pub(crate) type OwnChanges = Vec<(&'static [u8], Option<String>)>;

impl Details {
    /// Those of a session that begins, unless it takes the place of one that has.
    pub(crate) fn born_now(&self) -> Self {
        Self {
            born_ms: self.born_ms.or_else(|| Some(now_ms())),
            ..self.clone()
        }
    }

    pub(crate) fn lifetime(&self) -> Option<Duration> {
        let ms = u64::try_from(self.lifetime_ms?).ok()?;
        Some(Duration::from_millis(ms))
    }

    /// When it was entered the last time, by what it says: nobody's, too.
    pub(crate) fn last_entered(&self) -> Option<i64> {
        let text = str::from_utf8(&self.owner_text).ok()?;
        text.split(' ').nth(1)?.parse().ok()
    }

    pub(crate) fn give_to(&mut self, owner: Option<Owner>) {
        match (&owner, &self.owner) {
            (Some(owner), _) => self.owner_text = owner.to_string().into(),
            (None, Some(old)) => self.owner_text = format!("- {}", old.entered).into(),
            (None, None) => {}
        }
        self.owner = owner;
    }

    /// Of a session that is to begin.
    pub(crate) fn without_past(mut self) -> Self {
        (self.owner, self.owner_text) = (None, Vec::new());
        self
    }

    /// It is somebody else's by now.
    pub(crate) fn without_owner(changes: &mut OwnChanges) {
        changes.retain(|(field, _)| *field != USER);
    }

    /// What one of our fields says; what nobody can read says nothing.
    pub(crate) fn read(&mut self, field: &[u8], value: &[u8]) {
        let text = str::from_utf8(value).unwrap_or_default();
        let number = || text.parse().ok().filter(|&number| number > 0);
        match field {
            USER => (self.owner, self.owner_text) = (Owner::parse(text), value.to_owned()),
            TTL => self.ttl_ms = number(),
            // More than that, Redis refuses, and nobody has asked for it.
            LIFETIME => self.lifetime_ms = number().filter(|&ms| ms <= milliseconds(MOST)),
            LABEL => self.label = Some(text.to_owned()),
            _ => {}
        }
    }

    /// Those that become others, or are sealed anew. When it was born, only its beginning says.
    pub(crate) fn changes(&self, to: &Self) -> OwnChanges {
        let [before, after] = [self.fields(), to.fields()];
        let pairs = before.into_iter().zip(after);
        let is_stale = |field| self.is_stale && field == LABEL;
        let changed =
            pairs.filter(|((field, before), (_, after))| before != after || is_stale(*field));
        let mut changes: OwnChanges = changed.map(|(_, after)| after).collect();
        if let (true, Some(born_ms)) = (self.is_stale, self.born_ms) {
            changes.push((BORN, Some(born_ms.to_string())));
        }
        changes
    }

    fn fields(&self) -> [(&'static [u8], Option<String>); 4] {
        let text = |number: &i64| number.to_string();
        [
            (
                USER,
                (!self.owner_text.is_empty())
                    .then(|| String::from_utf8_lossy(&self.owner_text).into()),
            ),
            (TTL, self.ttl_ms.as_ref().map(text)),
            (LIFETIME, self.lifetime_ms.as_ref().map(text)),
            (LABEL, self.label.clone()),
        ]
    }

    /// Which fields these are.
    pub(crate) fn names() -> [&'static [u8]; 4] {
        [USER, TTL, LIFETIME, LABEL]
    }
}

/// How long sessions live, and whose they are: what the application has declared.
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
            && (lifetimes.is_empty() || is_too_short(*lifetimes.start()) || *lifetimes.end() > MOST)
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
        // Without, other stores may know whose it is.
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
#[path = "../../tests/unit/details.rs"]
mod tests;
