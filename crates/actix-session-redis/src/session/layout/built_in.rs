//! The names and bytes of the store built into actix-session: a session is a Redis string under its
//! session key.
//!
//! Whatever is known of that store is in this file, but for the names, which are in `keyspace`.

use std::{collections::BTreeMap, sync::Arc};

use deadpool_redis::redis::{Cmd, Value, cmd, from_redis_value};
use futures_util::future::{try_join, try_join_all};
use serde_json::value::RawValue;

use super::asked::{Begun, Birth, Replacement, Written, is_done};
use crate::{
    client::{Connection, Failure},
    error::Error,
    session::{
        script::{BUILT_IN_CREATE, out_of_step},
        snapshot::Snapshot,
        state::{State, fields, load_field},
    },
};

/// What is under one Redis key, on one connection.
pub(crate) struct BuiltIn<'a> {
    pub(crate) redis: Arc<Connection>,
    pub(crate) redis_key: &'a str,
}

impl BuiltIn<'_> {
    pub(crate) async fn read(self, with_ttl: bool) -> Result<Option<Snapshot>, Failure> {
        let found = self.read_bytes(with_ttl).await?;
        Ok(found.map(|(snapshot, _)| snapshot))
    }

    /// And the bytes that it was read from.
    pub(crate) async fn read_bytes(
        self,
        with_ttl: bool,
    ) -> Result<Option<(Snapshot, Vec<u8>)>, Failure> {
        let Self { redis, redis_key } = self;
        let get = Cmd::get(redis_key);
        let (bytes, ttl_left_ms) = if with_ttl {
            let pttl = Cmd::pttl(redis_key);
            try_join(redis.query::<Value>(&get), redis.query::<i64>(&pttl)).await?
        } else {
            (redis.query(&get).await?, -1)
        };
        let bytes = match bytes {
            Value::Nil => return Ok(None),
            Value::BulkString(bytes) => bytes,
            _ => return Err(out_of_step()),
        };
        let state = decode(&bytes).map_err(Failure::Permanent)?;
        let snapshot = Snapshot::now(state).with_ttl(ttl_left_ms);
        Ok(Some((snapshot, bytes)))
    }

    /// By a script: a try that comes late must not begin anew what has ended since.
    pub(crate) async fn create(self, birth: &Birth<'_>) -> Result<Begun, Failure> {
        let body = encode(birth.state);
        let add_arguments = |command: &mut Cmd| {
            command.arg(birth.ttl_ms).arg(&body);
        };
        let redis_keys = [self.redis_key, birth.tombstone];
        let created = BUILT_IN_CREATE.run(&self.redis, &redis_keys, add_arguments);
        match is_done(&created.await?)? {
            true => Ok(Begun::Done),
            false => Ok(Begun::Taken),
        }
    }

    pub(crate) async fn replace(self, with: &Replacement<'_>) -> Result<Written, Failure> {
        let mut set = cmd("SET");
        set.arg(self.redis_key).arg(encode(with.state)).arg("XX");
        match with.ttl_ms {
            Some(ttl_ms) => set.arg("PX").arg(ttl_ms),
            None => set.arg("KEEPTTL"),
        };
        match self.redis.query(&set).await? {
            Value::Nil => Ok(Written::Gone),
            Value::Okay => Ok(Written::Done),
            _ => Err(out_of_step()),
        }
    }

    /// Does all that requests do, under a Redis key that is no session's.
    pub(crate) async fn check(self) -> Result<(), Failure> {
        let Self {
            redis,
            redis_key: key,
        } = self;
        let mut set = cmd("SET");
        set.arg(key).arg("").arg("PX").arg(1000);
        let commands = [
            set,
            Cmd::get(key),
            Cmd::pttl(key),
            Cmd::pexpire(key, 1000),
            Cmd::unlink(key),
        ];
        let checked = commands.iter().map(|command| redis.query::<Value>(command));
        try_join_all(checked).await.map(drop)
    }
}

/// What `built_in_end.lua` returns.
pub(crate) fn parse(last_state: Value) -> Result<Option<State>, Failure> {
    let last_state: (Option<Vec<u8>>,) = from_redis_value(last_state).map_err(|_| out_of_step())?;
    let state = last_state.0.map(|bytes| decode(&bytes)).transpose();
    state.map_err(Failure::Permanent)
}

/// As actix-session 0.11 does: a JSON object of field name to JSON text.
pub(crate) fn encode(state: &State) -> Vec<u8> {
    let fields: BTreeMap<_, _> = fields(state).collect();
    serde_json::to_vec(&fields).expect("a map of texts is always JSON")
}

/// Of actix-session 0.11, or of the release that follows it.
pub(crate) fn decode(bytes: &[u8]) -> Result<State, Error> {
    let fields = serde_json::from_slice(bytes).or_else(|_| decode_versioned(bytes))?;
    let mut state = State::new();
    for (name, json) in BTreeMap::<String, String>::into_iter(fields) {
        load_field(&mut state, name.as_bytes(), json.into_bytes())?;
    }
    Ok(state)
}

/// `{"v":1,"state":{…}}`, where the fields are JSON values. No state of 0.11 looks like it, because
/// there `v` is text.
fn decode_versioned(bytes: &[u8]) -> Result<BTreeMap<String, String>, Error> {
    type Object<'a> = BTreeMap<String, &'a RawValue>;

    let reason = "it is not the JSON of a session state";
    let object =
        |json| serde_json::from_slice::<Object<'_>>(json).map_err(|_| Error::Unreadable { reason });
    let versioned = object(bytes)?;
    let part = |name| versioned.get(name).map_or("", |json| json.get());
    if part("v") != "1" && part("v").parse::<u64>().is_ok() {
        let reason = "it is of an unknown format version";
        return Err(Error::Unreadable { reason });
    }
    let fields = object(part("state").as_bytes())?.into_iter();
    Ok(fields
        .map(|(name, json)| (name, json.get().to_owned()))
        .collect())
}

#[cfg(test)]
#[path = "../../../tests/unit/built_in.rs"]
mod tests;
