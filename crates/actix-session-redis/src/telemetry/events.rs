//! Events of `tracing`, and metrics with the feature of that name.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::outcome::Outcome;
use crate::{
    error::{Error, Fault},
    lock::lock,
};

/// Of every span and event, whatever module it comes from.
pub(crate) const TARGET: &str = "actix_session_redis";

macro_rules! named {
    ($($constant:ident = $name:literal;)+) => {
        $(const $constant: &str = concat!("actix_session_redis_", $name);)+
    };
}

named! {
    OPERATION_DURATION = "operation_duration_seconds";
    RETRIES = "retries_total";
    CONNECTIONS_REPLACED = "connections_replaced_total";
    OUTAGE = "outage";
    STATE_BYTES = "state_bytes";
    MERGES = "merges_total";
    CONFLICTS = "conflicts_total";
    DROPPED_WRITES = "dropped_writes_total";
    ADOPTED = "adopted_sessions_total";
}

/// Tells the recorder what the metrics mean. Those without labels are there from now on, so that
/// nobody takes "never yet" for "not measured".
pub(crate) fn describe() {
    #[cfg(feature = "metrics")]
    {
        use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

        describe_histogram!(
            OPERATION_DURATION,
            Unit::Seconds,
            "How long operations of the session store took, retries included"
        );
        describe_histogram!(
            STATE_BYTES,
            Unit::Bytes,
            "Size of session states that are written"
        );
        describe_gauge!(OUTAGE, "Whether Redis is away and requests fail fast");
        gauge!(OUTAGE).increment(0);
        for (name, meaning) in [
            (RETRIES, "Commands that were tried again"),
            (
                CONNECTIONS_REPLACED,
                "Connections that were lost, and replaced on demand",
            ),
            (MERGES, "Writes merged with what others had written"),
            (CONFLICTS, "Writes that met what others had written"),
            (DROPPED_WRITES, "Writes to sessions that were gone"),
            (
                ADOPTED,
                "Sessions of the built-in store that live on as ours",
            ),
        ] {
            describe_counter!(name, meaning);
            counter!(name).increment(0);
        }
    }
}

pub(crate) fn operation_ended(
    operation: &'static str,
    outcome: Outcome,
    tries: u32,
    waited: Duration,
) {
    tracing::debug!(
        target: TARGET,
        operation,
        outcome = outcome.name(),
        tries,
        waited = milliseconds(waited),
        "a session operation ended"
    );
    let labels = [("operation", operation), ("outcome", outcome.name())];
    record(OPERATION_DURATION, &labels, waited.as_secs_f64());
}

/// With a fraction: most operations take less than one.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// Before anybody is served, and not only to the first who is refused.
pub(crate) fn cannot_work(error: &Error) {
    tracing::error!(target: TARGET, %error, "the store refuses every operation");
}

pub(crate) fn retried() {
    count(RETRIES);
}

pub(crate) fn outage_began(fault: &Fault) {
    tracing::warn!(target: TARGET, %fault, "Redis is unavailable; failing fast until it is back");
    set(OUTAGE, 1);
}

pub(crate) fn outage_ended() {
    tracing::warn!(target: TARGET, "Redis is available again");
    set(OUTAGE, 0);
}

pub(crate) fn state_written(bytes: usize) {
    record(STATE_BYTES, &[], bytes as f64);
}

pub(crate) fn conflicted() {
    count(CONFLICTS);
}

pub(crate) fn merged() {
    count(MERGES);
}

pub(crate) fn write_dropped() {
    tracing::debug!(target: TARGET, "dropped a write to a session that is gone");
    count(DROPPED_WRITES);
}

pub(crate) fn adopted() {
    tracing::debug!(target: TARGET, "adopted a session of the store built into actix-session");
    count(ADOPTED);
}

pub(crate) fn unreadable(session: &dyn fmt::Display, reason: &str) {
    tracing::warn!(target: TARGET, %session, reason, "a session is unreadable, and left alone");
}

pub(crate) fn cookie_keys_unused() {
    tracing::warn!(
        target: TARGET,
        "cookies of previous keys are not accepted: the session middleware has no RedisSessionStore"
    );
}

pub(crate) fn late_changes_lost(error: &Error) {
    tracing::warn!(
        target: TARGET,
        %error,
        "a renewed session goes on without what others had changed meanwhile"
    );
}

