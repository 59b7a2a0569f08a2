use std::{
    fs,
    io::{BufRead as _, BufReader, Lines},
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use testbed::eventually_holds;

use crate::stack::DEMO;

/// 64 bytes in base64.
pub(crate) const KEY: &str =
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";

/// 32 bytes in base64.
pub(crate) const SEAL_KEY_A: &str = "uTiXUOmrPgNRfVYlxlc+FpDOLbfHN5FTWfCUexDCYwY=";
pub(crate) const SEAL_KEY_B: &str = "hbgV6M8I5xVF0pGvqZ2yq3v4rYb7u1sI0mXo8N0kqzE=";

/// A command line of the demo, with an environment that the machine does not disturb.
pub(crate) fn demo(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(DEMO);
    let known = [
        "REDIS_URL",
        "SESSION_KEY",
        "SEAL_KEYS",
        "SEAL_ACCEPT_UNSEALED",
        "INSTANCES",
        "PORT",
        "METRICS_LISTEN",
        "RUST_LOG",
    ];
    for variable in known {
        command.env_remove(variable);
    }
    command.args(arguments).envs(variables.iter().copied());
    command
}

/// What a command says that cannot do what it was asked to: one line.
pub(crate) fn refusal(mut command: Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(!status.success(), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr
}

/// A command line of the demo, running; killed when dropped.
pub(crate) struct Running {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, output }
    }

    pub(crate) fn next_line(&mut self) -> String {
        let line = self.output.next();
        line.expect("it prints another line").unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().cast_signed();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.wait();
    }
}

/// `demo up`, running. When it is killed, all its parts are.
pub(crate) struct Up {
    pub(crate) process: Running,
    /// The process of each part, by its name.
    pub(crate) parts: Vec<(String, i32)>,
    pub(crate) url: String,
    /// A `demo up` that is killed hard cannot remove its files, so they are kept in here.
    pub(crate) files: TempDir,
}

impl Up {
    /// Two instances, on any port.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| ())
    }

    /// Reads what it prints, up to the line that says it is ready.
    pub(crate) fn start_with(change: impl FnOnce(&mut Command)) -> Self {
        let files = tempfile::tempdir().unwrap();
        let mut command = demo(&["up"], &[("PORT", "0"), ("INSTANCES", "2")]);
        command.env("TMPDIR", files.path());
        change(&mut command);
        let mut process = Running::start(&mut command);

        let mut parts = Vec::new();
        loop {
            let line = process.next_line();
            if let Some(url) = line.strip_prefix("Ready: ") {
                return Self {
                    process,
                    parts,
                    url: url.to_owned(),
                    files,
                };
            }
            let (name, rest) = line.split_once(' ').unwrap();
            let (_, pid) = rest.split_once("(process ").unwrap();
            let pid = pid.trim_end_matches(')').parse().unwrap();
            parts.push((name.to_owned(), pid));
        }
    }

    /// Kills a part behind its back, and returns the name of that part.
    pub(crate) fn kill_part(&self, i: usize) -> &str {
        let (name, pid) = &self.parts[i];
        kill(Pid::from_raw(*pid), Signal::SIGKILL).unwrap();
        name
    }

    pub(crate) fn assert_nothing_is_left(&self) {
        assert_eq!(self.parts.len(), 4, "{:?}", self.parts);
        for (name, pid) in &self.parts {
            eventually_holds(&format!("{name} ends"), || !runs(*pid));
        }
    }
}

/// A process that has ended but that nobody has asked about yet does not run any more.
fn runs(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap().starts_with('Z'))
}
