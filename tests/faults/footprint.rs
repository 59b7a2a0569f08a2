use std::fs;

use deadpool_redis::redis::cmd;
use support::{Stack, redis};

use crate::trial::INSTANCES;

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
    pub(crate) fn of(stack: &Stack) -> Self {
        let total = |field| {
            (0..INSTANCES)
                .map(|i| status(stack.instance_pid(i), field))
                .sum()
        };
        Self {
            threads: total("Threads:"),
            memory_kib: total("RssAnon:"),
            redis_connections: redis_connections(stack),
        }
    }
}

fn redis_connections(stack: &Stack) -> usize {
    let clients: String = cmd("CLIENT")
        .arg(&["LIST", "TYPE", "normal"])
        .query(&mut redis(stack))
        .unwrap();
    // Without the one that asks.
    clients.lines().count() - 1
}

/// A number that Linux tells of a process.
fn status(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
