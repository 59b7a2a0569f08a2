use std::{fs, time::Duration};

use anyhow::Context as _;
use nix::unistd::{SysconfVar, sysconf};

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
