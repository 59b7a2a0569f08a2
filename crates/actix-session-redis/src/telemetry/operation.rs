//! What is to be said of one operation when it has ended: what came of it, after how many tries
//! and how long.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::time::Instant;
use tracing::{Instrument as _, Span, field::Empty};

use crate::{
    error::Error,
    telemetry::{
        events::{self, TARGET, milliseconds},
        outcome::Outcome,
    },
};

/// Reports when it is dropped, so also when nobody waits for the operation any more.
pub(crate) struct Observation {
    operation: &'static str,
    started: Instant,
    tries: AtomicU32,
    outcome: OnceLock<Outcome>,
    span: Span,
}

impl Observation {
    pub(crate) fn start(operation: &'static str) -> Self {
        Self {
            operation,
            started: Instant::now(),
            tries: AtomicU32::new(0),
            outcome: OnceLock::new(),
            span: tracing::debug_span!(
                target: TARGET,
                "session_operation",
                operation,
                outcome = Empty,
                tries = Empty,
                waited = Empty,
            ),
        }
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn waited(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn tries_once_more(&self) {
        self.tries.fetch_add(1, Relaxed);
    }

    /// What is noted first stands: it is more precise than what follows from the result.
    pub(crate) fn turns_out(&self, outcome: Outcome) {
        let _ = self.outcome.set(outcome);
    }

    pub(crate) fn of<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = Result<T, Error>> {
        work.instrument(self.span.clone()).inspect(|result| {
            self.turns_out(match result {
                Ok(_) if self.tries.load(Relaxed) == 0 => Outcome::Skipped,
                Ok(_) => Outcome::Ok,
                Err(error) => Outcome::of(error),
            });
        })
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let waited = self.waited();
        let tries = *self.tries.get_mut();
        let outcome = self.outcome.take().unwrap_or(Outcome::Abandoned);
        self.span
            .record("outcome", outcome.name())
            .record("tries", tries)
            .record("waited", milliseconds(waited));
        let _entered = self.span.enter();
        events::operation_ended(self.operation, outcome, tries, waited);
    }
}
