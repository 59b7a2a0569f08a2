//! What this thread's spans and events look like in a log, and those of the workers of an app that
//! was started meanwhile.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use tracing::{level_filters::LevelFilter, subscriber::DefaultGuard};
use tracing_subscriber::fmt::format::FmtSpan;

pub(crate) struct Log {
    written: Written,
    _guard: DefaultGuard,
}

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
