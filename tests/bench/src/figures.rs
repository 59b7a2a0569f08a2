use std::{fmt, time::Duration};

use crate::wrk::Load;

/// What one round of one lane has cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    pub(crate) load: Load,
    pub(crate) server_cpu: Duration,
    pub(crate) redis_cpu: Duration,
}

impl Round {
    pub(crate) fn rate(&self) -> f64 {
        self.load.requests as f64 / self.load.duration.as_secs_f64()
    }

    /// In microseconds.
    pub(crate) fn server_cpu_per_request(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / self.load.requests as f64
    }

    /// In microseconds.
    pub(crate) fn redis_cpu_per_request(&self) -> f64 {
        self.redis_cpu.as_secs_f64() * 1e6 / self.load.requests as f64
    }
}

/// The median of some rounds, and how far they are apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(&least), Some(&most)) = (values.first(), values.last()) else {
            panic!("there is no round");
        };
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Self {
            least,
            median,
            most,
        }
    }
}

/// For ratios.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            least,
            median,
            most,
        } = self;
        write!(f, "{median:.2} ({least:.2} to {most:.2})")
    }
}
