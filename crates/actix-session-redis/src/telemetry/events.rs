//! What operators get to see: events of `tracing`, and metrics with the feature of that name.
//!
//! Nothing in here takes a session key, a state or a password.

use std::time::Duration;

use crate::{error::Fault, telemetry::outcome::Outcome};

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
        describe_histogram!(STATE_BYTES, Unit::Bytes, "Size of encoded session states");
        describe_gauge!(OUTAGE, "Whether Redis is away and requests fail fast");
        gauge!(OUTAGE).increment(0);
        for (name, meaning) in [
            (RETRIES, "Commands that were tried again"),
            (CONNECTIONS_REPLACED, "Connections that replaced a lost one"),
            (MERGES, "Writes merged with what others had written"),
            (CONFLICTS, "Writes that met what others had written"),
            (DROPPED_WRITES, "Writes to sessions that had ended"),
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

pub(crate) fn retried() {
    count(RETRIES);
}

pub(crate) fn connection_lost(fault: &Fault) {
    tracing::warn!(target: TARGET, %fault, "lost a Redis connection");
}

pub(crate) fn new_connection_given_up(fault: &Fault) {
    tracing::debug!(target: TARGET, %fault, "a new Redis connection was given up");
}

pub(crate) fn idle_connection_closed(fault: &Fault) {
    tracing::debug!(target: TARGET, %fault, "an idle Redis connection was closed");
}

pub(crate) fn connection_replaced() {
    count(CONNECTIONS_REPLACED);
}

pub(crate) fn outage_began(fault: &Fault) {
    tracing::warn!(target: TARGET, %fault, "Redis is unavailable; failing fast until it is back");
    set(OUTAGE, 1);
}

pub(crate) fn outage_ended() {
    tracing::warn!(target: TARGET, "Redis is available again");
    set(OUTAGE, 0);
}

pub(crate) fn state_encoded(bytes: usize) {
    record(STATE_BYTES, &[], bytes as f64);
}

pub(crate) fn conflicted() {
    count(CONFLICTS);
}

pub(crate) fn merged() {
    count(MERGES);
}

pub(crate) fn write_dropped() {
    tracing::debug!(target: TARGET, "dropped a write to a session that has ended");
    count(DROPPED_WRITES);
}

pub(crate) fn failed(error: &crate::Error) {
    tracing::error!(target: TARGET, %error, "a session operation failed");
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
