use std::fs;

use crate::trial::{INSTANCES, Trial};

/// What the instances take of the machine and of Redis.
#[derive(Debug)]
pub(crate) struct Footprint {
    /// Of all instances together.
    pub(crate) threads: u64,
    /// Of all instances together, without what is only mapped from files.
    pub(crate) memory_kib: u64,
    pub(crate) redis_connections: usize,
}

impl Footprint {
    pub(crate) fn of(trial: &Trial) -> Self {
        let total = |field| {
            (0..INSTANCES)
                .map(|i| status(trial.stack.instance_pid(i), field))
                .sum()
        };
        Self {
            threads: total("Threads:"),
            memory_kib: total("RssAnon:"),
            redis_connections: redis_connections(trial),
        }
    }
}

fn redis_connections(trial: &Trial) -> usize {
    let clients: String = trial.redis().run("CLIENT LIST TYPE normal");
    // Without the one that asks.
    clients.lines().count() - 1
}

/// A number that Linux tells of a process.
fn status(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
