//! What there is of the sessions in the index of a user: they are looked at, listed, and ended.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use futures_util::future::{TryFutureExt as _, try_join_all};

use deadpool_redis::redis::Cmd;

use super::{
    Sessions,
    details::Details,
    entry::{Entries, Entry, Login},
    index::Limit,
    keyspace::Names,
    layout::hash::Hash,
    seal::Seal,
    session_id::SessionId,
    tombstone::{self, Whose},
    user::User,
};
use crate::{
    client::{Connection, Failure, Operation},
    error::Error,
};

/// So many sessions are asked for side by side.
const AT_ONCE: usize = 256;

/// What there is of the session that an entry is for.
enum Presence {
    /// And how many milliseconds it has left to live.
    Live(Details, i64),
    /// It may be about to begin, or to become the user's.
    Pending,
    Gone,
}

/// What there is of many.
struct Sorted {
    live: Vec<(SessionId, Details, i64)>,
    /// Those that are no live session of the user, and will not become one.
    gone: Vec<Entry>,
}

impl Sessions {
    /// Those that live, oldest first, with what is noted of them, and how long they have left to live.
    pub(crate) async fn list_of(
        &self,
        user: &User,
    ) -> Result<Vec<(SessionId, Details, i64)>, Error> {
        let op = &self.client.operation("list_of_user");
        let index = self.index(op, user);
        let entries = op.of(index.entries()).await?;
        let Sorted { live, gone } = self.look_at(op, user, &entries).await?;
        // What stays is taken for gone by whoever looks, and goes when its time is up.
        let _ = index.leave(&gone).await;
        Ok(live)
    }

    /// `false` if it is no session of the user.
    pub(crate) async fn end_of(&self, user: &User, id: &SessionId) -> Result<bool, Error> {
        let op = &self.client.operation("end_of_user");
        let index = self.index(op, user);
        let mut entries = op.of(index.entry(id)).await?;
        if entries.all.is_empty() {
            // It may have been renewed a moment ago: then its tombstone says what is the user's now.
            entries.all.push(Entry::new(id.clone(), 0));
        }
        Ok(self.end_entries(op, user, &entries, &[]).await? > 0)
    }

    /// How many have been ended.
    pub(crate) async fn end_all_of(
        &self,
        user: &User,
        but: Option<&SessionId>,
    ) -> Result<usize, Error> {
        let op = &self.client.operation("end_all_of_user");
        let (index, mut but) = (self.index(op, user), Vec::from_iter(but.cloned()));
        let marked = async {
            loop {
                let entries = index.end_all(&but).await?;
                let successor = match but.last() {
                    Some(own) => self.successor_of(op, own).await?,
                    None => None,
                };
                match successor {
                    // Only who writes to Redis beside us makes tombstones tell of each other.
                    Some(successor) if !but.contains(&successor) => but.push(successor),
                    _ => return Ok(entries),
                }
            }
        };
        let mut entries = op.of(marked).await?;
        entries.all.retain(|entry| !but.contains(&entry.id));
        self.end_entries(op, user, &entries, &but).await
    }

    /// What has taken the place of the session, if it was renewed a moment ago: by another request of the same
    /// browser.
    async fn successor_of(
        &self,
        op: &Operation<'_>,
        id: &SessionId,
    ) -> Result<Option<SessionId>, Error> {
        let redis_key = &*self.keyspace.tombstone(id);
        let look = |redis| tombstone::successor(redis, redis_key, &self.keyspace);
        let successor = self.client.run(op, look).await?;
        Ok(successor.map(|successor| successor.id))
    }

    /// Fails if no other session may begin; whoever `has_one` needs no other.
    pub(crate) async fn begin_login(&self, user: &User, has_one: bool) -> Result<Login, Error> {
        let op = &self.client.operation("begin_login");
        let limit = self.policy.limit.filter(|limit| limit.refuses && !has_one);
        let begun = async {
            let entries = self.index(op, user).counted().await?;
            if let Some(Limit {
                sessions: limit, ..
            }) = limit
                && entries.all.len() >= limit
                && entries.all.len() - self.gone_among(op, user, &entries).await?.len() >= limit
            {
                return Err(Error::SessionLimit { limit });
            }
            Ok(entries.login(user.clone()))
        };
        op.of(begun).await
    }

    /// Which of them are no live session of the user, and will not become one.
    pub(super) async fn gone_among(
        &self,
        op: &Operation<'_>,
        user: &User,
        entries: &Entries,
    ) -> Result<Vec<Entry>, Error> {
        Ok(self.look_at(op, user, entries).await?.gone)
    }

