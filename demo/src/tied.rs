use std::{
    ffi::OsString,
    os::unix::process::{CommandExt as _, parent_id},
    path::Path,
    process::{self, Command},
};

use anyhow::{Context as _, anyhow, ensure};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct TiedOptions {
    /// The process that must be alive
    parent: u32,
    /// The program to become, and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// A command for `program` that ends with the thread which spawns it, whatever ends that thread.
///
/// `demo`, this package's own executable, runs first and becomes the program in place, so the
/// process id stays the same. What it needs cannot be done between fork and exec in safe code.
///
/// On other systems than Linux a program outlives a parent that is killed with SIGKILL.
pub(crate) fn tied(demo: &Path, program: &Path) -> Command {
    let mut command = Command::new(demo);
    command
        .args(["tied", &process::id().to_string(), "--"])
        .arg(program);
    command
}

/// Becomes the program; returns only if that fails.
pub(crate) fn become_tied(options: &TiedOptions) -> anyhow::Result<()> {
    die_with_parent()?;
    // It may have died before the line above.
    ensure!(
        parent_id() == options.parent,
        "process {} is gone",
        options.parent
    );
    let (program, arguments) = options
        .command
        .split_first()
        .context("there is no program to become")?;
    let failure = Command::new(program).args(arguments).exec();
    Err(anyhow!(failure).context(format!("cannot run {}", program.display())))
}

/// SIGKILL, because nothing will be left to notice a child that ignores anything milder; none of
/// ours has children of its own, nor anything to put on disk.
#[cfg(target_os = "linux")]
fn die_with_parent() -> anyhow::Result<()> {
    use nix::sys::{prctl::set_pdeathsig, signal::Signal};

    set_pdeathsig(Signal::SIGKILL).context("cannot tie this process to its parent")
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent() -> anyhow::Result<()> {
    Ok(())
}
