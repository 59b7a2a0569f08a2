//! Which sessions do not open, whatever connection brings them: so that whoever sends requests with the
//! cookie of one does not have a connection replaced each time.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use tokio::time::Instant;

use crate::lock::lock;

/// After so long, a connection is replaced for it once more.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Of more, the oldest are forgotten.
const MOST: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Broken(Mutex<VecDeque<(String, Instant)>>);

impl Broken {
    pub(super) fn note(&self, session_id: &str) {
        let mut noted = lock(&self.0);
        forget_the_old(&mut noted);
        if noted.iter().any(|(it, _)| it == session_id) {
            return;
        }
        if noted.len() == MOST {
            noted.pop_front();
        }
        noted.push_back((session_id.to_owned(), Instant::now()));
    }

    pub(super) fn is_noted(&self, session_id: &str) -> bool {
        let mut noted = lock(&self.0);
        forget_the_old(&mut noted);
        noted.iter().any(|(it, _)| it == session_id)
    }
}

fn forget_the_old(noted: &mut VecDeque<(String, Instant)>) {
    while noted
        .front()
        .is_some_and(|(_, at)| at.elapsed() >= REMEMBERED)
    {
        noted.pop_front();
    }
}