    async fn look_at(
        &self,
        op: &Operation<'_>,
        user: &User,
        entries: &Entries,
    ) -> Result<Sorted, Error> {
        let (mut live, mut gone) = (Vec::new(), Vec::new());
        for some in entries.all.chunks(AT_ONCE) {
            // Of thousands, each gets the time that one has.
            let op = &self.client.operation(op.observation.name());
            let found = op.of(self.look_at_some(op, user, entries, some)).await?;
            for (entry, found) in some.iter().zip(found) {
                match found {
                    Presence::Live(details, left_ms) => {
                        live.push((entry.id.clone(), details, left_ms));
                    }
                    Presence::Pending => {}
                    Presence::Gone => gone.push(entry.clone()),
                }
            }
        }
        Ok(Sorted { live, gone })
    }

    async fn look_at_some(
        &self,
        op: &Operation<'_>,
        user: &User,
        entries: &Entries,
        some: &[Entry],
    ) -> Result<Vec<Presence>, Error> {
        let names: Vec<_> = some.iter().map(|it| Names::of_id(it.id.clone())).collect();
        let seals = names.iter().map(|names| names.seal(self.seals()));
        let seals: Vec<_> = seals.collect();
        // One connection is replaced for all that do not open.
        let was_broken = &AtomicBool::new(false);
        let look = |redis: Arc<Connection>| {
            if was_broken.load(Relaxed) {
                seals.iter().for_each(Seal::ask_again);
            }
            let all = some.iter().zip(&names).zip(&seals);
            let looks = all.map(move |((entry, names), seal)| {
                let redis = Arc::clone(&redis);
                let redis_key = self.keyspace.session(names);
                let is_pending = entries.is_pending(entry);
                async move {
                    self.look(redis, &redis_key, names, seal, user, is_pending)
                        .await
                }
            });
            try_join_all(looks).inspect_err(|failure| {
                if let Failure::Transient(fault) = failure
                    && fault.is_broken_seal()
                {
                    was_broken.store(true, Relaxed);
                }
            })
        };
        self.client.run(op, look).await
    }

    /// `is_pending`: it may not have been written yet.
    async fn look(
        &self,
        redis: Arc<Connection>,
        redis_key: &str,
        names: &Names,
        seal: &Seal<'_>,
        user: &User,
        is_pending: bool,
    ) -> Result<Presence, Failure> {
        let hash = || Hash {
            redis: Arc::clone(&redis),
            redis_key,
        };
        let found = or_none(hash().details(seal).await)?.filter(|(details, _)| {
            let owner = details.owner.as_ref();
            owner.is_some_and(|owner| user.is(&owner.user))
        });
        if let Some((details, ttl_left_ms)) = found {
            let left_ms = self.policy.left_ms(&details).unwrap_or(i64::MAX);
            let has_ended = left_ms <= 0
                || match self.keyspace.adopts() {
                    true => has_ended_there(&redis, or_none(hash().copy().await)?).await?,
                    false => false,
                };
            return Ok(match has_ended {
                true => Presence::Gone,
                false => Presence::Live(details, ttl_left_ms.min(left_ms)),
            });
        }
        if is_pending {
            let tombstone = self.keyspace.tombstone(&names.id);
            if tombstone::age(redis, &tombstone).await?.is_none() {
                return Ok(Presence::Pending);
            }
        }
        Ok(Presence::Gone)
    }

    /// How many of them have been ended: live ones, and such as are about to begin. None of `but` is, which may
    /// have taken the place of one of them.
    pub(super) async fn end_entries(
        &self,
        op: &Operation<'_>,
        user: &User,
        entries: &Entries,
        but: &[SessionId],
    ) -> Result<usize, Error> {
        let mut count = 0;
        for some in entries.all.chunks(AT_ONCE) {
            let op = &self.client.operation(op.observation.name());
            let ends = some.iter().map(|entry| {
                let is_pending = entries.is_pending(entry);
                let whose = Whose {
                    user,
                    is_pending,
                    but,
                };
                (Names::of_id(entry.id.clone()), whose)
            });
            let ends: Vec<_> = ends.collect();
            let ended = op.of(self.end_together(op, &ends)).await?;
            count += ended.into_iter().filter(|ended| *ended).count();
            let _ = self.index(op, user).leave(some).await;
        }
        Ok(count)
    }
}

/// What is there is no session, or does not open: none that can be told of.
fn or_none<T>(found: Result<Option<T>, Failure>) -> Result<Option<T>, Failure> {
    match found {
        Err(Failure::Permanent(Error::Unreadable { .. } | Error::BrokenSeal)) => Ok(None),
        found => found,
    }
}

/// Whether the store built into actix-session has ended a session: its copy is gone.
async fn has_ended_there(redis: &Connection, copy: Option<String>) -> Result<bool, Failure> {
    match copy {
        Some(redis_key) => Ok(!redis.query(&Cmd::exists(redis_key)).await?),
        None => Ok(false),
    }
}
