//! Who computes where. A server gets as many cores as it has workers, as in production; who asks,
//! and Redis, get the others. Or else a contender with a thread more would be given a core more,
//! and the scheduler would make the figures.

use std::sync::LazyLock;

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::setting::Setting;

/// As many as a server has workers at most.
const OF_SERVERS: usize = 2;

const MYSELF: Pid = Pid::from_raw(0);

/// Those that this process was given.
static ALL: LazyLock<Vec<usize>> = LazyLock::new(|| {
    let given = sched_getaffinity(MYSELF).unwrap_or_default();
    let is_given = |&core: &usize| given.is_set(core).unwrap_or(false);
    (0..CpuSet::count()).filter(is_given).collect()
});

/// Unless there are too few of them.
pub(crate) fn can_be_divided() -> bool {
    ALL.len() >= 2 * OF_SERVERS
}

/// Not if nginx or a delaying proxy computes as well.
fn are_divided(setting: &Setting) -> bool {
    can_be_divided() && !setting.nginx && setting.delay.is_none()
}

pub(crate) fn of_server(setting: &Setting) -> &'static [usize] {
    if are_divided(setting) {
        &ALL[..setting.workers.min(OF_SERVERS)]
    } else {
        &ALL
    }
}

pub(crate) fn of_others(setting: &Setting) -> &'static [usize] {
    if are_divided(setting) {
        &ALL[OF_SERVERS..]
    } else {
        &ALL
    }
}

/// From now on, this thread, and the threads and processes that it starts.
pub(crate) fn use_only(cores: &[usize]) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core)?;
    }
    Ok(sched_setaffinity(MYSELF, &set)?)
}

pub(crate) fn count() -> usize {
    ALL.len()
}
