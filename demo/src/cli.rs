use std::env;

use anyhow::bail;
use clap::{Arg, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, error::ErrorKind};

use crate::{
    serve::{ServeOptions, serve},
    up::{UpOptions, up},
};

/// Sessions in Redis, shared by several processes behind nginx.
#[derive(Debug, Parser)]
#[command(name = "demo", arg_required_else_help = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    fn read() -> Result<Self, clap::Error> {
        let command = Self::command().mut_subcommands(|command| command.mut_args(unless_empty));
        Self::from_arg_matches(&command.try_get_matches()?)
    }
}

/// A variable that is set to nothing counts as not set: `PORT= make demo`.
fn unless_empty(option: Arg) -> Arg {
    match option.get_env().and_then(env::var_os) {
        Some(value) if value.is_empty() => option.env(None),
        _ => option,
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole stack: Redis, several instances, and nginx in front.
    ///
    /// SESSION_KEY and SEAL_KEYS in its environment are those of its instances, if they are set.
    Up(UpOptions),
    /// Run one instance.
    ///
    /// It needs SESSION_KEY in its environment: 64 bytes or more in base64, the same for all
    /// instances. RUST_LOG chooses what it logs (default: warn). With SEAL_KEYS, it seals what
    /// Redis holds of the sessions: keys of 32 bytes in base64, newest first, with commas in
    /// between, the same for all instances.
    Serve(ServeOptions),
}

/// Runs the command that the arguments of this process ask for.
///
/// # Errors
///
/// Whatever stands in the way, as one line for the person who typed the command; only a part of
/// the stack that did not come up adds the end of its log.
pub fn main() -> anyhow::Result<()> {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(mistake) if mistake.use_stderr() => bail!(in_one_line(&mistake)),
        Err(help) => {
            // Nobody may read as far as to its end.
            help.print().ok();
            return Ok(());
        }
    };
    match cli.command {
        Command::Up(options) => up(options),
        Command::Serve(options) => serve(options),
    }
}

/// clap explains a mistake in its first paragraph and goes on with a usage summary.
fn in_one_line(mistake: &clap::Error) -> String {
    if mistake.kind() == ErrorKind::MissingSubcommand {
        return "say what to run: `demo up`, or `demo serve` for one instance".to_owned();
    }
    let text = mistake.to_string();
    let lines: Vec<_> = text
        .trim_start_matches("error: ")
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    lines.join(" ")
}
