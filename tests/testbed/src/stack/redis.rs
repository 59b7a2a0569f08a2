use std::{path::Path, process::Command};

use super::launcher::Launcher;
use crate::{
    installed::installed,
    process::{Process, Program},
};

/// The Redis that holds the sessions. (No `Server`: that panics where `demo up` says one line, and outlives it when
/// it is killed hard.)
#[derive(Debug)]
pub(super) enum Redis {
    /// Somebody else's: we only know where it is.
    Given { url: String },
    /// One of our own, in the folder of the stack: on a Unix socket there, so that nobody reaches it
    /// who may not enter the folder.
    Private { process: Process, url: String },
}

impl Redis {
    pub(super) fn spawn(launcher: &Launcher, folder: &Path) -> anyhow::Result<Self> {
        let socket = folder.join("redis.sock");
        let mut command = Command::new(installed("redis-server", "redis-server")?);
        command
            .args(["--port", "0", "--unixsocketperm", "700", "--unixsocket"])
            .arg(&socket)
            .args(["--save", "", "--appendonly", "yes", "--daemonize", "no"])
            .args(["--logfile", "", "--loglevel", "notice", "--dir"])
            .arg(folder);
        let program = Program::new("redis-server", Launcher::of_the_system(command))
            // Redis says so in several ways.
            .ready_when_it_says("to accept connections");
        Ok(Self::Private {
            process: launcher.spawn(program)?,
            url: format!("redis+unix://{}", socket.display()),
        })
    }

    pub(super) fn url(&self) -> &str {
        match self {
            Self::Given { url } | Self::Private { url, .. } => url,
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
