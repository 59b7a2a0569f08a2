//! `make bench`: what sessions in Redis cost, measured from outside the server.
//!
//! `bench run` is the conductor. It starts every contender as a process of its own (`bench serve`)
//! with a Redis of its own, lets `wrk` ask them in turn, and writes what it has measured to the
//! terminal and to `target/bench/`.

mod chapter;
mod command_stats;
mod commands_seen;
mod contender;
mod contention;
mod cookie;
mod cores;
mod delay;
mod experiment;
mod extent;
mod figures;
mod floor;
mod lane;
mod machine;
mod matrix;
mod memory;
mod plot;
mod process_id;
mod report;
mod results;
mod routes;
mod run;
mod serve;
mod session_memory;
mod sessions;
mod setting;
mod table;
mod target;
mod targets;
mod user_sessions;
mod writes;
mod wrk;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(about)]
enum Command {
    Serve(serve::ServeOptions),
    Run(run::RunOptions),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Serve(options) => serve::serve(options),
        Command::Run(options) => run::run(&options),
    }
}
