use std::{
    collections::BTreeMap,
    fmt,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::Context as _;
use testbed::Server;

/// The commands that clients have sent to Redis for some requests. Those that a script runs inside
/// Redis are not sent by anybody.
#[derive(Debug, Clone)]
pub(crate) struct CommandsSeen {
    requests: usize,
    counts: BTreeMap<String, usize>,
}

impl CommandsSeen {
    /// Watches Redis while `act` makes so many requests.
    pub(crate) fn watch(
        redis: &Server,
        requests: usize,
        act: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        const END: &str = "the-end";
        let mut stream = TcpStream::connect(redis.address())?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"MONITOR\r\n")?;
        let mut lines = BufReader::new(stream).lines();
        lines.next().context("MONITOR was not answered")??;
        act()?;
        redis.run::<()>(&format!("ECHO {END}"));
        let mut counts = BTreeMap::new();
        for line in lines {
            let line = line?;
            if line.contains(END) {
                break;
            }
            if let Some(command) = sent_command(&line) {
                *counts.entry(command).or_default() += 1;
            }
        }
        Ok(Self { requests, counts })
    }

    pub(crate) fn per_request(&self) -> f64 {
        self.counts.values().sum::<usize>() as f64 / self.requests as f64
    }

    /// How many of these per request.
    pub(crate) fn of(&self, command: &str) -> f64 {
        *self.counts.get(command).unwrap_or(&0) as f64 / self.requests as f64
    }
}

/// `+1700000000.123456 [0 127.0.0.1:50000] "GET" "key"`, where a script has `lua` for an address.
fn sent_command(line: &str) -> Option<String> {
    let (source, command) = line.split_once("] ")?;
    let name = command.split('"').nth(1)?;
    (!source.ends_with(" lua")).then(|| name.to_uppercase())
}

/// Such as `2 (GET, SET)`.
impl fmt::Display for CommandsSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            self.counts
                .iter()
                .map(|(name, &count)| match count as f64 / self.requests as f64 {
                    1.0 => name.clone(),
                    times => format!("{} {name}", (times * 100.0).round() / 100.0),
                });
        match self.per_request() {
            0.0 => f.write_str("0"),
            sum => write!(
                f,
                "{} ({})",
                (sum * 100.0).round() / 100.0,
                names.collect::<Vec<_>>().join(", ")
            ),
        }
    }
}
