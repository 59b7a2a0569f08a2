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
    telemetry::{self, TARGET, milliseconds},
};

/// Reports when it is dropped, so also when nobody waits for the operation any more.
pub(crate) struct Observation {
    operation: &'static str,
    started: Instant,
    tries: AtomicU32,
    outcome: OnceLock<Outcome>,
    span: Span,
}

/// A closed set: dashboards are built on these names.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    Ok,
    /// Redis did not have to be asked.
    Skipped,
    Missing,
    Ended,
    Unreadable,
    TooLarge,
    InvalidTtl,
    Unavailable,
    Refused,
    Contended,
    MergePanicked,
    /// Its request was dropped before it was answered.
    Abandoned,
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
        telemetry::operation_ended(self.operation, outcome, tries, waited);
    }
}

impl Outcome {
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::Unavailable { .. } => Self::Unavailable,
            Error::Refused { .. } | Error::InvalidUrl { .. } => Self::Refused,
            Error::Unreadable { .. } => Self::Unreadable,
            Error::StateTooLarge { .. } => Self::TooLarge,
            Error::MergePanicked { .. } => Self::MergePanicked,
            Error::Contended { .. } => Self::Contended,
            Error::InvalidTtl { .. } => Self::InvalidTtl,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Missing => "missing",
            Self::Ended => "ended",
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
            Self::InvalidTtl => "invalid_ttl",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::Contended => "contended",
            Self::MergePanicked => "merge_panicked",
            Self::Abandoned => "abandoned",
        }
    }
}
