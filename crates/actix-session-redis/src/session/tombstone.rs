//! What remains of a session that has ended: that it has, since when, and what has taken its place.

use std::{sync::Arc, time::Duration};

use deadpool_redis::redis::{Cmd, Value};

use super::{
    keyspace::{Keyspace, Layout, Names},
    layout::{built_in, fields},
    script::{BUILT_IN_END, END},
    seal::Seal,
    session_id::SessionId,
    session_key::TOKEN_LENGTH,
    state::State,
    user::User,
};
use crate::{
    client::{Connection, Failure},
    error::Error,
};

/// How long it stays: longer than browsers send cookies that they have been told to replace. When the session has
/// ended is known by what is left of it, so never from longer ago.
pub(crate) const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// How a session ends.
pub(crate) struct Ending<'a> {
    /// Tells this end from others: of a retry after a lost reply, it is the same.
    pub(crate) who: &'a str,
    pub(crate) successor: Option<&'a Names>,
    /// How long its last state is kept for a retry, if that is asked for.
    pub(crate) keep_last_state: Option<Duration>,
    /// Whose it must be, if that matters.
    pub(crate) whose: Option<&'a Whose<'a>>,
}

/// Whose a session is, as the index has it.
pub(crate) struct Whose<'a> {
    pub(crate) user: &'a User,
    /// It may become theirs, or begin, at any moment.
    pub(crate) is_pending: bool,
    /// It does not end with one that it has taken the place of, if it is one of these.
    pub(crate) but: &'a [SessionId],
}

pub(crate) enum Ended {
    /// What it held, if that was asked for and it was not gone.
    ByUs(Option<State>),
    /// What it held cannot be read.
    ByUsUnread(Error),
    /// And its successor.
    BySomebodyElse(Option<Names>),
    /// It is somebody else's, and stays.
    NotTheirs,
}

impl<'a> Ending<'a> {
    /// With nothing in its place.
    pub(crate) fn of(who: &'a str, whose: Option<&'a Whose<'a>>) -> Self {
        Self {
            who,
            successor: None,
            keep_last_state: None,
            whose,
        }
    }

    pub(crate) async fn carry_out(
        &self,
        redis: Arc<Connection>,
        names: &Names,
        keyspace: &Keyspace,
        seal: &Seal<'_>,
    ) -> Result<Ended, Failure> {
        let (session, id) = (keyspace.session(names), &names.id);
        let (tombstone, last_state) = (&*keyspace.tombstone(id), &*keyspace.last_state(id));
        let redis_keys = [&*session, tombstone, last_state].into_iter();
        let redis_keys: Vec<_> = redis_keys.chain(keyspace.copy(names)).collect();
        let milliseconds = |time: Duration| time.as_millis().to_string();
        let successor = self.successor.map(|it| keyspace.encode_successor(it));
        let add_arguments = |command: &mut Cmd| {
            command.arg(self.who).arg(successor.unwrap_or_default());
            command.arg(milliseconds(LIFETIME));
            command.arg(self.keep_last_state.map(milliseconds).unwrap_or_default());
            // Without more arguments than needed: Redis closes the connection of whoever sends many and no password.
            if keyspace.adopts() || self.whose.is_some() {
                command.arg(if keyspace.adopts() { "1" } else { "" });
            }
            if let Some(Whose {
                user, is_pending, ..
            }) = self.whose
            {
                command.arg(if *is_pending { "1" } else { "" });
                for id in user.ids() {
                    command.arg(id.as_ref());
                }
            }
        };
        let script = match keyspace.layout() {
            Layout::Hash => &END,
            Layout::BuiltIn => &BUILT_IN_END,
        };
        let reply = script.run(&redis, &redis_keys, add_arguments).await?;
        Ended::parse(reply, keyspace, seal)
    }
}

impl Ended {
    /// From what `end.lua` returns, or `built_in_end.lua`.
    pub(super) fn parse(
        reply: Value,
        keyspace: &Keyspace,
        seal: &Seal<'_>,
    ) -> Result<Self, Failure> {
        let last_state = match reply {
            Value::BulkString(successor) => {
                return Ok(Self::BySomebodyElse(keyspace.decode_successor(successor)));
            }
            Value::Int(2) => return Ok(Self::NotTheirs),
            Value::Int(_) => return Ok(Self::ByUs(None)),
            last_state => match keyspace.layout() {
                Layout::Hash => {
                    fields::parse(last_state, seal).map(|snapshot| snapshot.map(|it| it.state))
                }
                Layout::BuiltIn => built_in::parse(last_state),
            },
        };
        match last_state {
            Err(Failure::Permanent(error)) => Ok(Self::ByUsUnread(error)),
            last_state => Ok(Self::ByUs(last_state?)),
        }
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

/// What has taken the place of a session that has ended, if something has.
pub(crate) async fn successor(
    redis: Arc<Connection>,
    redis_key: &str,
    keyspace: &Keyspace,
) -> Result<Option<Names>, Failure> {
    let ended: Option<Vec<u8>> = match redis.query(&Cmd::get(redis_key)).await {
        Err(Failure::Permanent(Error::Unreadable { .. })) => None,
        ended => ended?,
    };
    let successor = ended.and_then(|ended| Some(ended.get(TOKEN_LENGTH..)?.to_vec()));
    Ok(successor.and_then(|successor| keyspace.decode_successor(successor)))
}
