//! What there is of the sessions in the index of a user: they are looked at, listed, and ended.

use std::sync::Arc;

use futures_util::future::try_join_all;

use super::{
    details::Details,
    end::{copies_of, details_of, end_together},
    entry::{Entries, Entry, Login},
    index::Limit,
    keyspace::{Names, SessionId, User},
    layout::built_in::BuiltIn,
    storage::Storage,
    tombstone::{self, Whose},
};
use crate::{
    client::{Connection, Operation},
    error::Error,
};

/// So many sessions are asked for side by side.
const AT_ONCE: usize = 256;

/// What there is of the session that an entry is for.
enum Found {
    /// And how many milliseconds it has left to live.
    Live(Details, i64),
    /// It may be about to begin, or to become the user's.
    Pending,
    Gone,
}

/// Those that live, oldest first, with what is noted of them and how long they have left to live.
pub(super) async fn sessions_of(
    storage: &Storage,
    op: &Operation<'_>,
    user: &User,
) -> Result<Vec<(SessionId, Details, i64)>, Error> {
    let index = storage.index(op, user);
    let entries = op.of(index.entries()).await?;
    let (mut live, mut gone) = (Vec::new(), Vec::new());
    for some in entries.all.chunks(AT_ONCE) {
        // Of thousands, each gets the time that one has.
        let op = &storage.client.operation(op.observation.name());
        let found = op.of(look_at(storage, op, user, &entries, some)).await?;
        for (entry, found) in some.iter().zip(found) {
            match found {
                Found::Live(details, left_ms) => live.push((entry.id.clone(), details, left_ms)),
                Found::Pending => {}
                Found::Gone => gone.push(entry.clone()),
            }
        }
    }
    // What stays is taken for gone by whoever looks, and goes when its time is up.
    let _ = index.leave(&gone).await;
    Ok(live)
}

/// `false` if it is no session of the user.
pub(super) async fn end_of(
    storage: &Storage,
    op: &Operation<'_>,
    user: &User,
    id: &SessionId,
) -> Result<bool, Error> {
    let index = storage.index(op, user);
    let mut entries = op.of(index.entry(id)).await?;
    if entries.all.is_empty() {
        // It may have been renewed a moment ago: then its tombstone says what is the user's now.
        entries.all.push(Entry::new(id.clone(), 0));
    }
    Ok(end_entries(storage, op, user, &entries, &[]).await? > 0)
}

