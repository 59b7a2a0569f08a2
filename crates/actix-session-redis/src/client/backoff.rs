//! Pauses between tries.

use std::{future::pending, time::Duration};

use super::deadline::Deadline;

/// No pause before the second try, then from 10 ms doubling up to 100 ms. Each is cut by a random
/// part of up to a half, so that workers that broke together return one by one.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    const SHORTEST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_millis(100);

    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0.mul_f64(rand::random_range(0.5..=1.0));
        self.0 = (self.0 * 2).clamp(Self::SHORTEST, Self::LONGEST);
        pause
    }

    /// Returns `false`, at once, when the pause would outlast the deadline.
    pub(crate) async fn pause(&mut self, deadline: &Deadline) -> bool {
        let pause = self.next();
        let in_time = pause < deadline.left();
        if in_time {
            deadline.wait(pause, pending::<()>()).await;
        }
        in_time
    }
}
