use std::time::Duration;

use crate::{
    command_stats::CommandStats, contender::Contender, figures::Spread, lane::Lane, routes::COUNT,
    setting::Setting, table::Table,
};

pub(crate) const TITLE: &str = "Requests of one session at once, counter route";

/// As many requests as a browser makes at once.
const TABS: usize = 6;

/// What a session goes through whose requests come several at a time, and what it has lost.
#[derive(Debug)]
pub(crate) struct Contention {
    pub(crate) contender: Contender,
    at_once: usize,
    rounds: Vec<Round>,
}

#[derive(Debug)]
struct Round {
    rate: f64,
    scripts_per_request: f64,
    requests: u64,
    lost: u64,
    counted_twice: u64,
}

impl Contention {
    /// Increments that are missing, and those that are too many.
    pub(crate) fn miscounted(&self) -> u64 {
        let rounds = self.rounds.iter();
        rounds.map(|round| round.lost + round.counted_twice).sum()
    }

    pub(crate) fn name(&self) -> String {
        format!(
            "{}, {} requests of one session at once",
            self.contender, self.at_once
        )
    }
}

/// So many requests of one session at once, all the time.
pub(crate) fn measure(rounds: usize, round: Duration) -> anyhow::Result<Vec<Contention>> {
    eprintln!("{TITLE} …");
    let mut lanes = Vec::new();
    for (contender, at_once) in [
        (Contender::Single, TABS),
        (Contender::Ours, TABS),
        (Contender::Consistent, TABS),
        (Contender::Counter, TABS),
        (Contender::SealedCounter, TABS),
        (Contender::Counter, 64),
        (Contender::SealedCounter, 64),
    ] {
        let setting = Setting {
            sessions: 1,
            connections: at_once,
            ..Setting::default()
        };
        let contention = Contention {
            contender,
            at_once,
            rounds: Vec::new(),
        };
        lanes.push((Lane::start(contender, &setting)?, contention));
    }
    for _ in 0..rounds {
        for (lane, contention) in &mut lanes {
            contention.rounds.push(Round::of(lane, round)?);
        }
    }
    Ok(lanes
        .into_iter()
        .map(|(_, contention)| contention)
        .collect())
}

impl Round {
    fn of(lane: &Lane, duration: Duration) -> anyhow::Result<Self> {
        let count = || anyhow::Ok(lane.visit("/read")?.parse::<u64>()?);
        let scripts = || CommandStats::of(&lane.redis)?.calls(&["evalsha"]);
        let (count_before, scripts_before) = (count()?, scripts()?);
        let load = lane.round(duration)?.load;
        let counted = count()? - count_before;
        // The last request of each connection is counted here, perhaps, and no more by wrk.
        let at_most = load.requests + lane.setting.connections as u64;
        Ok(Self {
            rate: load.requests as f64 / load.duration.as_secs_f64(),
            scripts_per_request: (scripts()? - scripts_before) as f64 / load.requests as f64,
            requests: load.requests,
            lost: load.requests.saturating_sub(counted),
            counted_twice: counted.saturating_sub(at_most),
        })
    }
}

pub(crate) fn table(contentions: &[Contention]) -> Table {
    let mut table = Table::new([
        "contender",
        "at once",
        "requests/s",
        "scripts per request",
        &format!("increments of `{COUNT}` lost"),
    ]);
    for contention in contentions {
        let median =
            |value: fn(&Round) -> f64| Spread::of(contention.rounds.iter().map(value)).median;
        table.row([
            contention.contender.to_string(),
            contention.at_once.to_string(),
            format!("{:.0}", median(|round| round.rate)),
            format!("{:.2}", median(|round| round.scripts_per_request)),
            format!(
                "{:.0} %",
                median(|round| round.lost as f64 / round.requests as f64) * 100.0
            ),
        ]);
    }
    table
}
