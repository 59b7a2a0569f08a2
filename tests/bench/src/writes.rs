use std::time::Duration;

use actix_session_redis::deadpool_redis::redis::InfoDict;
use anyhow::Context as _;

use crate::{
    command_stats::CommandStats, contender::Contender, figures::Spread, lane::Lane, matrix,
    setting::Setting, table::Table,
};

pub(crate) const TITLE: &str = "One small field written, by the size of the session";

const CONTENDERS: [Contender; 4] = [
    Contender::Consistent,
    Contender::Counter,
    Contender::Ours,
    Contender::Single,
];

/// How many requests are made to see how many bytes they bring to Redis.
const WATCHED_REQUESTS: usize = 20;

/// What it costs Redis to read a session of some size, and to write one small field of it.
#[derive(Debug)]
pub(crate) struct Cost {
    pub(crate) contender: Contender,
    pub(crate) size: String,
    pub(crate) bytes_written: f64,
    rounds: Vec<Times>,
}

/// Microseconds of Redis.
#[derive(Debug)]
struct Times {
    read: f64,
    write: f64,
}

impl Cost {
    pub(crate) fn write(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|times| times.write))
    }

    pub(crate) fn read(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|times| times.read))
    }

    /// Of the time for the write, round by round.
    pub(crate) fn ratio(&self, to: &Self) -> Spread {
        let pairs = self.rounds.iter().zip(&to.rounds);
        Spread::of(pairs.map(|(this, that)| this.write / that.write))
    }
}

pub(crate) fn measure(rounds: usize, round: Duration) -> anyhow::Result<Vec<Cost>> {
    eprintln!("{TITLE} …");
    let mut lanes = Vec::new();
    for setting in matrix::state_sizes(rounds).settings {
        // Whose connection is there once it has been asked.
        let setting = Setting {
            workers: 1,
            ..setting
        };
        for contender in CONTENDERS {
            let lane = Lane::start(contender, &setting)?;
            let cost = Cost {
                contender,
                size: setting.label.clone(),
                bytes_written: bytes_written(&lane)?,
                rounds: Vec::new(),
            };
            lanes.push((lane, cost));
        }
    }
    for _ in 0..rounds {
        for (lane, cost) in &mut lanes {
            cost.rounds.push(Times::of(lane, round)?);
        }
    }
    Ok(lanes.into_iter().map(|(_, cost)| cost).collect())
}

/// By a request that reads and writes, more than by one that reads.
fn bytes_written(lane: &Lane) -> anyhow::Result<f64> {
    let received = || {
        let info: InfoDict = lane.redis.try_run("INFO stats")?;
        let bytes: Option<u64> = info.get("total_net_input_bytes");
        bytes.context("Redis does not count bytes")
    };
    let bytes = |path| {
        let before = received()?;
        for _ in 0..WATCHED_REQUESTS {
            lane.visit(path)?;
        }
        anyhow::Ok((received()? - before) as f64)
    };
    Ok((bytes("/count")? - bytes("/read")?) / WATCHED_REQUESTS as f64)
}

impl Times {
    const READS: &[&str] = &["get", "hgetall"];
    const WRITES: &[&str] = &["set", "exec", "evalsha"];

    fn of(lane: &Lane, duration: Duration) -> anyhow::Result<Self> {
        let before = CommandStats::of(&lane.redis)?;
        lane.round(duration)?;
        let after = CommandStats::of(&lane.redis)?;
        let calls =
            |commands| anyhow::Ok((after.calls(commands)? - before.calls(commands)?) as f64);
        let micros =
            |commands| anyhow::Ok((after.micros(commands)? - before.micros(commands)?) as f64);
        Ok(Self {
            read: micros(Self::READS)? / calls(Self::READS)?,
            write: (micros(Self::WRITES)? + micros(&["multi"])?) / calls(Self::WRITES)?,
        })
    }
}

pub(crate) fn table(costs: &[Cost]) -> Table {
    let mut table = Table::new([
        "state",
        "contender",
        "bytes of a write",
        "Redis, µs per write",
        "of that in the smallest",
        "Redis, µs per read",
    ]);
    for cost in costs {
        let smallest = costs.iter().find(|it| it.contender == cost.contender);
        table.row([
            cost.size.clone(),
            cost.contender.to_string(),
            format!("{:.0}", cost.bytes_written),
            cost.write().to_string(),
            smallest.map_or_else(String::new, |smallest| cost.ratio(smallest).to_string()),
            cost.read().to_string(),
        ]);
    }
    table
}
