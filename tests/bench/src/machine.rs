use std::{fs, process::Command};

use crate::cores;

/// What the figures were measured on.
pub(crate) fn description() -> anyhow::Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model
        .unwrap_or(": unknown")
        .trim_start_matches(['\t', ':', ' ']);
    let cores = cores::count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let redis = Command::new("redis-server").arg("--version").output()?;
    let redis = String::from_utf8_lossy(&redis.stdout).into_owned();
    let redis = redis.split(' ').find_map(|word| word.strip_prefix("v="));
    Ok(format!(
        "{model}, {cores} cores, Linux {}, Redis {}",
        kernel.trim_end(),
        redis.unwrap_or("unknown")
    ))
}

/// How busy it has been lately: the load averages of 1, 5 and 15 minutes.
pub(crate) fn load() -> anyhow::Result<String> {
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(load.split(' ').take(3).collect::<Vec<_>>().join(" "))
}
