use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};

use crate::process::Process;

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
            .arg(cookies)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = Process::spawn(&mut command).context("`make deps-bench` installs wrk")?;
        let mut complaints = BufReader::new(process.0.stderr.take().context("no stderr")?);
        let mut line = String::new();
        complaints.read_line(&mut line)?;
        ensure!(line == "ready\n", "wrk says: {line}");
        let begun = begin()?;
        // wrk itself knows whole seconds only.
        thread::sleep(duration);
        process.interrupt()?;
        let mut report = String::new();
        let mut output = process.0.stdout.take().context("no stdout")?;
        output.read_to_string(&mut report)?;
        let figures = report
            .lines()
            .find_map(|line| line.strip_prefix("figures "));
        let figures = figures.with_context(|| format!("wrk says: {report}"))?;
        let figures: Vec<u64> = figures
            .split(' ')
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let &[requests, duration, p50, p99, errors] = &figures[..] else {
            bail!("wrk says: {report}");
        };
        ensure!(errors == 0, "{errors} of {requests} requests failed");
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
