//! The targets of `fuzz`, run on their corpus and on what is like it: so whatever a fuzzer has found once is
//! tested for ever, without a fuzzer.

use std::{
    alloc::System,
    env, fs,
    panic::{catch_unwind, resume_unwind},
    path::PathBuf,
    process::Command,
};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use super::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Of a file of the corpus, so many are made that differ a little.
const MUTATIONS: usize = 100;

/// So many are made up for each target.
const MADE_UP: usize = 1000;

/// In a process of its own, so that nobody else's memory is counted.
#[test]
fn whatever_redis_or_a_cookie_brings_is_read_without_panic_and_in_little_memory() {
    const ALONE: &str = "FUZZED_ALONE";
    const NAME: &str = "session::fuzzing::tests::\
        whatever_redis_or_a_cookie_brings_is_read_without_panic_and_in_little_memory";

    if env::var_os(ALONE).is_some() {
        return run_all();
    }
    let mut alone = Command::new(env::current_exe().unwrap());
    alone.args(["--exact", NAME, "--test-threads=1", "--nocapture"]);
    let output = alone.env(ALONE, "1").output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let panicked = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{panicked}");
    assert!(printed.contains("1 passed"), "{printed}");
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let folders = fs::read_dir(folder("")).unwrap();
    let folders = folders.map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut folders: Vec<_> = folders.collect();
    folders.sort();
    let mut targets: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    if !cfg!(feature = "seal") {
        targets.extend(["envelope", "key_ring"].map(str::to_owned));
    }
    targets.sort();
    assert_eq!(folders, targets);
}

fn run_all() {
    count_with(|| INSTRUMENTED_SYSTEM.stats().bytes_allocated);
    let random = &mut Random(1);
    for (name, target) in TARGETS {
        let try_out = |data: &[u8]| {
            if let Err(panic) = catch_unwind(|| target(data)) {
                println!("{name}: {}", data.escape_ascii());
                resume_unwind(panic);
            }
        };
        for entry in fs::read_dir(folder(name)).unwrap() {
            let data = fs::read(entry.unwrap().path()).unwrap();
            try_out(&data);
            for _ in 0..MUTATIONS {
                try_out(&random.mutated(&data));
            }
        }
        for _ in 0..MADE_UP {
            let length = random.below(300);
            let data: Vec<_> = (0..length).map(|_| random.byte()).collect();
            try_out(&data);
        }
    }
}

fn folder(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", target]
        .iter()
        .collect()
}

/// SplitMix64: the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    fn mutated(&mut self, data: &[u8]) -> Vec<u8> {
        let mut data = data.to_vec();
        for _ in 0..1 + self.below(4) {
            let at = self.below(data.len() + 1);
            match self.below(4) {
                0 => data.truncate(at),
                1 => data.insert(at, self.byte()),
                2 if at < data.len() => drop(data.remove(at)),
                _ if at < data.len() => data[at] = self.byte(),
                _ => data.push(self.byte()),
            }
        }
        data
    }
}
