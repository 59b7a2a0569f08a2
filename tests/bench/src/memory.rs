use std::time::Duration;

use crate::{contender::Contender, lane::Lane, setting::Setting, table::Table};

pub(crate) const TITLE: &str = "Memory of a server process, counter route, 50,000 sessions";

/// How many requests a server has seen when it is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Milestones {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// The resident size of a server process, early and late in its life, and how many times as
/// large it is then.
#[derive(Debug)]
pub(crate) struct Growth {
    pub(crate) contender: Contender,
    early: (u64, u64),
    late: (u64, u64),
}

impl Growth {
    pub(crate) fn ratio(&self) -> f64 {
        self.late.1 as f64 / self.early.1 as f64
    }
}

/// With more sessions than requests at first, so that what a session costs would show.
pub(crate) fn measure(milestones: Milestones, round: Duration) -> anyhow::Result<Vec<Growth>> {
    eprintln!("{TITLE} …");
    let setting = Setting {
        sessions: 50_000,
        ..Setting::default()
    };
    let contenders = [Contender::Ours, Contender::Consistent];
    let growth = |contender| {
        let lane = Lane::start(contender, &setting)?;
        let mut requests = 0;
        let mut until = |milestone, round: Duration| {
            while requests < milestone {
                requests += lane.round(round)?.load.requests;
            }
            anyhow::Ok((requests, lane.resident_kib()?))
        };
        Ok(Growth {
            contender,
            early: until(milestones.first, Duration::from_millis(100))?,
            late: until(milestones.last, round)?,
        })
    };
    contenders.into_iter().map(growth).collect()
}

pub(crate) fn table(growths: &[Growth]) -> Table {
    let mut table = Table::new([
        "contender",
        "requests",
        "resident",
        "requests",
        "resident",
        "growth",
    ]);
    for growth in growths {
        let (early, late) = (growth.early, growth.late);
        table.row([
            growth.contender.to_string(),
            early.0.to_string(),
            format!("{} KiB", early.1),
            late.0.to_string(),
            format!("{} KiB", late.1),
            format!("{:.2}", growth.ratio()),
        ]);
    }
    table
}
