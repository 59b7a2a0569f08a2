use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::RedisAddress;

use super::{
    installed::installed,
    launcher::Launcher,
    port::ReservedPort,
    process::{Process, Program},
};

const NOT_OURS: &str = "the Redis of REDIS_URL is not ours to stop or start";

/// The Redis that holds the sessions.
#[derive(Debug)]
pub(super) enum Redis {
    /// Somebody else's: we only know where it is.
    Given { address: RedisAddress },
    /// One of our own, on a free port. It keeps its data in the folder of the stack, so that it
    /// has the sessions again after a restart.
    Private {
        process: Process,
        port: ReservedPort,
        folder: PathBuf,
    },
}

impl Redis {
    pub(super) fn given(address: RedisAddress) -> Self {
        Self::Given { address }
    }

    pub(super) fn spawn(launcher: &Launcher, folder: &Path) -> anyhow::Result<Self> {
        let port = ReservedPort::any()?;
        Ok(Self::Private {
            process: Self::spawn_server(launcher, &port, folder)?,
            port,
            folder: folder.to_owned(),
        })
    }

    /// The server, if it is ours to do something to.
    pub(super) fn ours(&mut self) -> anyhow::Result<&mut Process> {
        self.process_mut().context(NOT_OURS)
    }

    /// Stops the server in good order, and returns when the successor accepts connections.
    pub(super) fn restart(&mut self, launcher: &Launcher) -> anyhow::Result<()> {
        match self {
            Self::Given { .. } => bail!(NOT_OURS),
            Self::Private {
                process,
                port,
                folder,
            } => {
                process.stop()?;
                *process = Self::spawn_server(launcher, port, folder)?;
                process.wait_ready()
            }
        }
    }

    fn spawn_server(
        launcher: &Launcher,
        port: &ReservedPort,
        folder: &Path,
    ) -> anyhow::Result<Process> {
        let redis_server = installed("redis-server", "redis-server")?;
        let mut command = launcher.program(&redis_server);
        command
            .args(["--bind", "127.0.0.1", "--port"])
            .arg(port.address().port().to_string())
            .args(["--save", "", "--appendonly", "yes", "--daemonize", "no"])
            .args(["--logfile", "", "--loglevel", "notice", "--dir"])
            .arg(folder);
        let program = Program {
            name: "redis-server",
            command,
            // Redis 7.2 goes on with " tcp".
            ready_sign: "Ready to accept connections",
            show_log: false,
        };
        Process::spawn(program, launcher)
    }

    pub(super) fn address(&self) -> RedisAddress {
        match self {
            Self::Given { address } => address.clone(),
            Self::Private { port, .. } => {
                RedisAddress::standalone(format!("redis://{}", port.address()))
            }
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
