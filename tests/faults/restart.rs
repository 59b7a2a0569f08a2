use std::{
    thread,
    time::{Duration, Instant},
};

use crate::trial::{LOOKS_AGAIN_WITHIN, Trial, configure_redis};

#[test]
fn no_request_fails_while_redis_restarts() {
    let mut trial = Trial::of("clean restart of Redis");
    let (figures, away) = trial.under_load(|stack| {
        let stopped = Instant::now();
        stack.restart_redis().unwrap();
        stopped.elapsed()
    });
    figures.assert_none_failed();
    figures.assert_answered_within(away + LOOKS_AGAIN_WITHIN);
}

#[test]
fn no_request_fails_while_redis_is_killed_and_back_a_second_later() {
    let mut trial = Trial::of("Redis killed, back a second later");
    let (figures, away) = trial.under_load(|stack| {
        // With the default, "everysec", Redis answers a write before it hands it to the system if
        // that is still busy with putting the last second on the disk: such a write would be lost.
        configure_redis(stack, "appendfsync", "no");
        let killed = Instant::now();
        stack.kill_redis().unwrap();
        thread::sleep(Duration::from_secs(1));
        stack.restart_redis().unwrap();
        killed.elapsed()
    });
    figures.assert_none_failed();
    figures.assert_answered_within(away + LOOKS_AGAIN_WITHIN);
}
