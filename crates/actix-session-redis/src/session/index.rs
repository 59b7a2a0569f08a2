//! The index of a user's sessions: which there are. A session is entered before it becomes the user's
//! and stays for longer than it can live, so every live session of the user is there.
//!
//! It knows nothing of the sessions themselves, which may be on other servers of a cluster.
//!
//! There is one for each name of the user. Sessions are entered under the current name only, so those of
//! former names become empty. No session is in two of them but while it moves.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use deadpool_redis::redis::{Cmd, FromRedisValue, Value, from_redis_value};
use tokio::time::Instant;

use super::{
    keyspace::{Keyspace, SessionId, User, UserId},
    script::{END_ALL, ENTER, ENTRIES, LEAVE, Script, out_of_step},
    ttl::now_ms,
};
use crate::{
    client::{Client, Connection, Failure, Operation},
    error::Error,
};

/// So long an entry may be without its session, which is about to be written. A write that comes later
/// than half of that is dropped: the other half is for clocks that differ.
const GRACE_MS: i64 = 2 * MINUTE_MS;

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

    #[cfg(any(test, fuzzing))]
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

/// A session in the index, and when it was entered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) id: SessionId,
    pub(crate) entered: i64,
    /// Under which of the user's names.
    name: usize,
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

/// How many sessions a user may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) sessions: usize,
    pub(crate) refuses: bool,
}

/// A session that is to be entered.
pub(crate) struct Entering<'a> {
    pub(crate) id: &'a SessionId,
    /// The session whose place it takes.
    pub(crate) from: Option<&'a SessionId>,
    /// Since when what enters it has been under way.
    pub(crate) since: Option<i64>,
    pub(crate) ttl_ms: i64,
    /// It is the user's already, and is to stay entered.
    pub(crate) stays: bool,
    pub(crate) limit: Option<Limit>,
}

pub(crate) enum Entered {
    Done(Owner),
    /// They are more now than there may be.
    TooMany(Owner, Entries),
    /// It is not entered, for there are as many as there may be.
    Refused(Entries),
    /// All sessions of the user were ended meanwhile, and it is not entered.
    Overtaken,
}

/// What an index says, by the clock of its server.
pub(super) type Reply = (i64, Vec<(Vec<u8>, f64)>);

/// Of one user, for one operation.
pub(crate) struct Index<'a> {
    client: &'a Arc<Client>,
    op: &'a Operation<'a>,
    user: &'a User,
    /// For each of the user's names.
    redis_keys: Vec<[String; 3]>,
}

impl<'a> Index<'a> {
    pub(crate) fn new(
        client: &'a Arc<Client>,
        keyspace: &Keyspace,
        op: &'a Operation<'a>,
        user: &'a User,
    ) -> Self {
        Self {
            client,
            op,
            user,
            redis_keys: user.ids().map(|id| keyspace.index(id)).collect(),
        }
    }

    pub(crate) async fn enter(
        &self,
        entering: &Entering<'_>,
        gone: &[Entry],
    ) -> Result<Entered, Error> {
        let has_former = self.redis_keys.len() > 1;
        let refuses = entering.limit.is_some_and(|limit| limit.refuses);
        let former = match has_former && refuses {
            true => {
                self.leave(gone).await?;
                self.former().await?
            }
            false => Vec::new(),
        };
        let limit = entering
            .limit
            .map(|limit| limit.sessions.saturating_sub(count(&former)));
        let text = |number: Option<i64>| number.map(|it| it.to_string()).unwrap_or_default();
        let flag = |is: bool| if is { "1" } else { "" };
        let add_arguments = |command: &mut Cmd| {
            command.arg(entering.id.as_ref());
            command.arg(entering.from.map_or("", |from| from.as_ref()));
            command.arg(text(entering.since));
            command.arg(entering.ttl_ms.saturating_mul(2).saturating_add(GRACE_MS));
            command.arg(flag(entering.stays));
            command.arg(text(limit.and_then(|limit| limit.try_into().ok())));
            command.arg(flag(refuses));
            add_entries(command, gone);
        };
        let (entered, until, all) = self.run(0, &ENTER, 3, add_arguments, understand).await?;
        let owner = Owner {
            user: self.user.id.clone(),
            entered,
            until,
        };
        let is_alone = Vec::is_empty(&all);
        let and_former = |now| Entries::of([(now, all)].into_iter().chain(former));
        Ok(match (entered, entering.limit) {
            (..0, _) => Entered::Overtaken,
            (0, _) => Entered::Refused(and_former(until)),
            (_, Some(limit)) if has_former && !refuses => {
                let entries = self.entries().await?;
                match entries.all.len() > limit.sessions {
                    true => Entered::TooMany(owner, entries),
                    false => Entered::Done(owner),
                }
            }
            _ if is_alone => Entered::Done(owner),
            _ => Entered::TooMany(owner, and_former(entered)),
        })
    }

