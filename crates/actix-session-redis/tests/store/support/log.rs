//! What this thread's spans and events look like in a log, and those of the workers of an app that
//! was started meanwhile.

use std::{
    io::{self, Write},
    sync::{Arc, LazyLock, Mutex},
};

use tracing::{
    Dispatch,
    level_filters::LevelFilter,
    subscriber::{DefaultGuard, NoSubscriber},
};
use tracing_subscriber::fmt::format::FmtSpan;

pub(crate) struct Log {
    written: Written,
    _guard: DefaultGuard,
}

/// Wants nothing, and is there for as long as the process.
///
/// Whether anybody wants an event is found out when a thread comes by for the first time, and then
/// remembered for all threads. As long as there is only one subscriber in the process, `tracing`
/// asks that of the thread alone. If it has none, as those of other tests, nobody ever gets the
/// event. With a second subscriber, all are asked.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::default()));

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Of what happens on this thread from now on, at level `TRACE`.
    pub(crate) fn of_this_thread() -> Self {
        Self::at(LevelFilter::TRACE)
    }

    /// The same as operators have it in production.
    pub(crate) fn of_operators() -> Self {
        Self::at(LevelFilter::INFO)
    }

    fn at(level: LevelFilter) -> Self {
        LazyLock::force(&ANOTHER);
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_span_events(FmtSpan::CLOSE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        Self {
            written,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// The lines of our own.
    pub(crate) fn lines(&self) -> Vec<String> {
        let written = self.written.0.lock().unwrap().clone();
        let lines = String::from_utf8(written).unwrap();
        let ours = |line: &&str| line.contains(" actix_session_redis: ");
        lines.lines().filter(ours).map(str::to_owned).collect()
    }

    /// The only line that says this.
    pub(crate) fn only(&self, what: &str) -> String {
        let mut lines = self.lines();
        lines.retain(|line| line.contains(what));
        assert_eq!(lines.len(), 1, "{what} in {:#?}", self.lines());
        lines.concat()
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        let lines = self.lines();
        lines.iter().filter(|line| line.contains(what)).count()
    }
}

#[test]
fn an_event_that_a_thread_without_a_log_met_first_is_in_the_log() {
    let event = || tracing::debug!(target: "actix_session_redis", "met");
    let log = Log::of_this_thread();
    std::thread::spawn(event).join().unwrap();
    event();
    log.only("met");
}
