use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Args;

use crate::{
    contention, cores,
    experiment::{Experiment, Findings, Pace},
    machine, matrix,
    memory::{self, Milestones},
    plot, report,
    setting::Route,
    table::Table,
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
        round: Duration::from_millis(500),
    },
    rounds: 25,
    rounds_of_sweeps: 9,
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

    let mut run = |experiment: Experiment| report.run(&experiment, extent.pace);
    let rounds = extent.rounds;
    let counter = run(matrix::head_to_head(Route::Counter, rounds))?;
    let read = run(matrix::head_to_head(Route::Read, rounds))?;
    let sliding = run(matrix::head_to_head(Route::SlidingRead, rounds))?;
    let rounds = extent.rounds_of_sweeps;
    let state_sizes = run(matrix::state_sizes(rounds))?;
    run(matrix::connections(rounds))?;
    run(matrix::workers(rounds))?;
    run(matrix::processes(rounds))?;
    let sessions = run(matrix::sessions(extent.many_sessions, extent.rounds))?;
    run(matrix::one_session(rounds))?;
    let delayed = run(matrix::delayed(rounds))?;
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
            counter: &counter,
            sliding: &sliding,
            state_sizes: &state_sizes,
            sessions: &sessions,
            delayed: &delayed,
            memory: &growths,
        };
        report.section("To reach", &targets::table(&results));
    }
    report.end()?;
    let plot = plot::svg(&[
        ("Counter route", &counter),
        ("Read-only route", &read),
        ("Read-only route with sliding expiry", &sliding),
    ]);

    let folder = &options.output;
    let cannot_write = || format!("cannot write to {}", folder.display());
    fs::create_dir_all(folder).with_context(cannot_write)?;
    fs::write(folder.join("report.md"), report.text).with_context(cannot_write)?;
    fs::write(folder.join("plot.svg"), plot).with_context(cannot_write)?;
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
        let cores = if cores::can_be_divided() {
            "A server has as many cores as workers, and Redis and `wrk` have the others; with nginx \
             or a delay, all share all."
        } else {
            "All share the cores."
        };
        report.add(&format!(
            "# How fast\n\n{}.\n\n{} {cores} Rounds of {:?}: {rounds} of each in the first three tables, \
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

    fn section(&mut self, title: &str, table: &Table) {
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
