use std::{env, ffi::OsStr};

use anyhow::bail;
use clap::{
    Arg, ArgAction, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    builder::{BoolishValueParser, TypedValueParser as _},
    error::ErrorKind,
};

use crate::{
    serve::{ServeOptions, serve},
    tied::{TiedOptions, become_tied},
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
        let command = Self::command().mut_subcommands(|command| command.mut_args(unless_off));
        Self::from_arg_matches(&command.try_get_matches()?)
    }
}

/// A variable that is set to nothing counts as not set: `PORT= make demo`. So does a flag's that
/// says no: otherwise `REDIS_CLUSTER=no` would ask for what a cluster needs.
fn unless_off(option: Arg) -> Arg {
    let is_flag = matches!(option.get_action(), ArgAction::SetTrue);
    match option.get_env().and_then(env::var_os) {
        Some(value) if value.is_empty() || is_flag && is_no(&value) => option.env(None),
        _ => option,
    }
}

fn is_no(value: &OsStr) -> bool {
    let parsed = BoolishValueParser::new().parse_ref(&clap::Command::default(), None, value);
    parsed.is_ok_and(|yes| !yes)
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
    #[command(hide = true)]
    Tied(TiedOptions),
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
        Command::Tied(options) => become_tied(&options),
    }
}

/// clap explains a mistake in its first paragraph and goes on with a usage summary.
fn in_one_line(mistake: &clap::Error) -> String {
    // Here it would list the hidden command too.
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
