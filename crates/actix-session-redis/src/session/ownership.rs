//! Whose a session becomes, and what that asks of the index: before it is written, after it was, and
//! when all that a user has are to be seen or ended.

use super::{
    details::Details,
    index::{Entered, Entering, Entries, Entry, Limit, Login, Owner},
    keyspace::{Names, SessionId, UserId},
    plan::Plan,
    record::Storage,
    tombstone::Whose,
};
use crate::{client::Operation, error::Error};

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

impl Storage {
    /// Enters the session into the index, if it has to be. `false` if all sessions of the user were
    /// ended meanwhile, this one among them.
    pub(super) async fn enter(
        &self,
        op: &Operation<'_>,
        id: &SessionId,
        from: Option<&SessionId>,
        plan: &mut Plan,
    ) -> Result<bool, Error> {
        let Some(enters) = &plan.enters else {
            return Ok(true);
        };
        let index = self.index(op, &enters.user);
        let entering = Entering {
            id,
            from,
            since: enters.since,
            ttl_ms: plan.ttl_ms,
            stays: enters.stays,
            limit: enters.limit,
        };
        let mut gone = Vec::new();
        let owner = loop {
            match index.enter(&entering, &gone).await? {
                Entered::Done(owner) => break owner,
                Entered::TooMany(owner, entries) => {
                    self.make_room(op, &entering, &owner.user, entries).await?;
                    break owner;
                }
                Entered::Refused(entries) => {
                    gone = self.gone(op, &enters.user, &entries).await?;
                    if let (true, Some(limit)) = (gone.is_empty(), enters.limit) {
                        return Err(Error::SessionLimit {
                            limit: limit.sessions,
                        });
                    }
                }
                Entered::Overtaken if enters.is_login => return Err(Error::Overtaken),
                Entered::Overtaken => return Ok(false),
            }
        };
        plan.is_entered(owner);
        Ok(true)
    }

    /// After a write: the session is in no index but that of its owner.
    pub(super) async fn leave(&self, op: &Operation<'_>, id: &SessionId, owner: Option<&Owner>) {
        if let Some(Owner { user, entered, .. }) = owner {
            let (id, entered) = (id.clone(), *entered);
            // What stays is taken for gone by whoever looks, and goes when its time is up.
            let _ = self.index(op, user).leave(&[Entry { id, entered }]).await;
        }
    }

    /// Those that live, oldest first, with what is noted of them and how long they have left to live.
    pub(super) async fn sessions_of(
        &self,
        op: &Operation<'_>,
        user: &UserId,
    ) -> Result<Vec<(SessionId, Details, i64)>, Error> {
        let index = self.index(op, user);
        let entries = op.observation.of(index.entries()).await?;
        let (mut live, mut gone) = (Vec::new(), Vec::new());
        for some in entries.all.chunks(AT_ONCE) {
            // Of thousands, each gets the time that one has.
            let op = &self.client.operation(op.observation.name());
            let found = op
                .observation
                .of(self.look_at(op, user, &entries, some))
                .await?;
            for (entry, found) in some.iter().zip(found) {
                match found {
                    Found::Live(details, left_ms) => {
                        live.push((entry.id.clone(), details, left_ms))
                    }
                    Found::Pending => {}
                    Found::Gone => gone.push(entry.clone()),
                }
            }
        }
        index.leave(&gone).await?;
        Ok(live)
    }

    /// `false` if it is no session of the user.
    pub(super) async fn end_of(
        &self,
        op: &Operation<'_>,
        user: &UserId,
        id: &SessionId,
    ) -> Result<bool, Error> {
        let index = self.index(op, user);
        let entries = op.observation.of(index.entry(id)).await?;
        Ok(self.end_entries(op, user, &entries).await? > 0)
    }

    /// How many have been ended.
    pub(super) async fn end_all_of(
        &self,
        op: &Operation<'_>,
        user: &UserId,
        but: Option<&SessionId>,
    ) -> Result<usize, Error> {
        let index = self.index(op, user);
        let mut entries = op.observation.of(index.end_all(but)).await?;
        entries.all.retain(|entry| Some(&entry.id) != but);
        self.end_entries(op, user, &entries).await
    }

