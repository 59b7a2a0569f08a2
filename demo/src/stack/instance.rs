use std::{io, net::SocketAddr};

use super::{
    launcher::Launcher,
    port::ReservedPort,
    process::{Process, Program},
};
use crate::{
    CookieKey, RedisAddress, SealKeys, SessionTtl,
    serve::{LISTENING, ServeOptions},
};

/// Two show that the threads of one process share sessions too, on any machine.
const WORKERS: &str = "2";

/// What all instances have in common.
#[derive(Debug)]
pub(super) struct InstanceSettings {
    pub(super) redis: RedisAddress,
    pub(super) cookie_key: CookieKey,
    pub(super) seal_keys: Option<SealKeys>,
    pub(super) accept_unsealed: bool,
    pub(super) session_ttl: SessionTtl,
    pub(super) show_log: bool,
}

impl InstanceSettings {
    fn spawn(
        &self,
        name: &str,
        listen: SocketAddr,
        launcher: &Launcher,
    ) -> anyhow::Result<Process> {
        // Set to nothing, they count as not set, whatever we ourselves were told.
        let seal_keys = self.seal_keys.as_ref().map_or("", SealKeys::to_base64);
        let accept_unsealed = if self.accept_unsealed { "true" } else { "" };
        let mut command = launcher.demo();
        command
            .args(["serve", "--workers", WORKERS, "--name", name])
            .args(["--listen", &listen.to_string()])
            .args(["--session-ttl", &self.session_ttl.to_string()])
            // A command line can be read by every user of the machine, so whatever may be secret
            // goes by environment.
            .env_remove(ServeOptions::METRICS_LISTEN)
            .envs(self.redis.to_env())
            .env(CookieKey::VARIABLE, self.cookie_key.to_base64())
            .env(SealKeys::VARIABLE, seal_keys)
            .env(ServeOptions::ACCEPT_UNSEALED, accept_unsealed);
        let program = Program {
            name,
            command,
            ready_sign: LISTENING,
            show_log: self.show_log,
        };
        Process::spawn(program, launcher)
    }
}

/// One `demo serve`, which may end and be started again on the same port.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) process: Process,
    port: ReservedPort,
}

impl Instance {
    pub(super) fn spawn(
        name: &str,
        settings: &InstanceSettings,
        launcher: &Launcher,
    ) -> anyhow::Result<Self> {
        let port = ReservedPort::any()?;
        let process = settings.spawn(name, port.address(), launcher)?;
        Ok(Self { process, port })
    }

    /// Lets running requests finish, and returns when the successor accepts connections.
    pub(super) fn restart(
        &mut self,
        settings: &InstanceSettings,
        launcher: &Launcher,
    ) -> anyhow::Result<()> {
        self.process.stop()?;
        self.process = settings.spawn(self.process.name(), self.address(), launcher)?;
        self.process.wait_ready()
    }

    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.process.kill().map(drop)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.port.address()
    }
}
