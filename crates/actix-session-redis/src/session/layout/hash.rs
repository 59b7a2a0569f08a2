//! A session is a Redis hash: a field for each field of its state, with the JSON text as its value,
//! and a few of ours.
//!
//! It exists if it has the field [`BORN`], which only [`Hash::create`] brings. So a write that comes
//! too late can at worst leave a hash without it, which is no session.

use std::sync::Arc;

use deadpool_redis::redis::{Cmd, Value, cmd};
use futures_util::future::{try_join, try_join_all};

use super::{
    asked::{Begun, Birth, Replacement, Source, Written, is_done},
    built_in::encode,
    fields::{
        COPY, OwnFields, add_fields, add_guarded, add_own_fields, expected, or_empty, parse,
        removed_own,
    },
};
use crate::{
    client::{Connection, Failure},
    error::Error,
    session::{
        changes::Changes,
        details::{BORN, Details},
        idempotency::IdempotencyKey,
        script::{CHECK, CHECK_USERS, CREATE, REPLACE, SWEEP, Script, WRITE, out_of_step},
        seal::Seal,
        snapshot::Snapshot,
        state::fields,
    },
};

/// What is under one Redis key, on one connection.
pub(crate) struct Hash<'a> {
    pub(crate) redis: Arc<Connection>,
    pub(crate) redis_key: &'a str,
}

