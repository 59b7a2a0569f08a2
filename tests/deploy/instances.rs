use std::{
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
};

use testbed::{Process, Program, ReservedPort, eventually};

/// 64 bytes in base64.
pub(crate) const KEY: &str =
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";

/// That the demo starts with the arguments of a file, on a port that is free here.
pub(crate) fn assert_starts_with(arguments: &[&str]) {
    let mut arguments = arguments.to_vec();
    let listen = arguments
        .iter()
        .position(|argument| *argument == "--listen");
    arguments[listen.expect("it says where to listen") + 1] = "127.0.0.1:0";
    assert_starts(
        Command::new(env!("CARGO_BIN_EXE_demo-under-test"))
            .env_clear()
            .env("SESSION_KEY", KEY)
            .args(arguments),
    );
}

/// That this is an instance, and accepts connections.
pub(crate) fn assert_starts(command: &mut Command) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let first = output.lines().next();
    child.kill().unwrap();
    child.wait().unwrap();
    let first = first.unwrap_or_else(|| panic!("{command:?} ends")).unwrap();
    assert!(first.starts_with("listening on "), "{first}");
}

/// One `demo serve`, at an address that stays its own while it is down.
pub(crate) struct Instance {
    name: &'static str,
    redis_url: String,
    port: ReservedPort,
    metrics_port: ReservedPort,
    process: Option<Process>,
}

impl Instance {
    pub(crate) fn start(name: &'static str, redis_url: &str) -> Self {
        let mut instance = Self {
            name,
            redis_url: redis_url.to_owned(),
            port: ReservedPort::any().unwrap(),
            metrics_port: ReservedPort::any().unwrap(),
            process: None,
        };
        instance.start_again();
        instance
    }

    pub(crate) fn start_again(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_demo-under-test"));
        command
            .env_clear()
            .env("SESSION_KEY", KEY)
            .env("REDIS_URL", &self.redis_url)
            .env("RUST_LOG", "off")
            .env("METRICS_LISTEN", self.metrics_port.address().to_string())
            .args(["serve", "--workers", "2", "--name", self.name, "--listen"])
            .arg(self.port.address().to_string());
        let program = Program::new(self.name, command);
        self.process = Some(Process::spawn(program).unwrap());
        eventually("the instance accepts connections", || {
            Ok(TcpStream::connect(self.port.address())?)
        });
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub(crate) fn metrics_address(&self) -> SocketAddr {
        self.metrics_port.address()
    }

    /// As a crash does.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// As `systemctl stop` does.
    pub(crate) fn stop(&mut self) {
        self.process.take().expect("it runs").stop().unwrap();
    }
}