    /// Fails if no other session may begin.
    pub(super) async fn begin_login(
        &self,
        op: &Operation<'_>,
        user: &UserId,
        limit: Option<Limit>,
    ) -> Result<Login, Error> {
        let entries = self.index(op, user).entries().await?;
        if let Some(Limit {
            sessions: limit,
            refuses: true,
        }) = limit
            && entries.all.len() >= limit
            && entries.all.len() - self.gone(op, user, &entries).await?.len() >= limit
        {
            return Err(Error::SessionLimit { limit });
        }
        Ok(entries.login(user.clone()))
    }

    /// Ends the oldest.
    async fn make_room(
        &self,
        op: &Operation<'_>,
        entering: &Entering<'_>,
        user: &UserId,
        mut entries: Entries,
    ) -> Result<(), Error> {
        let limit = entering.limit.map_or(usize::MAX, |limit| limit.sessions);
        entries.all.retain(|entry| Some(&entry.id) != entering.from);
        if entries.all.len() <= limit {
            return Ok(());
        }
        let gone = self.gone(op, user, &entries).await?;
        let index = self.index(op, user);
        index.leave(&gone).await?;
        entries
            .all
            .retain(|entry| gone.iter().all(|gone| gone.id != entry.id));
        let too_many = entries.all.len().saturating_sub(limit);
        entries.all.truncate(too_many);
        self.end_entries(op, user, &entries).await.map(drop)
    }

    /// Which of them are no live session of the user, and will not become one.
    async fn gone(
        &self,
        op: &Operation<'_>,
        user: &UserId,
        entries: &Entries,
    ) -> Result<Vec<Entry>, Error> {
        let mut gone = Vec::new();
        for some in entries.all.chunks(AT_ONCE) {
            let found = self.look_at(op, user, entries, some).await?;
            let of_those = some.iter().zip(found);
            let of_those = of_those.filter(|(_, found)| matches!(found, Found::Gone));
            gone.extend(of_those.map(|(entry, _)| entry.clone()));
        }
        Ok(gone)
    }

    async fn look_at(
        &self,
        op: &Operation<'_>,
        user: &UserId,
        entries: &Entries,
        some: &[Entry],
    ) -> Result<Vec<Found>, Error> {
        let ids: Vec<_> = some.iter().map(|entry| &entry.id).collect();
        let found = self.details_of(op, &ids).await?;
        let found = some.iter().zip(found).map(|(entry, found)| match found {
            Some((details, left_ms)) if is_of(&details, user) => Found::Live(details, left_ms),
            _ if entries.is_pending(entry) => Found::Pending,
            _ => Found::Gone,
        });
        let mut found: Vec<_> = found.collect();
        let is_pending = |(_, found): &(&&SessionId, &mut Found)| matches!(found, Found::Pending);
        let (ids, pending): (Vec<_>, Vec<_>) =
            ids.iter().zip(&mut found).filter(is_pending).unzip();
        if !ids.is_empty() {
            let ended = self.have_ended(op, &ids).await?;
            for (found, _) in pending.into_iter().zip(ended).filter(|(_, ended)| *ended) {
                *found = Found::Gone;
            }
        }
        Ok(found)
    }

    /// How many of them have been ended: live ones, and such as are about to begin.
    async fn end_entries(
        &self,
        op: &Operation<'_>,
        user: &UserId,
        entries: &Entries,
    ) -> Result<usize, Error> {
        let mut count = 0;
        for some in entries.all.chunks(AT_ONCE) {
            let op = &self.client.operation(op.observation.name());
            let ends = some.iter().map(|entry| {
                let is_pending = entries.is_pending(entry);
                (Names::of_id(entry.id.clone()), Whose { user, is_pending })
            });
            let ends: Vec<_> = ends.collect();
            let ended = op.observation.of(self.end_together(op, &ends)).await?;
            count += ended.into_iter().filter(|ended| *ended).count();
            self.index(op, user).leave(some).await?;
        }
        Ok(count)
    }
}

fn is_of(details: &Details, user: &UserId) -> bool {
    let owner = details.owner.as_ref();
    owner.is_some_and(|owner| owner.user == *user)
}
