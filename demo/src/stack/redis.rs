use std::path::Path;

use super::{
    installed::installed,
    launcher::Launcher,
    port::ReservedPort,
    process::{Process, Program},
};

/// The Redis that holds the sessions.
#[derive(Debug)]
pub(super) enum Redis {
    /// Somebody else's: we only know where it is.
    Given { url: String },
    /// One of our own, on a free port; it keeps nothing on disk.
    Private {
        process: Process,
        port: ReservedPort,
    },
}

impl Redis {
    pub(super) fn given(url: String) -> Self {
        Self::Given { url }
    }

    pub(super) fn spawn(launcher: &Launcher, folder: &Path) -> anyhow::Result<Self> {
        let redis_server = installed("redis-server", "redis-server")?;
        let port = ReservedPort::any()?;
        let mut command = launcher.program(&redis_server);
        command
            .args(["--bind", "127.0.0.1", "--port"])
            .arg(port.address().port().to_string())
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(["--logfile", "", "--loglevel", "notice", "--dir"])
            .arg(folder);
        let program = Program {
            name: "redis-server",
            command,
            // Redis 7.2 goes on with " tcp".
            ready_sign: "Ready to accept connections",
            show_log: false,
        };
        let process = Process::spawn(program, launcher)?;
        Ok(Self::Private { process, port })
    }

    pub(super) fn url(&self) -> String {
        match self {
            Self::Given { url } => url.clone(),
            Self::Private { port, .. } => format!("redis://{}", port.address()),
        }
    }

    pub(super) fn process(&self) -> Option<&Process> {
        match self {
            Self::Given { .. } => None,
            Self::Private { process, .. } => Some(process),
        }
    }

    pub(super) fn process_mut(&mut self) -> Option<&mut Process> {
        match self {
            Self::Given { .. } => None,
            Self::Private { process, .. } => Some(process),
        }
    }
}