impl Hash<'_> {
    /// Reads a session, and on demand how many milliseconds it has left to live, in one round trip.
    pub(crate) async fn read(
        self,
        with_ttl: bool,
        seal: &Seal<'_>,
    ) -> Result<Option<Snapshot>, Failure> {
        let Self { redis, redis_key } = self;
        let hgetall = Cmd::hgetall(redis_key);
        let (fields, ttl_left_ms) = if with_ttl {
            let pttl = Cmd::pttl(redis_key);
            try_join(redis.query(&hgetall), redis.query::<i64>(&pttl)).await?
        } else {
            (redis.query(&hgetall).await?, -1)
        };
        let snapshot = parse(fields, seal)?;
        Ok(snapshot.map(|snapshot| snapshot.with_ttl(ttl_left_ms)))
    }

    pub(crate) async fn create(self, birth: &Birth<'_>, seal: &Seal<'_>) -> Result<Begun, Failure> {
        let own = Details::default().changes(birth.details);
        let add_arguments = |command: &mut Cmd| {
            command.arg(birth.born);
            command.arg(birth.ttl_ms).arg(or_empty(birth.latest));
            match (birth.copy, birth.source) {
                (None, _) => &mut *command,
                (_, Source::State) => command.arg("new").arg(encode(birth.state)),
                (_, Source::Copy(bytes)) => command.arg("as it was").arg(bytes),
                (_, Source::AnyCopy) => command.arg("as it is").arg(""),
            };
            add_own_fields(command, &own, seal);
            add_fields(command, fields(birth.state), seal);
        };
        let redis_keys = [self.redis_key, birth.tombstone].into_iter();
        let redis_keys: Vec<_> = redis_keys.chain(birth.copy).collect();
        match CREATE.run(&self.redis, &redis_keys, add_arguments).await? {
            Value::Int(0) => Ok(Begun::Taken),
            Value::Int(1) => Ok(Begun::Done),
            Value::Int(2) => Ok(Begun::Ended),
            Value::Int(3) => Ok(Begun::Before),
            Value::Int(4) => Ok(Begun::Changed),
            _ => Err(out_of_step()),
        }
    }

    pub(crate) async fn replace(
        self,
        with: &Replacement<'_>,
        copy: Option<&str>,
        seal: &Seal<'_>,
    ) -> Result<Written, Failure> {
        let removed = removed_own(with.own);
        let replaced = self.run(&REPLACE, copy, |command| {
            command
                .arg(or_empty(with.ttl_ms))
                .arg(or_empty(with.latest));
            command.arg(expected(with.owner_text));
            command.arg(removed.len()).arg(2 * with.state.len());
            command.arg(&removed);
            add_fields(command, fields(with.state), seal);
            add_own_fields(command, with.own, seal);
        });
        match replaced.await? {
            Value::Int(0) => Ok(Written::Gone),
            Value::Int(1) => Ok(Written::Done),
            Value::Int(2) => Ok(Written::Conflict(Vec::new())),
            _ => Err(out_of_step()),
        }
    }

    /// What is noted of the session beside its state, and how many milliseconds it has left to live.
    pub(crate) async fn details(self, seal: &Seal<'_>) -> Result<Option<(Details, i64)>, Failure> {
        let Self { redis, redis_key } = self;
        let mut names = vec![BORN];
        names.extend(Details::names());
        let (values, ttl_left_ms) = try_join(
            redis.query::<Vec<Option<Vec<u8>>>>(cmd("HMGET").arg(redis_key).arg(&names)),
            redis.query(&Cmd::pttl(redis_key)),
        )
        .await?;
        let details = OwnFields::details(names.into_iter().zip(values), seal)?;
        Ok(details.map(|details| (details, ttl_left_ms)))
    }

    /// The Redis key of the copy that the session has, if it has one.
    pub(crate) async fn copy(self) -> Result<Option<String>, Failure> {
        self.redis.query(&Cmd::hget(self.redis_key, COPY)).await
    }

    /// Without a `key` it may be carried out again. Without `ttl_ms` its TTL stays, and that of its copy.
    pub(crate) async fn write(
        self,
        changes: &Changes<'_>,
        ttl_ms: Option<i64>,
        copy: Option<&str>,
        key: Option<&IdempotencyKey<'_>>,
        seal: &Seal<'_>,
    ) -> Result<Written, Failure> {
        let is_reborn = changes.own.iter().any(|(field, _)| *field == BORN);
        match ttl_ms {
            // redis-rs does not follow a slot that moves with a transaction.
            Some(ttl_ms)
                if changes.guarded.is_empty()
                    && changes.latest.is_none()
                    && changes.owner_text.is_none()
                    && !is_reborn
                    && !self.redis.is_cluster() =>
            {
                self.write_plainly(changes, ttl_ms, copy, seal).await
            }
            _ => self.write_by_script(changes, ttl_ms, copy, key, seal).await,
        }
    }

    /// The commands are a transaction, so that nothing stands without a TTL if the connection breaks
    /// between them.
    async fn write_plainly(
        self,
        changes: &Changes<'_>,
        ttl_ms: i64,
        copy: Option<&str>,
        seal: &Seal<'_>,
    ) -> Result<Written, Failure> {
        let key = self.redis_key;
        let Changes {
            set, removed, own, ..
        } = changes;
        let removed_own = removed_own(own);
        let mut transaction = Vec::with_capacity(5);
        if !set.is_empty() || removed_own.len() < own.len() {
            // redis-rs still says `HMSET`.
            let mut hset = cmd("HSET");
            let set = set.iter().map(|(name, json)| (*name, json));
            add_fields(hset.arg(key), set, seal);
            add_own_fields(&mut hset, own, seal);
            transaction.push(hset);
        }
        if !removed.is_empty() || !removed_own.is_empty() {
            let mut hdel = Cmd::hdel(key, removed);
            hdel.arg(&removed_own);
            transaction.push(hdel);
        }
        transaction.extend(copy.map(|copy| Cmd::pexpire(copy, ttl_ms)));
        transaction.extend([Cmd::pexpire(key, ttl_ms), Cmd::hexists(key, BORN)]);
        let replies = self.redis.transaction(transaction).await?;
        let replies = replies.as_sequence().unwrap_or_default();
        let reply = |from_last| replies.iter().nth_back(from_last).unwrap_or(&Value::Nil);
        if is_done(reply(0))? {
            let may_have_ended = copy.is_some() && !is_done(reply(2))?;
            return match may_have_ended && self.copy().await?.is_some() {
                true => Ok(Written::Gone),
                false => Ok(Written::Done),
            };
        }
        // It came too late, and has left fields of no session.
        self.run(&SWEEP, None, |_| ()).await?;
        Ok(Written::Gone)
    }

    async fn write_by_script(
        self,
        changes: &Changes<'_>,
        ttl_ms: Option<i64>,
        copy: Option<&str>,
        key: Option<&IdempotencyKey<'_>>,
        seal: &Seal<'_>,
    ) -> Result<Written, Failure> {
        let Changes {
            set,
            removed,
            guarded,
            seen,
            own,
            owner_text,
            latest,
            ttl_at_most,
        } = changes;
        let removed_own = removed_own(own);
        let set_own = own.len() - removed_own.len();
        let add_arguments = |command: &mut Cmd| {
            let most = ttl_at_most.map(|most| format!("<{most}"));
            let ttl = ttl_ms.map(|ttl_ms| ttl_ms.to_string()).or(most);
            command.arg(or_empty(ttl)).arg(or_empty(*latest));
            command.arg(expected(owner_text.as_deref()));
            match key {
                Some(key) => command.arg(&key.lane()).arg(key.number()),
                None => command.arg("").arg(""),
            };
            command
                .arg(2 * (set.len() + set_own))
                .arg(removed.len() + removed_own.len())
                .arg(guarded.len())
                .arg(or_empty(*seen));
            let set = set.iter().map(|(name, json)| (*name, json));
            add_fields(command, set, seal);
            add_own_fields(command, own, seal);
            command.arg(removed).arg(&removed_own);
            for (field, _) in guarded {
                command.arg(field);
            }
            for (field, guarded) in guarded {
                add_guarded(command, field, guarded, seal);
            }
        };
        Written::parse(self.run(&WRITE, copy, add_arguments).await?, seal)
    }

    /// Does all that requests do, in one round trip, under a Redis key that is no session's.
    pub(crate) async fn check(self, of_users: bool) -> Result<(), Failure> {
        let Self {
            redis,
            redis_key: key,
        } = self;
        let eval = cmd("EVAL").arg(CHECK.code).arg(1).arg(key).take();
        let evalsha = cmd("EVALSHA").arg(&CHECK.sha1).arg(1).arg(key).take();
        let mut alone = vec![Cmd::hgetall(key), Cmd::pttl(key), eval, evalsha];
        if of_users {
            let key = [key, "users"].concat();
            alone.push(cmd("EVAL").arg(CHECK_USERS.code).arg(1).arg(key).take());
        }
        let alone = alone.iter().map(async |command| {
            match redis.query::<Value>(command).await {
                // A server may not have seen the script yet; it may be asked for.
                Err(Failure::Permanent(Error::Refused { code, .. })) if code == "NOSCRIPT" => {
                    Ok(())
                }
                checked => checked.map(drop),
            }
        });
        // Servers repeat the arguments of what they do not know, and redis-rs takes no reply that is
        // not UTF-8: no field of ours is among them.
        let transaction = vec![
            Cmd::hset(key, "n", 0),
            Cmd::hdel(key, "m"),
            Cmd::hexists(key, "n"),
            Cmd::pexpire(key, 1000),
        ];
        let together = async {
            match redis.is_cluster() {
                true => Ok(()),
                false => redis.transaction(transaction).await.map(drop),
            }
        };
        // The scripts come last, and leave nothing behind.
        try_join(together, try_join_all(alone)).await.map(drop)
    }

    async fn run(
        &self,
        script: &Script,
        copy: Option<&str>,
        add_arguments: impl Fn(&mut Cmd) + Sync,
    ) -> Result<Value, Failure> {
        let redis_keys = [self.redis_key, copy.unwrap_or_default()];
        let redis_keys = &redis_keys[..1 + usize::from(copy.is_some())];
        script.run(&self.redis, redis_keys, add_arguments).await
    }
}
