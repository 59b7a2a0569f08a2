//! What comes from Redis or in a cookie, fuzzed: anybody may have written that. Nothing here is in a normal
//! build: it is for the targets in `fuzz`, and for the test that runs all of them on their corpus.
//!
//! A target makes such an input of any bytes, lets it be read, and panics unless all is well: nothing else
//! panics, what opens was sealed for this place, and no more memory is taken than a small multiple of what
//! came.

mod cookie;
mod entries;
mod input;
mod record;
mod reply;
mod stores;

use std::sync::OnceLock;

/// What makes a target of any bytes.
pub type Target = fn(&[u8]);

/// All of them, by the names of their folders in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("built_in", record::built_in),
    ("conflict", record::conflict),
    ("end_reply", record::end_reply),
    ("error_reply", reply::error_reply),
    ("hash_fields", record::hash_fields),
    ("index_entries", entries::index_entries),
    ("own_fields", record::own_fields),
    ("session_key", cookie::session_key),
    #[cfg(feature = "seal")]
    ("envelope", stores::envelope),
    #[cfg(feature = "seal")]
    ("key_ring", cookie::key_ring),
];

/// How many bytes the process has allocated so far, if somebody counts.
static ALLOCATED: OnceLock<fn() -> usize> = OnceLock::new();

/// Lets targets look at the memory that is taken, too.
pub fn count_with(allocated: fn() -> usize) {
    let _ = ALLOCATED.set(allocated);
}

/// # Panics
///
/// If there is no such target.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(it, _)| *it == name);
    let (_, target) = target.expect("a target of this name");
    target(data);
}

/// What one thing costs that does not depend on the input.
const CONSTANT_BYTES: usize = 4 * 1024;

/// For what is no more than copied into fields of the session.
const COPIED: usize = 16;

/// For what is parsed as JSON: `{"":0}` has 6 bytes, and takes more than 600 as a value of `serde_json`.
const JSON: usize = 128;

/// Panics when more is allocated than `times` the bytes that have come, all that was freed again counted in.
fn within<T>(times: usize, came: usize, read: impl FnOnce() -> T) -> T {
    let allocated = || ALLOCATED.get().map_or(0, |allocated| allocated());
    let before = allocated();
    let result = read();
    let taken = allocated() - before;
    assert!(
        taken <= times * came + CONSTANT_BYTES,
        "{came} bytes have come, {taken} were allocated"
    );
    result
}

#[cfg(test)]
#[path = "../unit/fuzzing.rs"]
mod tests;