/// How many have been ended.
pub(super) async fn end_all_of(
    storage: &Storage,
    op: &Operation<'_>,
    user: &User,
    but: Option<&SessionId>,
) -> Result<usize, Error> {
    let (index, mut but) = (storage.index(op, user), Vec::from_iter(but.cloned()));
    let marked = async {
        loop {
            let entries = index.end_all(&but).await?;
            let successor = match but.last() {
                Some(own) => successor_of(storage, op, own).await?,
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
    end_entries(storage, op, user, &entries, &but).await
}

/// What has taken the place of the session, if it was renewed a moment ago: by another request of the same
/// browser.
async fn successor_of(
    storage: &Storage,
    op: &Operation<'_>,
    id: &SessionId,
) -> Result<Option<SessionId>, Error> {
    let redis_key = &*storage.keyspace.tombstone(id);
    let look = |redis| tombstone::successor(redis, redis_key, &storage.keyspace);
    let successor = storage.client.run(op, look).await?;
    Ok(successor.map(|successor| successor.id))
}

/// Fails if no other session may begin: without a `limit`, any may.
pub(super) async fn begin_login(
    storage: &Storage,
    op: &Operation<'_>,
    user: &User,
    limit: Option<Limit>,
) -> Result<Login, Error> {
    let entries = storage.index(op, user).counted().await?;
    if let Some(Limit {
        sessions: limit,
        refuses: true,
    }) = limit
        && entries.all.len() >= limit
        && entries.all.len() - gone_among(storage, op, user, &entries).await?.len() >= limit
    {
        return Err(Error::SessionLimit { limit });
    }
    Ok(entries.login(user.clone()))
}

/// Which of them are no live session of the user, and will not become one.
pub(super) async fn gone_among(
    storage: &Storage,
    op: &Operation<'_>,
    user: &User,
    entries: &Entries,
) -> Result<Vec<Entry>, Error> {
    let mut gone = Vec::new();
    for some in entries.all.chunks(AT_ONCE) {
        let op = &storage.client.operation(op.observation.name());
        let looks = look_at(storage, op, user, entries, some);
        let found = op.of(looks).await?;
        let of_those = some.iter().zip(found);
        let of_those = of_those.filter(|(_, found)| matches!(found, Found::Gone));
        gone.extend(of_those.map(|(entry, _)| entry.clone()));
    }
    Ok(gone)
}

async fn look_at(
    storage: &Storage,
    op: &Operation<'_>,
    user: &User,
    entries: &Entries,
    some: &[Entry],
) -> Result<Vec<Found>, Error> {
    let ids: Vec<_> = some.iter().map(|entry| &entry.id).collect();
    let found = details_of(storage, op, &ids).await?;
    let found = some.iter().zip(found).map(|(entry, found)| match found {
        Some((details, ttl_left_ms)) if is_of(&details, user) => {
            match storage.rules.policy.left_ms(&details) {
                Some(..=0) => Found::Gone,
                left_ms => Found::Live(details, ttl_left_ms.min(left_ms.unwrap_or(i64::MAX))),
            }
        }
        _ if entries.is_pending(entry) => Found::Pending,
        _ => Found::Gone,
    });
    let mut found: Vec<_> = found.collect();
    if storage.keyspace.adopts() {
        let is_live = |(_, found): &(&&SessionId, &mut Found)| matches!(found, Found::Live(..));
        let live = ids.iter().zip(&mut found).filter(is_live);
        let (ids, live): (Vec<_>, Vec<_>) = live.map(|(id, found)| (*id, found)).unzip();
        let ended = ended_there(storage, op, &ids).await?;
        for (found, _) in live.into_iter().zip(ended).filter(|(_, ended)| *ended) {
            *found = Found::Gone;
        }
    }
    let is_pending = |(_, found): &(&&SessionId, &mut Found)| matches!(found, Found::Pending);
    let (ids, pending): (Vec<_>, Vec<_>) = ids.iter().zip(&mut found).filter(is_pending).unzip();
    if !ids.is_empty() {
        let ended = have_ended(storage, op, &ids).await?;
        for (found, _) in pending.into_iter().zip(ended).filter(|(_, ended)| *ended) {
            *found = Found::Gone;
        }
    }
    Ok(found)
}

/// How many of them have been ended: live ones, and such as are about to begin. None of `but` is, which may
/// have taken the place of one of them.
pub(super) async fn end_entries(
    storage: &Storage,
    op: &Operation<'_>,
    user: &User,
    entries: &Entries,
    but: &[SessionId],
) -> Result<usize, Error> {
    let mut count = 0;
    for some in entries.all.chunks(AT_ONCE) {
        let op = &storage.client.operation(op.observation.name());
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
        let ended = op.of(end_together(storage, op, &ends)).await?;
        count += ended.into_iter().filter(|ended| *ended).count();
        let _ = storage.index(op, user).leave(some).await;
    }
    Ok(count)
}

/// Which of these sessions the store built into actix-session has ended: their copies are gone.
async fn ended_there(
    storage: &Storage,
    op: &Operation<'_>,
    ids: &[&SessionId],
) -> Result<Vec<bool>, Error> {
    let copies = &copies_of(storage, op, ids).await?;
    let look = |redis: Arc<Connection>| {
        let looks = copies.iter().map(move |copy| {
            let redis = Arc::clone(&redis);
            async move {
                match copy {
                    Some(redis_key) => BuiltIn { redis, redis_key }.exists().await.map(|is| !is),
                    None => Ok(false),
                }
            }
        });
        try_join_all(looks)
    };
    storage.client.run(op, look).await
}

/// Which of these sessions have ended, as far as that is remembered.
async fn have_ended(
    storage: &Storage,
    op: &Operation<'_>,
    ids: &[&&SessionId],
) -> Result<Vec<bool>, Error> {
    let look = |redis: Arc<Connection>| {
        let looks = ids.iter().map(move |id| {
            let redis = Arc::clone(&redis);
            async move {
                let age = tombstone::age(redis, &storage.keyspace.tombstone(id)).await;
                age.map(|age| age.is_some())
            }
        });
        try_join_all(looks)
    };
    storage.client.run(op, look).await
}

fn is_of(details: &Details, user: &User) -> bool {
    let owner = details.owner.as_ref();
    owner.is_some_and(|owner| user.is(&owner.user))
}
