use std::{io, net::SocketAddr, process::Command};

use super::launcher::Launcher;
use crate::{
    port::ReservedPort,
    process::{Process, Program},
};

/// What a [`Stack`](super::Stack) runs several instances of.
pub trait Application {
    /// Part of the line that an instance writes once it accepts connections.
    const READY: &'static str;

    /// What starts an instance of this name, which listens at this address and keeps its sessions in
    /// this Redis.
    fn instance(&self, name: &str, listen: SocketAddr, redis_url: &str) -> Command;

    /// The configuration of the nginx in front of these instances. It names no path outside of its
    /// own folder, starts no other process, and writes its notices to stderr.
    ///
    /// # Errors
    ///
    /// When there is none.
    fn nginx(&self, listen: SocketAddr, instances: &[SocketAddr]) -> anyhow::Result<String>;

    /// Whether the logs of the instances go to our stderr as they are written.
    fn shows_logs(&self) -> bool {
        false
    }
}

/// One process of the application, which may end and be started again on the same port.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) process: Process,
    port: ReservedPort,
}

impl Instance {
    pub(super) fn spawn<A: Application>(
        name: &str,
        application: &A,
        redis_url: &str,
        launcher: &Launcher,
    ) -> anyhow::Result<Self> {
        let port = ReservedPort::any()?;
        let process = process(name, port.address(), application, redis_url, launcher)?;
        Ok(Self { process, port })
    }

    /// Lets running requests finish, and returns when the successor accepts connections.
    pub(super) fn restart<A: Application>(
        &mut self,
        application: &A,
        redis_url: &str,
        launcher: &Launcher,
    ) -> anyhow::Result<()> {
        self.process.stop()?;
        let (name, address) = (self.process.name(), self.address());
        self.process = process(name, address, application, redis_url, launcher)?;
        self.process.wait_ready().map(drop)
    }

    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.process.kill().map(drop)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.port.address()
    }
}

fn process<A: Application>(
    name: &str,
    listen: SocketAddr,
    application: &A,
    redis_url: &str,
    launcher: &Launcher,
) -> anyhow::Result<Process> {
    let command = application.instance(name, listen, redis_url);
    let program = Program::new(name, Launcher::ours(command))
        .ready_when_it_says(A::READY)
        .log_shown(application.shows_logs());
    launcher.spawn(program)
}
