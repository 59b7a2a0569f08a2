use std::{
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
};

use redis_fixtures::{Process, ReservedPort, eventually};

/// 64 bytes in base64.
const KEY: &str =
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";

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
            port: ReservedPort::any(),
            metrics_port: ReservedPort::any(),
            process: None,
        };
        instance.start_again();
        instance
    }

    pub(crate) fn start_again(&mut self) {
        let process = Process::spawn(
            Command::new(env!("CARGO_BIN_EXE_demo-under-test"))
                .env_clear()
                .env("SESSION_KEY", KEY)
                .env("REDIS_URL", &self.redis_url)
                .env("RUST_LOG", "off")
                .env("METRICS_LISTEN", self.metrics_port.address().to_string())
                .args(["serve", "--workers", "2", "--name", self.name, "--listen"])
                .arg(self.port.address().to_string())
                .stdout(Stdio::null()),
        );
        self.process = Some(process);
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
        self.process.take().expect("it runs").stop();
    }
}
