//! What remains of a session that has ended: that it has, since when, and what has taken its place.

use std::{sync::Arc, time::Duration};

use deadpool_redis::redis::{Cmd, Value};

use super::{
    keyspace::{Keyspace, SessionId},
    layout::hash,
    script::END,
    state::State,
};
use crate::client::{Connection, Failure};

/// How long it stays: longer than browsers send cookies that they have been told to replace.
pub(crate) const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// How a session ends.
pub(crate) struct Ending<'a> {
    pub(crate) id: &'a SessionId,
    /// Tells this end from others: of a retry after a lost reply, it is the same.
    pub(crate) who: &'a str,
    pub(crate) successor: Option<&'a SessionId>,
    /// How long its last state is kept for a retry, if that is asked for.
    pub(crate) keep_last_state: Option<Duration>,
}

pub(crate) enum Ended {
    /// What it held, if that was asked for and it was not gone.
    ByUs(Option<State>),
    /// And its successor.
    BySomebodyElse(Option<SessionId>),
}

impl Ending<'_> {
    pub(crate) async fn carry_out(
        &self,
        redis: Arc<Connection>,
        keyspace: &Keyspace,
    ) -> Result<Ended, Failure> {
        let (session, tombstone) = (keyspace.session(self.id), keyspace.tombstone(self.id));
        let redis_keys = [&*session, &tombstone, &keyspace.late(self.id)];
        let milliseconds = |time: Duration| time.as_millis().to_string();
        let (lifetime, kept) = (
            milliseconds(LIFETIME),
            self.keep_last_state.map(milliseconds),
        );
        let add_arguments = |command: &mut Cmd| {
            command.arg(self.who);
            command.arg(self.successor.map_or("", AsRef::as_ref));
            command
                .arg(&lifetime)
                .arg(kept.as_deref().unwrap_or_default());
        };
        Ok(match END.run(&redis, &redis_keys, add_arguments).await? {
            Value::BulkString(successor) => {
                let successor = String::from_utf8(successor).ok();
                Ended::BySomebodyElse(successor.and_then(|id| id.parse().ok()))
            }
            Value::Int(_) => Ended::ByUs(None),
            last_state => match hash::understand(last_state) {
                // What nobody can read holds no change that could be lost.
                Err(Failure::Permanent(_)) => Ended::ByUs(None),
                last_state => Ended::ByUs(last_state?),
            },
        })
    }
}

/// How long ago a session has ended, if it has not been forgotten.
pub(crate) async fn age(
    redis: Arc<Connection>,
    redis_key: &str,
) -> Result<Option<Duration>, Failure> {
    let ttl_left_ms: i64 = redis.query(&Cmd::pttl(redis_key)).await?;
    let ttl_left = u64::try_from(ttl_left_ms).ok().map(Duration::from_millis);
    Ok(ttl_left.map(|left| LIFETIME.saturating_sub(left)))
}
