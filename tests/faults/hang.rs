use std::{
    thread,
    time::{Duration, Instant},
};

use testbed::eventually_holds;

use crate::{
    footprint::Footprint,
    trial::{AT_ONCE, DEADLINE, INSTANCES, LONGEST_WAIT, LOOKS_AGAIN_WITHIN, Trial, WORKERS},
};

#[test]
fn no_request_fails_while_redis_hangs_for_a_second() {
    let trial = Trial::of("Redis hangs for a second");
    let (figures, hung) = trial.under_load(|trial| {
        let paused = Instant::now();
        trial.redis().pause();
        thread::sleep(Duration::from_secs(1));
        trial.redis().resume();
        paused.elapsed()
    });
    figures.assert_none_failed();
    figures.assert_answered_within(hung + LOOKS_AGAIN_WITHIN);
}

#[test]
fn while_redis_hangs_requests_fail_fast_and_nothing_piles_up() {
    let workers = INSTANCES * WORKERS;
    let trial = Trial::of("Redis hangs for ten seconds");
    let (figures, (before, outage)) = trial.under_load(|trial| {
        let before = Footprint::of(trial);
        let paused = Instant::now();
        trial.redis().pause();
        thread::sleep(Duration::from_secs(10));
        trial.redis().resume();
        (before, paused..Instant::now())
    });
    assert_eq!(before.redis_connections, workers);
    eventually_holds("no connection is left over", || {
        Footprint::of(&trial).redis_connections == workers
    });
    let after = Footprint::of(&trial);

    // By then every instance has found out, and nobody pays for looking.
    let known = outage.start + DEADLINE * 5 / 4..outage.end;
    let failing = figures.visits.median_of(|visit| visit.is_within(&known));
    let passing_by = figures.control.median_of(|it| it.is_within(&known));
    let usually = figures.control.median_of(|it| it.done() < outage.start);
    let waiting = figures.visits.at_once_in(&known, DEADLINE / 4);
    trial.say(format!(
        "after the deadline they fail in {failing:.1?} (without a session {passing_by:.1?}, \
         before {usually:.1?}) and {waiting} wait"
    ));
    trial.say(format!(
        "first answer {:.0?} after it went on; memory {} KiB before, {} KiB after",
        figures.first_answer_after(outage.end),
        before.memory_kib,
        after.memory_kib
    ));

    figures.assert_answered_within(LONGEST_WAIT);
    assert!(passing_by < usually + AT_ONCE);
    // They come through nginx, and most of those who pass by do not.
    assert!(failing < passing_by * 2 + AT_ONCE);
    assert_eq!(waiting, 0);
    figures.assert_served_again(outage.end);
    assert_eq!(after.threads, before.threads);
    // Whatever is left of a failed request, it is less than a task or a buffer.
    let left_over = after.memory_kib.saturating_sub(before.memory_kib) * 1024;
    assert!(left_over < 512 * figures.visits.failed().count() as u64);
}
