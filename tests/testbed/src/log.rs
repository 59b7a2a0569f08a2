use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Enough to see why a program ended, little enough to print.
const KEPT_LINES: usize = 50;

/// The last lines that a program wrote, on stdout or stderr.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<VecDeque<String>>>);

impl Log {
    pub(crate) fn push(&self, line: String) {
        let mut lines = self.lines();
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    pub(crate) fn contains(&self, text: &str) -> bool {
        self.lines().iter().any(|line| line.contains(text))
    }

    /// What follows this in the last line that begins with it.
    pub fn after(&self, beginning: &str) -> Option<String> {
        let lines = self.lines();
        let mut rests = lines.iter().filter_map(|line| line.strip_prefix(beginning));
        rests.next_back().map(str::to_owned)
    }

    fn lines(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Log {
    /// Each line on a line of its own, for the end of a message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines()
            .iter()
            .try_for_each(|line| write!(f, "\n    {line}"))
    }
}
