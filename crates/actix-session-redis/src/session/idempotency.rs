//! Idempotency keys: by which Redis sees that a write was carried out already, when it is repeated
//! after a lost reply, or arrives late on a connection that was given up.
//!
//! A writer has some writes of a session under way at once. Each takes a lane of its own for as long
//! as it lasts, retries included, and a number that is higher than that of every write before it. So
//! the session has to hold no more than the last number of each lane: however many others write
//! meanwhile, and however late the retry is.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::keyspace::{SessionId, draw_token};
use crate::lock::lock;

#[derive(Debug)]
pub(crate) struct IdempotencyKeys {
    writer: String,
    writes: AtomicU64,
    /// Which lanes of a session are taken.
    lanes: Mutex<HashMap<SessionId, Vec<bool>>>,
}

/// Of one write.
#[derive(Debug)]
pub(crate) struct IdempotencyKey<'a> {
    keys: &'a IdempotencyKeys,
    id: &'a SessionId,
    lane: usize,
    number: u64,
}

impl IdempotencyKeys {
    pub(crate) fn new() -> Self {
        Self {
            writer: draw_token(),
            writes: AtomicU64::new(0),
            lanes: Mutex::default(),
        }
    }

    pub(crate) fn draw<'a>(&'a self, id: &'a SessionId) -> IdempotencyKey<'a> {
        let mut sessions = lock(&self.lanes);
        let lanes = sessions.entry(id.clone()).or_default();
        let lane = lanes.iter().position(|taken| !taken).unwrap_or(lanes.len());
        lanes.resize(lanes.len().max(lane + 1), false);
        lanes[lane] = true;
        // While the lane is locked: the numbers of one lane only rise.
        let number = self.writes.fetch_add(1, Relaxed);
        IdempotencyKey {
            keys: self,
            id,
            lane,
            number,
        }
    }
}

impl IdempotencyKey<'_> {
    /// As `write.lua` finds it among others.
    pub(crate) fn lane(&self) -> String {
        format!(";{}{:04x}", self.keys.writer, self.lane)
    }

    /// Of a fixed length, so that texts compare as numbers do.
    pub(crate) fn number(&self) -> String {
        format!("{:016x}", self.number)
    }
}

impl Drop for IdempotencyKey<'_> {
    fn drop(&mut self) {
        let mut sessions = lock(&self.keys.lanes);
        if let Some(lanes) = sessions.get_mut(self.id) {
            lanes[self.lane] = false;
            if !lanes.contains(&true) {
                sessions.remove(self.id);
            }
        }
    }
}

#[cfg(test)]
#[path = "../../tests/unit/idempotency.rs"]
mod tests;
