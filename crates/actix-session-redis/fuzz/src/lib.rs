//! Runs a target of `src/session/fuzzing`, which says what is fuzzed, and what has to hold.

use std::alloc::System;

pub use actix_session_redis::fuzzing::{count_with, run};
pub use libfuzzer_sys::fuzz_target;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

pub fn allocated() -> usize {
    INSTRUMENTED_SYSTEM.stats().bytes_allocated
}

#[macro_export]
macro_rules! target {
    ($name:literal) => {
        $crate::fuzz_target!(
            init: $crate::count_with($crate::allocated),
            |data: &[u8]| $crate::run($name, data)
        );
    };
}
