use std::{
    fs,
    io::{BufRead as _, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{
    browser::{Browser, request},
    stack::{DEMO, eventually},
};

/// A command line of the demo, with an environment that the machine does not disturb.
fn demo(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(DEMO);
    for variable in ["REDIS_URL", "SESSION_KEY", "INSTANCES", "PORT", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command.args(arguments).envs(variables.iter().copied());
    command
}

/// `demo up`, running; killed when dropped.
struct Up {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
    /// The process of each part, by its name.
    parts: Vec<(String, i32)>,
    url: String,
    /// A `demo up` that is killed hard cannot remove its files, so they are kept in here.
    _files: TempDir,
}

impl Up {
    /// Reads what it prints, up to the line that says it is ready.
    fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let mut child = demo(&["up"], &[("PORT", "0"), ("INSTANCES", "2")])
            .env("TMPDIR", files.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut up = Self {
            output: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
            parts: Vec::new(),
            url: String::new(),
            _files: files,
        };
        while up.url.is_empty() {
            let line = up.next_line();
            if let Some(url) = line.strip_prefix("Ready: ") {
                up.url = url.to_owned();
            } else {
                let (name, rest) = line.split_once(' ').unwrap();
                let (_, pid) = rest.split_once("(process ").unwrap();
                let pid = pid.trim_end_matches(')').parse().unwrap();
                up.parts.push((name.to_owned(), pid));
            }
        }
        up
    }

    fn next_line(&mut self) -> String {
        let line = self.output.next();
        line.expect("it prints another line").unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().cast_signed();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    fn assert_nothing_is_left(&self) {
        assert_eq!(self.parts.len(), 4, "{:?}", self.parts);
        for (name, pid) in &self.parts {
            eventually(&format!("{name} ends"), || !runs(*pid));
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.wait();
    }
}

/// A process that has ended but that nobody has asked about yet does not run any more.
fn runs(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap().starts_with('Z'))
}

/// What a command says that cannot do what it was asked to: one line.
fn refusal(mut command: Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(!status.success(), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr
}

#[test]
fn up_ends_in_good_order_on_ctrl_c_and_on_sigterm() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut up = Up::start();
        assert_eq!(Browser::new(&up.url).refresh(), 0);
        up.signal(signal);
        assert!(up.wait().success());
        up.assert_nothing_is_left();
    }
}

#[test]
fn up_leaves_nothing_running_when_it_is_killed_hard() {
    let mut up = Up::start();
    up.signal(Signal::SIGKILL);
    up.wait();
    up.assert_nothing_is_left();
}

#[test]
fn up_says_when_an_instance_dies_and_the_rest_carries_on() {
    let mut up = Up::start();
    let browser = Browser::new(&up.url);
    assert_eq!(browser.refresh(), 0);
    let (name, pid) = up.parts[1].clone();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();

    let line = up.next_line();
    assert!(
        line.starts_with(&name) && line.contains("carry on"),
        "{line}"
    );
    for count in 1..10 {
        let page = browser.open("/");
        assert_eq!(page.refreshed(), count);
        assert_ne!(page.instance, name);
    }
}

#[test]
fn up_ends_with_an_error_when_its_redis_dies() {
    let mut up = Up::start();
    let (name, pid) = up.parts[0].clone();
    assert_eq!(name, "redis-server");
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    assert!(!up.wait().success());
    up.assert_nothing_is_left();
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let port = taken.local_addr().unwrap().port().to_string();
    assert!(refusal(demo(&["up"], &[("PORT", &port)])).contains(&port));

    let key = [("SESSION_KEY", KEY)];
    assert!(refusal(demo(&["serve", "--listen", &address], &key)).contains(&address));
}

#[test]
fn the_redis_of_redis_url_must_be_there() {
    let unreachable = refusal(demo(&["up"], &[("REDIS_URL", NO_REDIS)]));
    assert!(unreachable.contains("REDIS_URL"), "{unreachable}");
    assert!(unreachable.contains("No such file"), "{unreachable}");

    for (url, secret) in [
        ("http://localhost", None),
        ("redis://u:s3cret@[::", Some("s3cret")),
    ] {
        let invalid = refusal(demo(&["up"], &[("REDIS_URL", url)]));
        assert!(invalid.contains("REDIS_URL"), "{invalid}");
        assert!(
            secret.is_none_or(|secret| !invalid.contains(secret)),
            "{invalid}"
        );
    }
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    let missing = refusal(demo(&["up"], &[("PATH", "/nowhere"), ("PORT", "0")]));
    assert!(
        missing.contains("redis-server is not installed"),
        "{missing}"
    );
    assert!(missing.contains("make deps"), "{missing}");
}

#[test]
fn an_instance_refuses_to_start_without_a_proper_session_key() {
    for (key, reason) in [
        (
            None,
            "SESSION_KEY is not set: all instances need the same secret",
        ),
        (Some("c2hvcnQ="), "SESSION_KEY is too short: 5 bytes"),
        (Some("s3cret!"), "SESSION_KEY is not base64"),
    ] {
        let variables: Vec<_> = key.map(|key| ("SESSION_KEY", key)).into_iter().collect();
        let said = refusal(demo(&["serve", "--listen", "127.0.0.1:0"], &variables));
        assert!(said.contains(reason), "{said}");
        assert!(key.is_none_or(|key| !said.contains(key)), "{said}");
    }
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    for variables in [
        [("INSTANCES", "0")],
        [("INSTANCES", "many")],
        [("PORT", "70000")],
    ] {
        let said = refusal(demo(&["up"], &variables));
        assert!(said.contains(variables[0].1), "{said}");
    }
    for ttl in ["0", "soon"] {
        let said = refusal(demo(&["up", "--session-ttl", ttl], &[]));
        assert!(said.contains("--session-ttl"), "{said}");
    }
}

#[test]
fn an_instance_starts_before_redis_and_says_what_it_is_waiting_for() {
    let mut child = demo(
        &["serve", "--listen", "127.0.0.1:0", "--workers", "1"],
        &[("REDIS_URL", NO_REDIS), ("SESSION_KEY", KEY)],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::null())
    .spawn()
    .unwrap();
    let line = BufReader::new(child.stdout.take().unwrap()).lines().next();
    let line = line.unwrap().unwrap();
    let address = line.strip_prefix("listening on ").unwrap();

    let response = request(&format!("{address}/healthz"), None);
    assert_eq!(response.status(), 503);
    let reason = response.text().unwrap();
    assert!(reason.contains("Redis is unavailable"), "{reason}");

    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
}

/// A socket that nobody will ever listen on.
const NO_REDIS: &str = "redis+unix:///nowhere/redis.sock";

/// 64 bytes in base64.
const KEY: &str =
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";
