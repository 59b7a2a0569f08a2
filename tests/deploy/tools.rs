use std::{
    env,
    io::{self, Write as _},
    path::PathBuf,
    process::{Command, Output},
};

/// For a machine on which they cannot be had.
const SKIP: &str = "SKIP_DEPLOY_TOOLS";

/// Debian keeps servers where the PATH of an ordinary user does not look.
const MORE_FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/opt/homebrew/bin"];

/// A program of a package of Debian's. `None` if it is not there, and that is as somebody wants it.
///
/// # Panics
///
/// When it is not there, and nobody said so.
pub(crate) fn tool(program: &str, package: &str) -> Option<Command> {
    if let Some(found) = find(program) {
        return Some(Command::new(found));
    }
    assert!(
        env::var(SKIP).is_ok_and(|value| value == "yes"),
        "{program} is not installed: `make deps-test` installs it (Debian's package {package}); \
         with {SKIP}=yes the tests go without"
    );
    left_out(program);
    None
}

/// A program that no package of Debian 12 has.
pub(crate) fn tool_if_there(program: &str) -> Option<Command> {
    let found = find(program);
    if found.is_none() {
        left_out(program);
    }
    found.map(Command::new)
}

/// On the real stderr, which the test harness does not capture.
pub(crate) fn left_out(program: &str) {
    writeln!(io::stderr(), "left out, since there is no {program}").ok();
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(MORE_FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// What it wrote, on both streams.
///
/// # Panics
///
/// When it fails.
pub(crate) fn succeed(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let said = [stdout, stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(status.success(), "{command:?}: {said}");
    said
}
