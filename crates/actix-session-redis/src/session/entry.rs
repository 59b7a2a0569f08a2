//! What an index says: whose a session is, and since when.

use std::{collections::HashSet, fmt, time::Duration};

use tokio::time::Instant;

use super::{
    session_id::SessionId,
    ttl::now_ms,
    user::{User, UserId},
};

/// So long an entry may be without its session, which is about to be written. A write that comes later
/// than half of that is dropped: the other half is for clocks that differ.
pub(super) const GRACE_MS: i64 = 2 * MINUTE_MS;

const MINUTE_MS: i64 = 60_000;

/// So long it is remembered that all sessions of a user were ended: longer than anything is under way.
pub(crate) const MEMORY: Duration = Duration::from_secs(60 * 60);

/// Whose a session is: what its entry in the index says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Owner {
    pub(crate) user: UserId,
    /// When it was entered, in milliseconds since 1970 by the clock of the index's server.
    pub(crate) entered: i64,
    /// Until when it is.
    until: i64,
}

impl Owner {
    /// Only what is spelled as [`Display`](fmt::Display) does: scripts compare it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let user = UserId::parse(words.next()?)?;
        let entered: i64 = words.next()?.parse().ok()?;
        let minutes: i64 = words.next()?.parse().ok()?;
        let until = entered.checked_add(minutes.checked_mul(MINUTE_MS)?)?;
        let owner = Self {
            user,
            entered,
            until,
        };
        (owner.to_string() == text).then_some(owner)
    }

    pub(super) fn new(user: UserId, entered: i64, until: i64) -> Self {
        Self {
            user,
            entered,
            until,
        }
    }

    /// Whether it stays entered for as long as a session lives that is given this TTL now.
    pub(crate) fn is_entered_for(&self, ttl_ms: i64) -> bool {
        now_ms().saturating_add(ttl_ms) < self.until.saturating_sub(GRACE_MS / 2)
    }

    /// Until when what it was entered for may be written.
    pub(crate) fn latest_write(&self) -> i64 {
        self.entered.saturating_add(GRACE_MS / 2)
    }
}

/// No more than the 64 bytes up to which Redis packs the fields of a hash.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            user,
            entered,
            until,
        } = self;
        let minutes = until.saturating_sub(*entered) / MINUTE_MS;
        write!(f, "{} {entered} {minutes}", user.as_ref())
    }
}

/// A login that is under way: see [`begin_login`](crate::UserSessions::begin_login).
#[derive(Clone)]
pub struct Login {
    pub(crate) user: User,
    since: i64,
    begun: Instant,
}

impl Login {
    /// When it has begun, unless that was too long ago.
    pub(crate) fn since(&self, user: &User) -> Option<i64> {
        (self.user == *user && self.begun.elapsed() < MEMORY).then_some(self.since)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

/// What an index says, by the clock of its server.
pub(super) type Reply = (i64, Vec<(Vec<u8>, f64)>);

/// A session in the index, and when it was entered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) id: SessionId,
    pub(crate) entered: i64,
    /// Under which of the user's names.
    pub(super) name: usize,
}

impl Entry {
    /// Under the current name.
    pub(crate) fn new(id: SessionId, entered: i64) -> Self {
        let name = 0;
        Self { id, entered, name }
    }
}

/// Oldest first.
#[derive(Debug)]
pub(crate) struct Entries {
    /// By the clock of the server, for each of the user's names.
    now: Vec<i64>,
    pub(crate) all: Vec<Entry>,
}

impl Entries {
    /// Of what the indexes say, that of the current name first. What is no session is left out.
    pub(super) fn of(replies: impl IntoIterator<Item = Reply>) -> Self {
        let (mut now, mut all, mut known) = (Vec::new(), Vec::new(), HashSet::new());
        for (name, (time, entries)) in replies.into_iter().enumerate() {
            now.push(time);
            for (id, entered) in entries {
                let id = String::from_utf8(id).ok().and_then(|id| id.parse().ok());
                let Some(id) = id.filter(|id: &SessionId| known.insert(id.clone())) else {
                    continue;
                };
                // Of what is no time, as much as there is.
                let entered = entered as i64;
                all.push(Entry { id, entered, name });
            }
        }
        if now.len() > 1 {
            // As Redis does, so that all who make room agree on who is the oldest.
            all.sort_by(|one, other| {
                let [one, other] = [one, other].map(|it| (it.entered, it.id.as_ref()));
                one.cmp(&other)
            });
        }
        Self { now, all }
    }

    /// Whether the session of an entry may not have been written yet.
    pub(crate) fn is_pending(&self, entry: &Entry) -> bool {
        self.now[entry.name].saturating_sub(entry.entered) < GRACE_MS
    }

    pub(crate) fn login(&self, user: User) -> Login {
        Login {
            user,
            since: self.now[0],
            begun: Instant::now(),
        }
    }
}
