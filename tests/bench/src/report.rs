use std::time::Duration;

use crate::{
    chapter::Section,
    contender::Contender,
    cores,
    experiment::{Experiment, Finding, Findings, Pace},
    extent::Extent,
    figures::Round,
    machine,
    table::Table,
};

/// How to read the tables.
pub(crate) const LEGEND: &str = "\
Each line is a server process of its own with a Redis of its own, asked by `wrk` (one thread) in \
turn with all others of its table. Figures are medians of the rounds. \"of ours\", or \"of the first\", is the requests/s \
in relation to the first line with the same setting, round by round, with the least and the most \
in parentheses. CPU is that of the server processes, and of Redis, per request. Commands are those \
that clients send per request, seen with `MONITOR` while requests come one after the other; what a \
script does inside Redis is not counted. Connections are those between the server processes and \
Redis. The floor is a handler that sends the commands by hand on one connection per worker and \
signs the same cookie. Bytes of a write are those that Redis receives for a request that reads and \
writes, less those for one that reads; the time of Redis is that of `INFO commandstats`, of a \
transaction or a script as a whole, by the clock and not by its CPU. Memory per session is what \
`used_memory` grows by, divided by their number, Redis's tables of keys included. Unless a table says otherwise: 64 connections, two workers, one process, \
1,000 sessions in Redis, all of them in use, a state of 100 bytes, pools of deadpool's default \
size (two connections per core).
";

/// Markdown, shown in the terminal as it grows.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) text: String,
    pub(crate) sections: Vec<Section>,
    only: &'a str,
}

impl<'a> Report<'a> {
    pub(crate) fn begin(extent: &Extent, only: &'a str) -> anyhow::Result<Self> {
        let mut report = Self {
            text: String::new(),
            sections: vec![(
                "machine".to_owned(),
                format!("{}.", machine::description()?),
            )],
            only,
        };
        let (rounds, sweeps) = (extent.rounds, extent.rounds_of_sweeps);
        let cores = if cores::can_be_divided() {
            "A server has as many cores as workers, and Redis and `wrk` have the others; with nginx \
             or a delay, all share all."
        } else {
            "All share the cores."
        };
        report.add(&format!(
            "# How fast\n\n{}.\n\n{} {cores} Rounds of {:?}: {rounds} of each in the first three tables, \
             in those of many sessions and of sealed ones, {sweeps} in the others. Load average before: {}.\n",
            machine::description()?,
            LEGEND.trim_end(),
            extent.pace.round,
            machine::load()?,
        ));
        Ok(report)
    }

    pub(crate) fn run(&mut self, experiment: &Experiment, pace: Pace) -> anyhow::Result<Findings> {
        if !self.is_wanted(experiment.title) {
            return Ok(Findings::default());
        }
        let findings = experiment.run(pace)?;
        self.section(experiment.title, &table(experiment, &findings));
        Ok(findings)
    }

    pub(crate) fn is_wanted(&self, title: &str) -> bool {
        title.contains(self.only)
    }

    pub(crate) fn section(&mut self, title: &str, table: &Table) {
        self.add(&format!("\n## {title}\n\n{table}"));
        self.sections.push((title.to_owned(), table.to_string()));
    }

    pub(crate) fn end(&mut self) -> anyhow::Result<()> {
        self.add(&format!("\nLoad average after: {}.\n", machine::load()?));
        Ok(())
    }

    fn add(&mut self, text: &str) {
        print!("{text}");
        self.text += text;
    }
}

fn table(experiment: &Experiment, findings: &Findings) -> Table {
    let mut all = findings.0.iter();
    let is_delayed = all.any(|finding| finding.setting.delay.is_some());
    let several = experiment.settings.len() > 1;
    let first = experiment.contenders[0];
    let mut header = Vec::from([
        "contender",
        "requests/s",
        match first {
            Contender::Ours => "of ours",
            _ => "of the first",
        },
        "p50, ms",
        "p99, ms",
        "CPU, µs",
        "CPU of Redis, µs",
        "commands",
        "connections",
    ]);
    if several {
        header.insert(0, experiment.axis);
    }
    if is_delayed {
        header.push("p50, round trips");
    }
    let mut table = Table::new(header);
    for finding in &findings.0 {
        let label = &finding.setting.label;
        let mut row = cells(finding, findings.of(first, label));
        if several {
            row.insert(0, label.clone());
        }
        if is_delayed {
            let p50 = finding.p50_in_round_trips();
            row.push(p50.map_or_else(String::new, |p50| p50.to_string()));
        }
        table.row(row);
    }
    table
}

fn cells(finding: &Finding, first: Option<&Finding>) -> Vec<String> {
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let uses_redis = finding.contender.uses_redis();
    let median =
        |decimals: usize, value: fn(&Round) -> f64| format!("{:.decimals$}", finding.median(value));
    let ratio = first.map(|first| finding.ratio(first, |round| round.rate()));
    vec![
        finding.contender.to_string(),
        median(0, |round| round.rate()),
        ratio.map_or_else(String::new, |ratio| ratio.to_string()),
        format!("{:.2}", finding.median(|round| ms(round.load.p50))),
        format!("{:.2}", finding.median(|round| ms(round.load.p99))),
        median(1, |round| round.server_cpu_per_request()),
        if uses_redis {
            median(1, |round| round.redis_cpu_per_request())
        } else {
            "0".to_owned()
        },
        finding.commands.to_string(),
        finding.connections.to_string(),
    ]
}
