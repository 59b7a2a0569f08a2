use actix_session_redis::deadpool_redis::redis::InfoDict;
use anyhow::Context as _;
use testbed::Server;

/// How often Redis has carried out which command so far, and how long that took.
///
/// What a transaction or a script carries out counts under its own name, too.
#[derive(Debug)]
pub(crate) struct CommandStats(InfoDict);

impl CommandStats {
    pub(crate) fn of(redis: &Server) -> anyhow::Result<Self> {
        Ok(Self(redis.try_run("INFO commandstats")?))
    }

    /// Of all of these together.
    pub(crate) fn calls(&self, commands: &[&str]) -> anyhow::Result<u64> {
        self.sum(commands, "calls=")
    }

    /// Of all of these together; the time of `EXEC` and `EVALSHA` includes what they carry out.
    pub(crate) fn micros(&self, commands: &[&str]) -> anyhow::Result<u64> {
        self.sum(commands, "usec=")
    }

    fn sum(&self, commands: &[&str], figure: &str) -> anyhow::Result<u64> {
        // None of a command that nobody has sent.
        let stats = commands
            .iter()
            .filter_map(|command| self.0.get::<String>(&format!("cmdstat_{command}")));
        let figures = stats.map(|stats| {
            let mut figures = stats.split(',');
            let found = figures.find_map(|it| it.strip_prefix(figure)?.parse::<u64>().ok());
            found.with_context(|| format!("there is no {figure} in {stats}"))
        });
        figures.sum()
    }
}
