use std::{
    thread,
    time::{Duration, Instant},
};

use support::eventually;

use crate::{
    footprint::Footprint,
    trial::{DEADLINE, LONGEST_WAIT, LOOKS_AGAIN_WITHIN, Trial},
};

#[test]
fn no_request_fails_while_redis_hangs_for_a_second() {
    let mut trial = Trial::of("Redis hangs for a second");
    let (figures, hung) = trial.under_load(|stack| {
        let paused = Instant::now();
        stack.pause_redis().unwrap();
        thread::sleep(Duration::from_secs(1));
        stack.resume_redis().unwrap();
        paused.elapsed()
    });
    figures.assert_none_failed();
    figures.assert_answered_within(hung + LOOKS_AGAIN_WITHIN);
}

#[test]
fn while_redis_hangs_requests_fail_fast_and_nothing_piles_up() {
    let mut trial = Trial::of("Redis hangs for ten seconds");
    let (figures, (before, outage)) = trial.under_load(|stack| {
        let before = Footprint::of(stack);
        let paused = Instant::now();
        stack.pause_redis().unwrap();
        thread::sleep(Duration::from_secs(10));
        stack.resume_redis().unwrap();
        (before, paused..Instant::now())
    });
    let workers = before.redis_connections;
    eventually("no connection is left over", || {
        Footprint::of(&trial.stack).redis_connections == workers
    });
    let after = Footprint::of(&trial.stack);
    // By then every worker has found out.
    let known = outage.start + DEADLINE * 5 / 4..outage.end;
    let median = figures.visits.median_in(&known);
    let without_a_session = figures.control.median_in(&known);
    let probes = figures.visits.at_once_in(&known, DEADLINE / 4);
    trial.say(format!(
        "after the deadline median {median:.1?} (without a session {without_a_session:.1?}), \
         {probes:.1} probes at once by {workers} workers; first answer {:.0?} after it went on; \
         memory {} KiB before, {} KiB after",
        figures.first_answer_after(outage.end),
        before.memory_kib,
        after.memory_kib
    ));

    figures.assert_answered_within(LONGEST_WAIT);
    assert!(median < without_a_session + Duration::from_millis(5));
    // One probe for each, even if the answer to one arrives when the next is under way.
    assert!(probes < workers as f64 * 1.25);
    figures.assert_served_again(outage.end);
    assert_eq!(after.threads, before.threads);
    // Whatever is left of a failed request, it is less than a task or a buffer.
    let left_over = after.memory_kib.saturating_sub(before.memory_kib) * 1024;
    assert!(left_over < 512 * figures.visits.failed().count() as u64);
}
