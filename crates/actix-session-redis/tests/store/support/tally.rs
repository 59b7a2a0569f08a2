//! What came of the requests of a test in which Redis is in trouble.

use std::{
    fmt::Debug,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use super::{browser::Answer, report};

/// Reports its figures at the end of the test, whether or not that fails.
pub(crate) struct Tally {
    test: String,
    sent: AtomicUsize,
    answered: AtomicUsize,
    failed: AtomicUsize,
    checked: AtomicUsize,
}

impl Tally {
    /// To be called where the test begins: the thread has its name there.
    pub(crate) fn of_this_test() -> Self {
        let [sent, answered, failed, checked] = [0; 4].map(AtomicUsize::new);
        Self {
            test: thread::current().name().unwrap_or_default().to_owned(),
            sent,
            answered,
            failed,
            checked,
        }
    }

    /// Sends a request. One that nobody waits for any longer is neither answered nor failed.
    pub(crate) async fn send<T: Outcome>(&self, request: impl Future<Output = T>) -> T {
        self.sent.fetch_add(1, Relaxed);
        let outcome = request.await;
        let outcomes = if outcome.is_answer() {
            &self.answered
        } else {
            &self.failed
        };
        outcomes.fetch_add(1, Relaxed);
        outcome
    }

    /// A session that is looked at when the trouble is over holds what it must.
    #[track_caller]
    pub(crate) fn check<T: Debug + PartialEq<U>, U: Debug>(&self, session: T, must_be: U) {
        assert_eq!(session, must_be);
        self.checked.fetch_add(1, Relaxed);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let test = self.test.replace("::", ": ").replace('_', " ");
        let counters = [&self.sent, &self.answered, &self.failed, &self.checked];
        let [sent, answered, failed, checked] = counters.map(|counter| counter.load(Relaxed));
        report(format!(
            "{test}: requests: {sent} sent, {answered} answered, {failed} failed; \
             sessions checked: {checked}"
        ));
    }
}

/// What became of a request, to the store or to an app.
pub(crate) trait Outcome {
    fn is_answer(&self) -> bool;
}

impl<T, E> Outcome for Result<T, E> {
    fn is_answer(&self) -> bool {
        self.is_ok()
    }
}

/// The body of a success.
impl Outcome for String {
    fn is_answer(&self) -> bool {
        true
    }
}

impl Outcome for Answer {
    fn is_answer(&self) -> bool {
        self.status == 200
    }
}
