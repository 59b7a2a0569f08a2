use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::{
    chapter, contention,
    experiment::Experiment,
    extent::{Extent, FULL, QUICK},
    matrix, memory, plot,
    report::Report,
    results::Results,
    session_memory,
    setting::Route,
    targets, user_sessions, writes,
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
    /// A chapter of the manual, for its tables
    #[arg(long, conflicts_with = "quick")]
    chapter: Option<PathBuf>,
}

pub(crate) fn run(options: &RunOptions) -> anyhow::Result<()> {
    let extent = if options.quick { QUICK } else { FULL };
    let mut report = Report::begin(&extent, &options.only)?;
    let results = measure(&mut report, &extent)?;
    if !options.quick {
        report.section("To reach", &targets::table(&results));
    }
    report.end()?;
    let plot = plot::svg(&[
        ("Counter route", &results.counter),
        ("Read-only route", &results.read),
        ("Read-only route with sliding expiry", &results.sliding),
    ]);

    if let Some(path) = &options.chapter {
        chapter::update(path, &report.sections)?;
    }
    let folder = &options.output;
    let cannot_write = || format!("cannot write to {}", folder.display());
    fs::create_dir_all(folder).with_context(cannot_write)?;
    fs::write(folder.join("report.md"), report.text).with_context(cannot_write)?;
    fs::write(folder.join("plot.svg"), plot).with_context(cannot_write)?;
    eprintln!("wrote report.md and plot.svg to {}", folder.display());
    Ok(())
}

fn measure(report: &mut Report<'_>, extent: &Extent) -> anyhow::Result<Results> {
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
    let one_session = run(matrix::one_session(rounds))?;
    let sealed = run(matrix::sealed(extent.rounds))?;
    let delayed = run(matrix::delayed(rounds))?;
    let mut contention = Vec::new();
    if report.is_wanted(contention::TITLE) {
        contention = contention::measure(rounds, extent.pace.round)?;
        report.section(contention::TITLE, &contention::table(&contention));
    }
    let mut writes = Vec::new();
    if report.is_wanted(writes::TITLE) {
        writes = writes::measure(rounds, extent.pace.round)?;
        report.section(writes::TITLE, &writes::table(&writes));
    }
    if report.is_wanted(session_memory::TITLE) {
        let table = session_memory::measure(extent.typical_sessions)?;
        report.section(session_memory::TITLE, &table);
    }
    if report.is_wanted(user_sessions::TITLE) {
        let table = user_sessions::measure(extent.sessions_of_user, rounds)?;
        report.section(user_sessions::TITLE, &table);
    }
    let mut memory = Vec::new();
    if report.is_wanted(memory::TITLE) {
        memory = memory::measure(extent.milestones, extent.pace.round)?;
        report.section(memory::TITLE, &memory::table(&memory));
    }
    Ok(Results {
        counter,
        read,
        sliding,
        state_sizes,
        sessions,
        one_session,
        delayed,
        sealed,
        contention,
        writes,
        memory,
    })
}
