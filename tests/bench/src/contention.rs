use std::time::Duration;

use crate::{
    contender::Contender, figures::Spread, lane::Lane, routes::COUNT, setting::Setting,
    table::Table,
};

pub(crate) const TITLE: &str = "Six requests of one session at once, counter route";

/// As many requests as a browser makes at once.
const TABS: usize = 6;

/// Six requests of one session at once, all the time: what that costs, and what is lost.
pub(crate) fn measure(rounds: usize, round: Duration) -> anyhow::Result<Table> {
    eprintln!("{TITLE} …");
    let setting = Setting {
        sessions: 1,
        connections: TABS,
        ..Setting::default()
    };
    let contenders = [
        Contender::Single,
        Contender::Ours,
        Contender::Consistent,
        Contender::Counter,
    ];
    let mut lanes = Vec::new();
    for contender in contenders {
        lanes.push((Lane::start(contender, &setting)?, Vec::new()));
    }
    for _ in 0..rounds {
        for (lane, outcomes) in &mut lanes {
            let counted = || anyhow::Ok(lane.visit("/read")?.parse::<u64>()?);
            let (count, scripts) = (counted()?, lane.scripts()?);
            let load = lane.round(round)?.load;
            let requests = load.requests as f64;
            outcomes.push([
                requests / load.duration.as_secs_f64(),
                (lane.scripts()? - scripts) as f64 / requests,
                // The last requests are counted here, and no more by wrk.
                (1.0 - (counted()? - count) as f64 / requests).max(0.0),
            ]);
        }
    }
    let mut table = Table::new([
        "contender",
        "requests/s",
        "scripts per request",
        &format!("increments of `{COUNT}` lost"),
    ]);
    for (lane, outcomes) in &lanes {
        let median = |i: usize| Spread::of(outcomes.iter().map(|outcome| outcome[i])).median;
        table.row([
            lane.contender.to_string(),
            format!("{:.0}", median(0)),
            format!("{:.2}", median(1)),
            format!("{:.0} %", median(2) * 100.0),
        ]);
    }
    Ok(table)
}