/// What a store says again and again, and how often it has already: whoever reads the log learns of
/// everything, and nobody can fill the disk with it.
#[derive(Debug, Default)]
pub(crate) struct Log {
    lost_connections: Mutex<Repeated>,
    /// Whether any operation is refused: all that a successful one looks at.
    refused: AtomicBool,
    failing: Mutex<BTreeMap<(&'static str, &'static str), Failing>>,
    mistaken_logins: Mutex<Repeated>,
    nested: AtomicBool,
}

/// The same message, told at most once in a while.
#[derive(Debug, Default)]
struct Repeated {
    told: Option<Instant>,
    untold: u64,
}

#[derive(Debug, Default)]
struct Failing {
    message: Repeated,
    /// An end is told once, of a failure that was told.
    ends_with_success: bool,
}

impl Repeated {
    /// How many times it was not told since the last time, if it is to be told now.
    fn again(&mut self, every: Duration) -> Option<u64> {
        if self.told.is_some_and(|told| told.elapsed() < every) {
            self.untold += 1;
            return None;
        }
        self.told = Some(Instant::now());
        Some(std::mem::take(&mut self.untold))
    }
}

impl Log {
    pub(crate) fn connection_made() {
        tracing::debug!(target: TARGET, "made a Redis connection");
    }

    pub(crate) fn connection_lost(&self, fault: &Fault) {
        count(CONNECTIONS_REPLACED);
        tracing::debug!(target: TARGET, %fault, "a Redis connection was given up");
        if let Some(others) = lock(&self.lost_connections).again(Duration::from_secs(1)) {
            tracing::warn!(target: TARGET, %fault, others, "lost a Redis connection");
        }
    }

    /// `SessionMiddleware` turns every error into an empty 500 and tells nobody which. (An outage is
    /// told by the circuit breaker, and what is unreadable by the store.)
    pub(crate) fn failed(&self, operation: &'static str, error: &Error, session: Option<&String>) {
        if matches!(error, Error::Unavailable { .. } | Error::Unreadable { .. }) {
            return;
        }
        let mut failing = lock(&self.failing);
        let failing = failing
            .entry((operation, Outcome::of(error).name()))
            .or_default();
        if let Some(others) = failing.message.again(Duration::from_secs(10)) {
            let session = session.map(tracing::field::display);
            tracing::error!(
                target: TARGET,
                operation,
                %error,
                session,
                others,
                "a session operation failed"
            );
            // What else fails is a matter of the session, so another one's success ends nothing.
            failing.ends_with_success = matches!(error, Error::Refused { .. });
        }
        if failing.ends_with_success {
            self.refused.store(true, Relaxed);
        }
    }

    /// Whoever logs in is told that it did not work, and not that it never will.
    pub(crate) fn login_is_mistaken(&self, user_field: &str, reason: &str) {
        if let Some(others) = lock(&self.mistaken_logins).again(Duration::from_secs(10)) {
            tracing::warn!(
                target: TARGET,
                user_field,
                reason,
                others,
                "a login is void: its session is not that of the user who has begun it"
            );
        }
    }

    /// Of two session middlewares around one handler, the outer one takes what the inner one has
    /// left of the session: nothing.
    pub(crate) fn there_is_another_middleware(&self) {
        if !self.nested.swap(true, Relaxed) {
            tracing::warn!(
                target: TARGET,
                "there is a session middleware around another one: sessions lose their fields; remove one"
            );
        }
    }

    pub(crate) fn succeeded(&self, operation: &'static str) {
        if !self.refused.load(Relaxed) {
            return;
        }
        let mut failing = lock(&self.failing);
        for ((failed, _), failing) in failing.iter_mut() {
            if *failed == operation && std::mem::take(&mut failing.ends_with_success) {
                let others = std::mem::take(&mut failing.message.untold);
                tracing::info!(target: TARGET, operation, others, "Redis no longer refuses it");
            }
        }
        let is_any = failing.values().any(|failing| failing.ends_with_success);
        self.refused.store(is_any, Relaxed);
    }
}

#[cfg(feature = "metrics")]
fn count(counter: &'static str) {
    metrics::counter!(counter).increment(1);
}

#[cfg(feature = "metrics")]
fn set(gauge: &'static str, value: u32) {
    metrics::gauge!(gauge).set(value);
}

#[cfg(feature = "metrics")]
fn record(histogram: &'static str, labels: &[(&'static str, &'static str)], value: f64) {
    metrics::histogram!(histogram, labels).record(value);
}

#[cfg(not(feature = "metrics"))]
fn count(_: &'static str) {}

#[cfg(not(feature = "metrics"))]
fn set(_: &'static str, _: u32) {}

#[cfg(not(feature = "metrics"))]
fn record(_: &'static str, _: &[(&'static str, &'static str)], _: f64) {}
