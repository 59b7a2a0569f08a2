use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use testbed::{Process, Program};

/// The load generator: one thread of another process.
#[derive(Debug)]
pub(crate) struct Wrk {
    script: PathBuf,
}

/// What clients have seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) duration: Duration,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Wrk {
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        let script = folder.join("wrk.lua");
        fs::write(&script, include_str!("wrk.lua"))?;
        Ok(Self { script })
    }

    /// Asks for so long over so many connections. `begin` is called right before the first request.
    pub(crate) fn run<T>(
        &self,
        (address, path): (SocketAddr, &str),
        connections: usize,
        cookies: &Path,
        duration: Duration,
        begin: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<(T, Load)> {
        // We end it earlier; should we ourselves be killed before that, it ends by itself.
        let at_most = format!("{}s", duration.as_secs() + 60);
        let mut command = Command::new("wrk");
        command
            .args(["--threads", "1", "--timeout", "10s", "--duration", &at_most])
            .arg("--connections")
            .arg(connections.to_string())
            .arg("--script")
            .arg(&self.script)
            .arg(format!("http://{address}{path}"))
            .arg("--")
            .arg(cookies);
        let program = Program::new("wrk", command).ready_when_it_says("ready");
        let mut process = Process::spawn(program).context("`make deps-bench` installs wrk")?;
        process.wait_ready()?;
        let begun = begin()?;
        // wrk itself knows whole seconds only.
        thread::sleep(duration);
        process.interrupt()?;
        process.wait()?;
        let log = process.log();
        let figures = log.after("figures ");
        let figures = figures.with_context(|| format!("wrk says:{log}"))?;
        let figures: Vec<u64> = figures
            .split(' ')
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let &[
            requests,
            duration,
            p50,
            p99,
            connect,
            read,
            write,
            status,
            timeout,
        ] = &figures[..]
        else {
            bail!("wrk says:{log}");
        };
        let failed = connect + read + write + status + timeout;
        ensure!(
            failed == 0,
            "{failed} of {requests} requests failed: {status} by their status, {timeout} after two seconds; \
             the connection of {connect} when it was made, of {read} when read, of {write} when written to"
        );
        let [duration, p50, p99] = [duration, p50, p99].map(Duration::from_micros);
        let load = Load {
            requests,
            duration,
            p50,
            p99,
        };
        Ok((begun, load))
    }
}
