use std::{
    future::Future,
    time::{Duration, Instant},
};

use actix_session::storage::{SessionKey, SessionStore as _};
use actix_session_redis::{
    RedisPool, RedisSessionStore, SessionId, deadpool_redis::redis::InfoDict,
};
use actix_web::{cookie::time, rt::System};
use anyhow::{Context as _, ensure};
use testbed::Server;

use crate::{figures::Spread, table::Table};

pub(crate) const TITLE: &str = "The sessions of one user, by how many they are";

const FIELD: &str = "user_id";

/// So many sessions are there at least when it is seen what one takes.
const MANY: usize = 2_000;

/// What is asked of a user's sessions, in milliseconds, as the application sees it.
#[derive(Debug, Default)]
struct Times {
    log_in: Vec<f64>,
    list: Vec<f64>,
    end_one: Vec<f64>,
    end_all: Vec<f64>,
}

pub(crate) fn measure(counts: &[usize], rounds: usize) -> anyhow::Result<Table> {
    eprintln!("{TITLE} …");
    let mut table = Table::new([
        "sessions",
        "log-in, ms",
        "list, ms",
        "end one, ms",
        "end all, ms",
        "commands of a log-in",
        "of a list",
        "bytes in Redis for each, without users",
        "with",
    ]);
    for &count in counts {
        table.row(System::new().block_on(row(count, rounds))?);
    }
    Ok(table)
}

async fn row(count: usize, rounds: usize) -> anyhow::Result<Vec<String>> {
    let without = memory_of(count, false).await?;
    let with = memory_of(count, true).await?;
    let redis = Server::start_with(&["--appendonly", "no"]);
    let store = store_on(&redis, true)?;
    let mut times = Times::default();
    for _ in 0..rounds {
        fill(&store, count).await?;
        times.round(&store, count).await?;
    }
    fill(&store, count).await?;
    let user = || store.sessions_of(1);
    let of_log_in = commands_of(&redis, log_in(&store, 1)).await?;
    let of_list = commands_of(&redis, async { Ok(user().list().await?) }).await?;
    let median = |times| format!("{:.2}", Spread::of(times).median);
    Ok(vec![
        count.to_string(),
        median(times.log_in),
        median(times.list),
        median(times.end_one),
        median(times.end_all),
        of_log_in.to_string(),
        of_list.to_string(),
        format!("{without:.0}"),
        format!("{with:.0}"),
    ])
}

impl Times {
    async fn round(&mut self, store: &RedisSessionStore, count: usize) -> anyhow::Result<()> {
        let user = || store.sessions_of(1);
        let (key, time) = timed(log_in(store, 1)).await?;
        self.log_in.push(time);
        let (listed, time) = timed(async { Ok(user().list().await?) }).await?;
        ensure!(listed.len() == count + 1, "{} are listed", listed.len());
        self.list.push(time);
        let handle = SessionId::of(&key);
        let (ended, time) = timed(async { Ok(user().end(&handle).await?) }).await?;
        ensure!(ended, "it was not ended");
        self.end_one.push(time);
        let (ended, time) = timed(async { Ok(user().end_all().await?) }).await?;
        ensure!(ended == count, "{ended} were ended");
        self.end_all.push(time);
        Ok(())
    }
}

async fn timed<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<(T, f64)> {
    let begun = Instant::now();
    let output = work.await?;
    Ok((output, begun.elapsed().as_secs_f64() * 1000.0))
}

fn store_on(redis: &Server, with_users: bool) -> anyhow::Result<RedisSessionStore> {
    let pool = RedisPool::from_url(redis.url())?;
    let builder = RedisSessionStore::builder(pool).deadline(Duration::from_secs(20));
    Ok(match with_users {
        true => builder.user_field(FIELD).build(),
        false => builder.build(),
    })
}

async fn fill(store: &RedisSessionStore, count: usize) -> anyhow::Result<()> {
    for _ in 0..count {
        log_in(store, 1).await?;
    }
    Ok(())
}

async fn log_in(store: &RedisSessionStore, user: usize) -> anyhow::Result<SessionKey> {
    let state = [(FIELD.to_owned(), user.to_string())].into();
    let saved = store.save(state, &time::Duration::HOUR).await;
    saved.map_err(|error| anyhow::anyhow!("{error}"))
}

/// What a session takes of users who have so many each.
async fn memory_of(count: usize, with_users: bool) -> anyhow::Result<f64> {
    let redis = Server::start_with(&["--appendonly", "no"]);
    let store = store_on(&redis, with_users)?;
    // So that what Redis keeps besides sessions is there already.
    log_in(&store, 0).await?;
    redis.run::<()>("FLUSHALL");
    let used = || {
        let info: InfoDict = redis.try_run("INFO memory")?;
        let bytes: u64 = info.get("used_memory").context("no used memory")?;
        anyhow::Ok(bytes as f64)
    };
    let empty = used()?;
    let users = MANY.div_ceil(count);
    for user in 0..users {
        for _ in 0..count {
            log_in(&store, user).await?;
        }
    }
    Ok((used()? - empty) / (users * count) as f64)
}

/// Those that scripts carry out, too.
async fn commands_of<T>(
    redis: &Server,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<u64> {
    let calls = || {
        let info: InfoDict = redis.try_run("INFO stats")?;
        let calls: Option<u64> = info.get("total_commands_processed");
        calls.context("Redis does not count commands")
    };
    let before = calls()?;
    work.await?;
    // One of them is the question.
    Ok(calls()? - before - 1)
}
