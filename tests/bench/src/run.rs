use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Args;

use crate::{
    contention,
    experiment::{Experiment, Findings, Pace},
    machine, matrix,
    memory::{self, Milestones},
    plot, report,
    setting::Route,
    targets::{self, Results},
};

/// Measures all contenders, and writes what it has found out.
#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// Only show that everything works: short rounds, one of each, and no judgement
    #[arg(long)]
    quick: bool,
    /// Only the tables whose title contains this
    #[arg(long, default_value = "")]
    only: String,
    /// The folder for the report and the plot
    #[arg(long, default_value = "target/bench")]
    output: PathBuf,
}

/// How much is measured.
struct Extent {
    pace: Pace,
    rounds: usize,
    rounds_of_sweeps: usize,
    many_sessions: usize,
    milestones: Milestones,
}

const FULL: Extent = Extent {
    pace: Pace {
        warm_up: Duration::from_millis(500),
        round: Duration::from_secs(2),
    },
    rounds: 5,
    rounds_of_sweeps: 3,
    many_sessions: 1_000_000,
    milestones: Milestones {
        first: 10_000,
        last: 1_000_000,
    },
};

const QUICK: Extent = Extent {
    pace: Pace {
        warm_up: Duration::from_millis(50),
        round: Duration::from_millis(200),
    },
    rounds: 1,
    rounds_of_sweeps: 1,
    many_sessions: 20_000,
    milestones: Milestones {
        first: 1_000,
        last: 10_000,
    },
};

pub(crate) fn run(options: &RunOptions) -> anyhow::Result<()> {
    let extent = if options.quick { QUICK } else { FULL };
    let mut report = Report::begin(&extent, &options.only)?;

    let head_to_head = Route::ALL.map(|route| matrix::head_to_head(route, extent.rounds));
    let head_to_head = head_to_head
        .into_iter()
        .map(|experiment| Ok((experiment.title, report.run(&experiment, extent.pace)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let sweeps = matrix::sweeps(extent.rounds_of_sweeps, extent.many_sessions)
        .iter()
        .map(|experiment| report.run(experiment, extent.pace))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if report.is_wanted(contention::TITLE) {
        let table = contention::measure(extent.rounds_of_sweeps, extent.pace.round)?;
        report.section(contention::TITLE, &table);
    }
    let mut growths = Vec::new();
    if report.is_wanted(memory::TITLE) {
        growths = memory::measure(extent.milestones, extent.pace.round)?;
        report.section(memory::TITLE, &memory::table(&growths));
    }
    if !options.quick {
        let results = Results {
            counter: &head_to_head[0].1,
            sliding: &head_to_head[2].1,
            sizes: &sweeps[0],
            sessions: &sweeps[4],
            delayed: &sweeps[5],
            memory: &growths,
        };
        report.section("To reach", &targets::table(&results));
    }
    report.end()?;
    let panels: Vec<_> = head_to_head
        .iter()
        .map(|(title, findings)| (*title, findings))
        .collect();

    let folder = &options.output;
    let cannot_write = || format!("cannot write to {}", folder.display());
    fs::create_dir_all(folder).with_context(cannot_write)?;
    fs::write(folder.join("report.md"), report.text).with_context(cannot_write)?;
    fs::write(folder.join("plot.svg"), plot::svg(&panels)).with_context(cannot_write)?;
    eprintln!("wrote report.md and plot.svg to {}", folder.display());
    Ok(())
}

/// Markdown, shown in the terminal as it grows.
struct Report<'a> {
    text: String,
    only: &'a str,
}

impl<'a> Report<'a> {
    fn begin(extent: &Extent, only: &'a str) -> anyhow::Result<Self> {
        let mut report = Self {
            text: String::new(),
            only,
        };
        let (rounds, sweeps) = (extent.rounds, extent.rounds_of_sweeps);
        report.add(&format!(
            "# How fast\n\n{}.\n\n{} Rounds of {:?}: {rounds} of each in the first three tables, \
             {sweeps} in the others. Load average before: {}.\n",
            machine::description()?,
            report::LEGEND.trim_end(),
            extent.pace.round,
            machine::load()?,
        ));
        Ok(report)
    }

    fn run(&mut self, experiment: &Experiment, pace: Pace) -> anyhow::Result<Findings> {
        if !self.is_wanted(experiment.title) {
            return Ok(Findings::default());
        }
        let findings = experiment.run(pace)?;
        self.section(experiment.title, &report::table(experiment, &findings));
        Ok(findings)
    }

    fn is_wanted(&self, title: &str) -> bool {
        title.contains(self.only)
    }

    fn section(&mut self, title: &str, table: &crate::table::Table) {
        self.add(&format!("\n## {title}\n\n{table}"));
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.add(&format!("\nLoad average after: {}.\n", machine::load()?));
        Ok(())
    }

    fn add(&mut self, text: &str) {
        print!("{text}");
        self.text += text;
    }
}
