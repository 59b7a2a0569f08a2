//! The index of a user's sessions: which there are. A session is entered before it becomes the user's
//! and stays for longer than it can live, so every live session of the user is there.
//!
//! It knows nothing of the sessions themselves, which may be on other servers of a cluster.
//!
//! There is one for each name of the user. Sessions are entered under the current name only, so those of
//! former names become empty. No session is in two of them but while it moves.

use std::sync::Arc;

use deadpool_redis::redis::{Cmd, FromRedisValue, Value, from_redis_value};

use super::{
    entry::{Entries, Entry, GRACE_MS, MEMORY, Owner, Reply},
    keyspace::Keyspace,
    script::{END_ALL, ENTER, ENTRIES, LEAVE, Script, out_of_step},
    session_id::SessionId,
    user::User,
};
use crate::{
    client::{Client, Connection, Failure, Operation},
    error::Error,
};

/// How many sessions a user may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) sessions: usize,
    pub(crate) refuses: bool,
}

/// For what a session is entered.
pub(crate) struct Enters {
    pub(crate) user: User,
    /// It is theirs already, and is to stay entered.
    pub(crate) stays: bool,
    /// Since when that has been under way, if all sessions of the user may have been ended meanwhile.
    pub(crate) since: Option<i64>,
    /// When it was entered the last time, wherever that was.
    pub(crate) after: Option<i64>,
    /// A login is completed that was begun.
    pub(crate) is_login: bool,
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

/// Of one user, for one operation.
pub(crate) struct Index<'a> {
    client: &'a Arc<Client>,
    op: &'a Operation<'a>,
    user: &'a User,
    /// For each of the user's names.
    redis_keys: Vec<[String; 4]>,
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

    /// `from`: the session whose place it takes.
    pub(crate) async fn enter(
        &self,
        id: &SessionId,
        from: Option<&SessionId>,
        ttl_ms: i64,
        enters: &Enters,
        gone: &[Entry],
    ) -> Result<Entered, Error> {
        let has_former = self.redis_keys.len() > 1;
        let refuses = enters.limit.is_some_and(|limit| limit.refuses);
        let former = match has_former && refuses {
            true => {
                self.leave(gone).await?;
                let entries = self.counted().await?.all.into_iter();
                entries.filter(|entry| entry.name > 0).count()
            }
            false => 0,
        };
        let limit = enters
            .limit
            .map(|limit| limit.sessions.saturating_sub(former));
        let text = |number: Option<i64>| number.map(|it| it.to_string()).unwrap_or_default();
        let flag = |is: bool| if is { "1" } else { "" };
        let add_arguments = |command: &mut Cmd| {
            command.arg(id.as_ref());
            command.arg(from.map_or("", |from| from.as_ref()));
            command.arg(text(enters.since));
            command.arg(ttl_ms.saturating_mul(2).saturating_add(GRACE_MS));
            command.arg(flag(enters.stays));
            command.arg(text(limit.and_then(|limit| limit.try_into().ok())));
            command.arg(flag(refuses)).arg(text(enters.after));
            add_entries(command, gone);
        };
        let (entered, until, all) = self.run(0, &ENTER, add_arguments).await?;
        let owner = Owner::new(self.user.id.clone(), entered, until);
        Ok(match (entered, enters.limit) {
            (..0, _) => Entered::Overtaken,
            (0, _) if has_former => Entered::Refused(self.counted().await?),
            (0, _) => Entered::Refused(Entries::of([(until, all)])),
            (_, Some(limit)) if has_former && !refuses => {
                let entries = self.counted().await?;
                match entries.all.len() > limit.sessions {
                    true => Entered::TooMany(owner, entries),
                    false => Entered::Done(owner),
                }
            }
            _ if Vec::is_empty(&all) => Entered::Done(owner),
            _ => Entered::TooMany(owner, Entries::of([(entered, all)])),
        })
    }

    /// Removes these, unless they were entered anew meanwhile.
    pub(crate) async fn leave(&self, gone: &[Entry]) -> Result<(), Error> {
        for name in 0..self.redis_keys.len() {
            let gone = gone.iter().filter(|entry| entry.name == name);
            let gone: Vec<_> = gone.cloned().collect();
            for gone in gone.chunks(1000) {
                let add_arguments = |command: &mut Cmd| add_entries(command, gone);
                self.run::<Value>(name, &LEAVE, add_arguments).await?;
            }
        }
        Ok(())
    }

    /// That of one session, if it is there.
    pub(crate) async fn entry(&self, id: &SessionId) -> Result<Entries, Error> {
        self.ask(id.as_ref(), "").await
    }

    pub(crate) async fn entries(&self) -> Result<Entries, Error> {
        self.ask("", "").await
    }

    /// Those that count when there may be no more than so many: a renewal under way is one session.
    pub(crate) async fn counted(&self) -> Result<Entries, Error> {
        self.ask("", "1").await
    }

    async fn ask(&self, id: &str, counted: &str) -> Result<Entries, Error> {
        let add_arguments = |command: &mut Cmd| {
            command.arg(id).arg(counted);
        };
        // The current name last: who moves meanwhile moves there.
        let mut found = Vec::with_capacity(self.redis_keys.len());
        for name in (0..self.redis_keys.len()).rev() {
            let reply = self.run(name, &ENTRIES, add_arguments);
            found.push(reply.await?);
        }
        found.reverse();
        Ok(Entries::of(found))
    }

    /// All that are to be ended, but for these and what is about to take their place: what has been under way
    /// will not become another one of the user's.
    pub(crate) async fn end_all(&self, but: &[SessionId]) -> Result<Entries, Error> {
        let (mut found, mut time) = (Vec::new(), 0);
        // Clocks of servers differ: once more where it was earlier than any entry of the others.
        let times = self.redis_keys.len().min(2);
        for _ in 0..times {
            found.clear();
            for name in 0..self.redis_keys.len() {
                let add_arguments = |command: &mut Cmd| {
                    command.arg(MEMORY.as_millis() as u64).arg(time);
                    for id in but {
                        command.arg(id.as_ref());
                    }
                };
                let reply: Reply = self.run(name, &END_ALL, add_arguments).await?;
                time = time.max(reply.0);
                found.push(reply);
            }
        }
        Ok(Entries::of(found))
    }

    async fn run<T: FromRedisValue + Send>(
        &self,
        name: usize,
        script: &Script,
        add_arguments: impl Fn(&mut Cmd) + Sync,
    ) -> Result<T, Error> {
        let redis_keys = &self.redis_keys[name].each_ref().map(String::as_str);
        let add_arguments = &add_arguments;
        let run = |redis: Arc<Connection>| async move {
            parse(script.run(&redis, redis_keys, add_arguments).await?)
        };
        self.client.run(self.op, run).await
    }
}

pub(super) fn add_entries(command: &mut Cmd, entries: &[Entry]) {
    for Entry { id, entered, .. } in entries {
        command.arg(id.as_ref()).arg(entered);
    }
}

pub(super) fn parse<T: FromRedisValue>(reply: Value) -> Result<T, Failure> {
    from_redis_value(reply).map_err(|_| out_of_step())
}
