//! Events that would come again and again, told now and then.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    events::{self, TARGET},
    outcome::Outcome,
};
use crate::{
    error::{Error, Fault},
    lock::lock,
};

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
    pub(crate) fn connection_lost(&self, fault: &Fault) {
        events::connection_lost(fault);
        if let Some(others) = lock(&self.lost_connections).again(Duration::from_secs(1)) {
            tracing::warn!(target: TARGET, %fault, others, "lost a Redis connection");
        }
    }

    /// `SessionMiddleware` turns every error into an empty 500 and tells nobody which. (An outage is
    /// told by the circuit breaker, what is unreadable by the store. A login that may not
    /// begin is no fault, and its handler knows.)
    pub(crate) fn failed(&self, operation: &'static str, error: &Error, session: Option<&String>) {
        let is_told = matches!(error, Error::Unavailable { .. } | Error::Unreadable { .. });
        let is_no_fault = operation == "begin_login" && error.is_refused_login();
        if is_told || is_no_fault {
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
        // Whoever succeeds next tells it as well.
        let Ok(mut failing) = self.failing.try_lock() else {
            return;
        };
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
