//! What is to be said of one operation when it has ended: what came of it, after how many tries
//! and how long.

use std::{
    fmt,
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
        log::Log,
        outcome::Outcome,
    },
};

/// Reports when it is dropped, so also when nobody waits for the operation any more.
#[derive(Debug)]
pub(crate) struct Observation<'a> {
    operation: &'static str,
    pub(crate) log: &'a Log,
    started: Instant,
    tries: AtomicU32,
    outcome: OnceLock<Outcome>,
    /// The id of the session that does not open, if that is what failed.
    sealed_session: OnceLock<String>,
    span: Span,
}

impl<'a> Observation<'a> {
    pub(crate) fn start(operation: &'static str, log: &'a Log) -> Self {
        Self {
            operation,
            log,
            started: Instant::now(),
            tries: AtomicU32::new(0),
            outcome: OnceLock::new(),
            sealed_session: OnceLock::new(),
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

    pub(crate) fn name(&self) -> &'static str {
        self.operation
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

    /// Notes the session, if the error is that it does not open.
    pub(crate) fn failed_to_open(&self, session: &impl fmt::Display, error: &Error) {
        if matches!(
            error,
            Error::UnknownSealKey { .. } | Error::Unsealed | Error::BrokenSeal
        ) {
            let _ = self.sealed_session.set(session.to_string());
        }
    }

    pub(crate) fn of<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = Result<T, Error>> {
        work.instrument(self.span.clone())
            .inspect(|result| match result {
                Ok(_) if self.tries.load(Relaxed) == 0 => self.turns_out(Outcome::Skipped),
                Ok(_) => {
                    self.turns_out(Outcome::Ok);
                    self.log.succeeded(self.operation);
                }
                Err(error) => {
                    self.turns_out(Outcome::of(error));
                    let session = self.sealed_session.get();
                    self.log.failed(self.operation, error, session);
                }
            })
    }
}

impl Drop for Observation<'_> {
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
