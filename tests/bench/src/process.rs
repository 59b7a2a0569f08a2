use std::{
    fs,
    process::{Child, Command},
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, SysconfVar, sysconf},
};

/// A process of ours, killed and reaped when dropped.
#[derive(Debug)]
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        let child = command.spawn();
        let program = command.get_program();
        Ok(Self(
            child.with_context(|| format!("cannot start {program:?}"))?,
        ))
    }

    pub(crate) fn id(&self) -> ProcessId {
        ProcessId(self.0.id())
    }

    /// As Ctrl-C does. Until we have reaped the process, its id belongs to no other.
    pub(crate) fn interrupt(&mut self) -> anyhow::Result<()> {
        if self.0.try_wait()?.is_none() {
            kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGINT)?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// What the system knows of a process that runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessId(pub(crate) u32);

impl ProcessId {
    /// In user space and in the kernel.
    pub(crate) fn cpu_time(self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        // The name of the program is in parentheses, and may contain anything.
        let (_, fields) = stat.rsplit_once(") ").context("/proc/…/stat has no name")?;
        let mut fields = fields.split(' ').skip(11);
        let mut ticks = || {
            anyhow::Ok(
                fields
                    .next()
                    .context("/proc/…/stat is short")?
                    .parse::<u64>()?,
            )
        };
        let ticks = ticks()? + ticks()?;
        let per_second = sysconf(SysconfVar::CLK_TCK)?.context("no clock ticks")?;
        Ok(Duration::from_secs(ticks) / u32::try_from(per_second)?)
    }

    pub(crate) fn resident_kib(self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let size = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(size.context("/proc/…/status has no VmRSS")?.parse()?)
    }
}
