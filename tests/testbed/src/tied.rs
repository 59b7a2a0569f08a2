use std::{
    path::PathBuf,
    process::{self, Command, Stdio},
    sync::LazyLock,
};

use crate::installed::installed;

/// Becomes the program in place, so the process id stays the same, unless the parent has ended
/// before it was watched.
const UNLESS_ALONE: &str = r#"test "$PPID" = "$0" && exec "$@""#;

/// `setpriv` of util-linux, where it is and can do what we need.
static SETPRIV: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let setpriv = installed("setpriv", "util-linux").ok()?;
    let mut trial = Command::new(&setpriv);
    trial.args(["--pdeathsig", "KILL", "true"]);
    let output = trial.stdin(Stdio::null()).output().ok()?;
    output.status.success().then_some(setpriv)
});

/// The command, so that what it starts ends with the *thread* which spawns it, whatever ends that
/// thread: with SIGKILL, because nothing will be left to notice a child that ignores anything
/// milder.
///
/// Where there is no `setpriv` of util-linux, as on other systems than Linux, it is the command as
/// it was: what it starts outlives a parent that is killed with SIGKILL.
pub fn tied(command: Command) -> Command {
    let Some(setpriv) = &*SETPRIV else {
        return command;
    };
    let mut tied = Command::new(setpriv);
    tied.args(["--pdeathsig", "KILL", "/bin/sh", "-c", UNLESS_ALONE])
        .arg(process::id().to_string())
        .arg(command.get_program())
        .args(command.get_args());
    for (variable, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(variable, value),
            None => tied.env_remove(variable),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        tied.current_dir(folder);
    }
    tied
}