    /// Removes these, unless they were entered anew meanwhile.
    pub(crate) async fn leave(&self, gone: &[Entry]) -> Result<(), Error> {
        for name in 0..self.redis_keys.len() {
            let gone = gone.iter().filter(|entry| entry.name == name);
            let gone: Vec<_> = gone.cloned().collect();
            for gone in gone.chunks(1000) {
                let add_arguments = |command: &mut Cmd| add_entries(command, gone);
                self.run(name, &LEAVE, 2, add_arguments, |_| Ok(())).await?;
            }
        }
        Ok(())
    }

    /// That of one session, if it is there.
    pub(crate) async fn entry(&self, id: &SessionId) -> Result<Entries, Error> {
        let add_argument = |command: &mut Cmd| {
            command.arg(id.as_ref());
        };
        let mut found = Vec::with_capacity(self.redis_keys.len());
        for name in 0..self.redis_keys.len() {
            let reply = self.run(name, &ENTRIES, 3, add_argument, understand);
            found.push(reply.await?);
        }
        Ok(Entries::of(found))
    }

    pub(crate) async fn entries(&self) -> Result<Entries, Error> {
        // Who moves meanwhile moves to the current name.
        let former = self.former().await?;
        let current = self.run(0, &ENTRIES, 3, |_| (), understand).await?;
        Ok(Entries::of([current].into_iter().chain(former)))
    }

    async fn former(&self) -> Result<Vec<Reply>, Error> {
        let mut former = Vec::new();
        for name in 1..self.redis_keys.len() {
            former.push(self.run(name, &ENTRIES, 3, |_| (), understand).await?);
        }
        Ok(former)
    }

    /// All that are to be ended: what has been under way will not become another one of the user's.
    pub(crate) async fn end_all(&self, but: Option<&SessionId>) -> Result<Entries, Error> {
        let (mut found, mut time) = (Vec::new(), 0);
        // Clocks of servers differ: once more where it was earlier than any entry of the others.
        let times = self.redis_keys.len().min(2);
        for _ in 0..times {
            found.clear();
            for name in 0..self.redis_keys.len() {
                let add_arguments = |command: &mut Cmd| {
                    command.arg(but.map_or("", |but| but.as_ref()));
                    command.arg(MEMORY.as_millis() as u64).arg(time);
                };
                let reply: Reply = self
                    .run(name, &END_ALL, 3, add_arguments, understand)
                    .await?;
                time = time.max(reply.0);
                found.push(reply);
            }
        }
        Ok(Entries::of(found))
    }

    async fn run<T: Send>(
        &self,
        name: usize,
        script: &Script,
        keys: usize,
        add_arguments: impl Fn(&mut Cmd) + Sync,
        understand: impl Fn(Value) -> Result<T, Failure> + Sync,
    ) -> Result<T, Error> {
        let redis_keys = &self.redis_keys[name].each_ref().map(String::as_str);
        let (add_arguments, understand) = (&add_arguments, &understand);
        let run = |redis: Arc<Connection>| async move {
            let reply = script.run(&redis, &redis_keys[..keys], add_arguments);
            understand(reply.await?)
        };
        self.client.run(self.op, run).await
    }
}

fn count(replies: &[Reply]) -> usize {
    replies.iter().map(|(_, all)| all.len()).sum()
}

/// Of the current name.
pub(super) fn add_entries(command: &mut Cmd, entries: &[Entry]) {
    for Entry { id, entered, .. } in entries {
        command.arg(id.as_ref()).arg(entered);
    }
}

pub(super) fn understand<T: FromRedisValue>(reply: Value) -> Result<T, Failure> {
    from_redis_value(reply).map_err(|_| out_of_step())
}
