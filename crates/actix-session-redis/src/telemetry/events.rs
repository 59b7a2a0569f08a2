//! Events of `tracing`, and metrics with the feature of that name.

use std::{fmt, time::Duration};

use super::outcome::Outcome;
use crate::error::{Error, Fault};

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

pub(crate) fn connection_made() {
    tracing::debug!(target: TARGET, "made a Redis connection");
}

/// Of each; the log tells of some.
pub(super) fn connection_lost(fault: &Fault) {
    count(CONNECTIONS_REPLACED);
    tracing::debug!(target: TARGET, %fault, "a Redis connection was given up");
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
