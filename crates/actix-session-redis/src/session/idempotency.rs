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

use super::session_id::SessionId;
use crate::lock::lock;

#[derive(Debug)]
pub(crate) struct IdempotencyKeys {
    /// Drawn by chance: tells some thousands of writers of one session from each other.
    writer: [u8; 6],
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
            writer: rand::random(),
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
    /// Of a fixed length, as `write.lua` looks for it among others. Every byte counts: each reader
    /// of the session gets them all.
    pub(crate) fn lane(&self) -> [u8; 8] {
        let mut lane = [0; 8];
        lane[..6].copy_from_slice(&self.keys.writer);
        lane[6..].copy_from_slice(&(self.lane as u16).to_be_bytes());
        lane
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
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
