//! How long an operation may still wait for Redis.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

/// Time to wait, of which each wait spends a part.
///
/// It is spent in small steps, and one whose timer fires much too late costs no more than it was to
/// last. So the time in which this very thread was blocked, by a handler that computes or does
/// synchronous I/O, is not held against Redis: its answer may have been there all along, and gets
/// several chances to be noticed. (A timer that is a little late, as on a busy machine, costs what
/// has passed, or the steps would add up to much more than the whole.)
#[derive(Debug)]
pub(crate) struct Deadline {
    pub(crate) total: Duration,
    /// In nanoseconds.
    spent: AtomicU64,
}

impl Deadline {
    pub(crate) fn new(total: Duration) -> Self {
        let spent = AtomicU64::new(0);
        Self { total, spent }
    }

    pub(crate) fn left(&self) -> Duration {
        self.total
            .saturating_sub(Duration::from_nanos(self.spent.load(Relaxed)))
    }

    /// Waits for `future`, for this long and no longer than there is deadline left.
    pub(crate) async fn wait<T>(
        &self,
        limit: Duration,
        mut future: impl Future<Output = T> + Unpin,
    ) -> Option<T> {
        let mut limit = limit.min(self.left());
        // So many that one stall of the thread is a small part of the whole.
        let step = (self.total / 20).max(Duration::from_millis(1));
        while !limit.is_zero() {
            let step = step.min(limit);
            let begun = Instant::now();
            let output = timeout_at(begun + step, &mut future).await.ok();
            let passed = begun.elapsed();
            let spent = if passed > step * 3 / 2 { step } else { passed };
            self.spent.fetch_add(spent.as_nanos() as u64, Relaxed);
            if output.is_some() {
                return output;
            }
            limit = limit.saturating_sub(spent);
        }
        None
    }
}
