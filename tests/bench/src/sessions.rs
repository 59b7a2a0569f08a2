use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

use actix_session::storage::SessionStore as _;
use actix_session_redis::{
    RedisPool, RedisSessionStore, SessionId,
    deadpool_redis::redis::{self, pipe},
};
use actix_web::rt::System;
use anyhow::anyhow;

use crate::{contender::Contender, cookie, routes::COUNT, serve::key_ring, setting::Setting};

/// Enough that no two requests of a thousand at once are of one session, few enough that `wrk`
/// has read all of them before anybody gets bored.
const MOST_VISITED: usize = 50_000;

const STORED_AT_ONCE: usize = 10_000;

/// Fills Redis, as if all these visitors had been here.
pub(crate) fn store(
    setting: &Setting,
    contender: Contender,
    redis_url: &str,
) -> anyhow::Result<()> {
    let mut redis = redis::Client::open(redis_url)?.get_connection()?;
    let (state, filler) = (state(setting.state_bytes), filler(setting.state_bytes));
    let ttl_ms = cookie::TTL.whole_seconds() * 1000;
    let numbers: Vec<_> = (0..setting.sessions).collect();
    // Large states take more room in a pipeline.
    let at_once = (STORED_AT_ONCE * 100 / setting.state_bytes).max(1);
    for numbers in numbers.chunks(at_once) {
        let mut pipeline = pipe();
        for &number in numbers {
            let key = session_key(number);
            if contender.is_ours() {
                let key = format!("session:{}", SessionId::of(&key.try_into()?));
                let fields = [
                    (&b"\xFFborn"[..], "0"),
                    (COUNT.as_bytes(), "0"),
                    (b"filler", &filler),
                ];
                pipeline.hset_multiple(&key, &fields).pexpire(&key, ttl_ms);
            } else {
                pipeline.pset_ex(key, &state, ttl_ms.cast_unsigned());
            }
        }
        let _: redis::Value = pipeline.query(&mut redis)?;
    }
    match contender.seals() {
        true => seal(setting, redis_url),
        false => Ok(()),
    }
}

/// Each is written once more, by a store that seals.
fn seal(setting: &Setting, redis_url: &str) -> anyhow::Result<()> {
    let store = RedisSessionStore::builder(RedisPool::from_url(redis_url)?);
    let store = store.seal(key_ring()?).accept_unsealed(true).build();
    let state = [
        (COUNT, "0".to_owned()),
        ("filler", filler(setting.state_bytes)),
    ];
    let state = HashMap::from(state.map(|(name, json)| (name.to_owned(), json)));
    System::new().block_on(async {
        for number in 0..setting.sessions {
            let key = session_key(number).try_into()?;
            let updated = store.update(key, state.clone(), &cookie::TTL).await;
            updated.map_err(|error| anyhow!("{error:?}"))?;
        }
        Ok(())
    })
}

/// The `Cookie` headers of visitors, spread evenly over the sessions, one per line.
pub(crate) fn write_cookies(
    setting: &Setting,
    contender: Contender,
    path: &Path,
) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let every = setting.sessions.div_ceil(MOST_VISITED);
    for number in (0..setting.sessions).step_by(every) {
        let value = match contender {
            Contender::Cookie => state(setting.state_bytes),
            _ => session_key(number),
        };
        writeln!(file, "{}", cookie::header(value))?;
    }
    Ok(file.flush()?)
}

/// As long and as many kinds of characters as a real one; but nobody has to guess it.
fn session_key(number: usize) -> String {
    format!("{number:0>64}")
}

/// In the format of all the others.
fn state(bytes: usize) -> String {
    state_with(&"x".repeat(bytes.saturating_sub(state_with("").len())))
}

fn state_with(filler: &str) -> String {
    format!(r#"{{"{COUNT}":"0","filler":"\"{filler}\""}}"#)
}

/// The same, as one field of ours.
fn filler(bytes: usize) -> String {
    format!(
        "\"{}\"",
        "x".repeat(bytes.saturating_sub(state_with("").len()))
    )
}
