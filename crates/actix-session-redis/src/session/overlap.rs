//! Writing a session that other requests may be writing as well.

use std::sync::atomic::Ordering::Relaxed;

use actix_session::storage::SessionKey;
use actix_web::cookie::time::Duration;
use deadpool_redis::redis::AsyncCommands;
use tokio::time::Instant;

use crate::{
    client::operation::Operation,
    error::Error,
    middleware::request_scope::{self, Renewed, Snapshot},
    session::codec::{self, State},
    session::entry,
    session::script::{Receipt, Target, Written},
    session::stamp::{stamped, without_stamp},
    store::RedisSessionStore,
    telemetry,
};

/// So much longer than the deadline a receipt is kept: a retry is late when its thread was blocked,
/// or Redis did not get to it at once.
const RECEIPT_SLACK: std::time::Duration = std::time::Duration::from_secs(60);

impl RedisSessionStore {
    /// Last write wins. `false` if there is no session any more, here and below.
    pub(crate) async fn replace(
        &self,
        redis: &Operation<'_>,
        session_key: &SessionKey,
        state: &State,
        ttl: &Duration,
    ) -> Result<bool, Error> {
        let entry = self.entry(state, ttl)?;
        let redis_key = self.keyspace.session(session_key);
        redis
            .run(async |mut redis| entry.replace(&mut redis, &redis_key).await)
            .await
    }

    /// Stores what a request has made of `base`, merged with what others have made of it
    /// meanwhile.
    pub(crate) async fn merge(
        &self,
        redis: &Operation<'_>,
        session_key: &SessionKey,
        base: &Snapshot,
        ours: &State,
        ttl: &Duration,
    ) -> Result<bool, Error> {
        let body = codec::encode(ours, self.max_state_bytes)?;
        if body == without_stamp(&base.body) {
            return self.refresh(redis, session_key, ttl).await;
        }
        let counts_twice = self.merge_rules.concern(&base.body, ours)?;
        let target = Target {
            redis_key: self.keyspace.session(session_key),
            ttl_ms: entry::ttl_ms(ttl)?,
            receipt: counts_twice.then(|| Receipt {
                redis_key: self.keyspace.receipt(session_key),
                lifetime: self.leases.deadline + RECEIPT_SLACK,
                issued: Instant::now(),
            }),
        };

        match self.compare_and_set(redis, &target, base, ours, body).await {
            // Another type of value, so there is nothing to merge with.
            Err(Error::Unreadable { .. }) => {
                Box::pin(self.replace(redis, session_key, ours, ttl)).await
            }
            merged => merged,
        }
    }

    async fn compare_and_set(
        &self,
        redis: &Operation<'_>,
        target: &Target,
        base: &Snapshot,
        ours: &State,
        body: Vec<u8>,
    ) -> Result<bool, Error> {
        let body = stamped(body);
        let written = redis
            .run(async |mut redis| target.replace(&mut redis, &base.body, &body).await)
            .await?;
        match written {
            Written::Done => Ok(true),
            Written::Gone => Ok(false),
            Written::Conflict(theirs) => {
                Box::pin(self.resolve(redis, target, base, ours, theirs)).await
            }
        }
    }

    /// Merges on the server, in one step however many others write; or here, again and again, if
    /// a function of the application's has to decide.
    async fn resolve(
        &self,
        redis: &Operation<'_>,
        target: &Target,
        base: &Snapshot,
        ours: &State,
        theirs: Vec<u8>,
    ) -> Result<bool, Error> {
        let limit = self.max_state_bytes;
        let base = codec::decode(&base.body)?;
        let mut written = match self.merge_rules.changes(&base, ours) {
            // Lua is content with less than what is a state.
            Some(changes) if codec::decode(&theirs).is_ok() => {
                redis
                    .run(async |mut redis| target.merge(&mut redis, &changes, limit).await)
                    .await?
            }
            _ => Written::Conflict(theirs),
        };
        let mut tries = 1;
        loop {
            tries += 1;
            let theirs = match written {
                Written::Done => {
                    telemetry::events::merged();
                    return Ok(true);
                }
                Written::Gone => return Ok(false),
                Written::Conflict(_) if !redis.has_time_for_a_try() => {
                    return Err(Error::Contended { tries });
                }
                Written::Conflict(theirs) => theirs,
            };
            // What nobody can read holds no change that could be lost.
            let their_state = codec::decode(&theirs).unwrap_or_else(|_| base.clone());
            let merged = self.merge_rules.merge(&base, &their_state, ours)?;
            let body = stamped(codec::encode(&merged, limit)?);
            written = redis
                .run(async |mut redis| target.replace(&mut redis, &theirs, &body).await)
                .await?;
        }
    }

    /// The state to renew a session with: ours, and what others have changed since it was loaded.
    pub(crate) fn with_late_changes(&self, ours: State) -> Result<State, Error> {
        let Some(Renewed { base, theirs }) = request_scope::take_renewed() else {
            return Ok(ours);
        };
        match (codec::decode(&base.body), codec::decode(&theirs)) {
            (Ok(base), Ok(theirs)) => self.merge_rules.merge(&base, &theirs, &ours),
            _ => Ok(ours),
        }
    }

    /// Stores the state of a session that is gone, under a new session key, if it has expired
    /// while the request ran. Not if it has ended.
    pub(crate) async fn save_expired(
        &self,
        redis: &Operation<'_>,
        session_key: &SessionKey,
        state: &State,
        ttl: &Duration,
    ) -> Result<Option<SessionKey>, Error> {
        let ended = self.keyspace.ended(session_key);
        let has_ended = async || {
            redis
                .run(async |mut redis| Ok(redis.exists(&ended).await?))
                .await
        };
        if !has_ended().await? {
            let entry = self.entry(state, ttl)?;
            let new_session_key = redis
                .run(async |mut redis| entry.create(&mut redis, &self.keyspace).await)
                .await?;
            if !has_ended().await? {
                return Ok(Some(new_session_key));
            }
            // It ended just now, and whoever ended it cannot know the new key.
            let redis_key = self.keyspace.session(&new_session_key);
            redis
                .run(async |mut redis| Ok(redis.del::<_, ()>(&redis_key).await?))
                .await?;
        }
        redis.drops_write();
        request_scope::end_session();
        Ok(None)
    }

    /// Lets the session live for another TTL; in a scope, only if that makes a difference.
    pub(crate) async fn refresh(
        &self,
        redis: &Operation<'_>,
        session_key: &SessionKey,
        ttl: &Duration,
    ) -> Result<bool, Error> {
        let ttl_ms = entry::ttl_ms(ttl)?;
        self.refreshes.store(true, Relaxed);
        let base = request_scope::base(&self.keyspace, session_key);
        if base.is_some_and(|base| base.is_fresh(ttl_ms)) {
            // Whoever set the TTL a moment ago has set the cookie as well.
            request_scope::leave_cookie();
            return Ok(true);
        }
        let redis_key = self.keyspace.session(session_key);
        redis
            .run(async |mut redis| Ok(redis.pexpire(&redis_key, ttl_ms).await?))
            .await
    }
}
