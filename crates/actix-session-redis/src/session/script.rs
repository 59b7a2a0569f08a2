//! What has to happen in one step on the server, so that no other request can come in between.

use std::{sync::LazyLock, time::Duration};

use deadpool_redis::redis::{Cmd, Value, cmd};
use futures_util::future::try_join_all;
use sha1_smol::Sha1;
use tokio::time::Instant;

use super::{merge::Change, stamp};
use crate::{
    client::{Connection, Failure},
    error::{Error, Fault},
    telemetry::events,
};

static END: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("end.lua")));
static REPLACE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("replace.lua")));
static MERGE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("merge.lua")));

static CHECK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("check.lua")));

struct Script {
    code: &'static str,
    sha1: String,
}

/// Where to write.
pub(crate) struct Target {
    pub(crate) redis_key: String,
    pub(crate) ttl_ms: i64,
    pub(crate) receipt: Option<Receipt>,
}

/// A Redis key whose existence says that a write has been carried out. With one, a write is safe
/// to repeat although others may write in between: it finds its own receipt.
pub(crate) struct Receipt {
    pub(crate) redis_key: String,
    pub(crate) lifetime: Duration,
    /// Before the first try of the write.
    pub(crate) issued: Instant,
}

pub(crate) enum Written {
    Done,
    /// There is no session under this key.
    Gone,
    /// Not written: Redis holds this.
    Conflict(Vec<u8>),
}

pub(crate) enum Ended {
    /// What it held, unless it was gone.
    Now(Option<Vec<u8>>),
    BySomebodyElse,
}

impl Target {
    /// Stores `body` if Redis still holds `expected`.
    pub(crate) async fn replace(
        &self,
        redis: &Connection,
        expected: &[u8],
        body: &[u8],
    ) -> Result<Written, Failure> {
        let written = self
            .write(&REPLACE, redis, |command| {
                command
                    .arg(stamp::comparable(expected))
                    .arg(body)
                    .arg(self.ttl_ms);
            })
            .await?;
        if let Written::Conflict(_) = written {
            events::conflicted();
        }
        Ok(written)
    }

    /// Applies changes to whatever Redis holds, if it can, and if that does not become larger
    /// than `max_bytes`.
    pub(crate) async fn merge(
        &self,
        redis: &Connection,
        changes: &[Change<'_>],
        max_bytes: usize,
    ) -> Result<Written, Failure> {
        let changes = serde_json::to_vec(changes).expect("texts are always JSON");
        let stamp = stamp::draw();
        self.write(&MERGE, redis, |command| {
            command.arg(&changes).arg(self.ttl_ms);
            command.arg(max_bytes).arg(&stamp);
        })
        .await
    }

    async fn write(
        &self,
        script: &Script,
        redis: &Connection,
        add_arguments: impl Fn(&mut Cmd) + Sync,
    ) -> Result<Written, Failure> {
        let receipt = self.receipt.as_ref();
        if let Some(waited) = receipt.and_then(Receipt::outlived) {
            // Nobody could tell any more whether it has been carried out.
            let fault = Fault::no_answer();
            return Err(Failure::Permanent(Error::Unavailable { waited, fault }));
        }
        let reply = script
            .run(redis, |command| {
                match receipt {
                    None => command.arg(1).arg(&self.redis_key),
                    Some(receipt) => command.arg(2).arg(&self.redis_key).arg(&receipt.redis_key),
                };
                add_arguments(command);
                if let Some(receipt) = receipt {
                    command.arg(receipt.ttl_ms());
                }
            })
            .await?;
        Ok(match reply {
            Value::Int(0) => Written::Gone,
            Value::BulkString(theirs) => Written::Conflict(theirs),
            _ => Written::Done,
        })
    }
}

/// Ends the session under `redis_key`, on behalf of `who`, and remembers that for a while.
pub(crate) async fn end(
    redis: &Connection,
    redis_key: &str,
    tombstone: &str,
    who: &str,
    remembered_for_ms: u64,
) -> Result<Ended, Failure> {
    let reply = END
        .run(redis, |command| {
            command.arg(2).arg(redis_key).arg(tombstone);
            command.arg(who).arg(remembered_for_ms);
        })
        .await?;
    Ok(match reply {
        Value::Int(0) => Ended::BySomebodyElse,
        Value::BulkString(state) => Ended::Now(Some(state)),
        _ => Ended::Now(None),
    })
}

/// Does all that requests do, in one round trip.
pub(crate) async fn check(redis: &Connection, redis_key: &str) -> Result<(), Failure> {
    let mut commands = [
        Cmd::get(redis_key),
        cmd("SET"),
        Cmd::pexpire(redis_key, 1000),
        Cmd::pttl(redis_key),
        Cmd::exists(redis_key),
        cmd("EVAL"),
        cmd("EVALSHA"),
    ];
    commands[1].arg(&[redis_key, "", "PX", "1000"]);
    commands[5].arg(CHECK.code).arg(1).arg(redis_key);
    commands[6].arg(&CHECK.sha1).arg(1).arg(redis_key);
    let checks = commands.iter().map(async |command| {
        match redis.query::<Value>(command).await {
            // A server may not have seen the script yet; it may be asked for.
            Err(failure) if failure.is_refusal("NOSCRIPT") => Ok(()),
            checked => checked.map(drop),
        }
    });
    try_join_all(checks).await.map(drop)
}

impl Receipt {
    fn outlived(&self) -> Option<Duration> {
        let age = self.issued.elapsed();
        (age >= self.lifetime).then_some(age)
    }

    fn ttl_ms(&self) -> u64 {
        let ttl_ms = self.lifetime.as_millis().try_into();
        ttl_ms.unwrap_or(u64::MAX).max(1)
    }
}

impl Script {
    fn new(code: &'static str) -> Self {
        Self {
            code,
            sha1: sha1(code.as_bytes()),
        }
    }

    /// By the script's SHA-1; a server that has not seen the script, because it was restarted or
    /// has just taken over, gets the code.
    async fn run(
        &self,
        redis: &Connection,
        add_keys_and_arguments: impl Fn(&mut Cmd) + Sync,
    ) -> Result<Value, Failure> {
        let call = |how: &str, script: &str| {
            let mut command = cmd(how);
            command.arg(script);
            add_keys_and_arguments(&mut command);
            command
        };
        match redis.query(&call("EVALSHA", &self.sha1)).await {
            Err(failure) if failure.is_refusal("NOSCRIPT") => {
                redis.query(&call("EVAL", self.code)).await
            }
            reply => reply,
        }
    }
}

fn sha1(bytes: &[u8]) -> String {
    Sha1::from(bytes).digest().to_string()
}
