use std::{
    thread,
    time::{Duration, Instant},
};

use crate::trial::{LOOKS_AGAIN_WITHIN, Trial};

#[test]
fn no_request_fails_while_redis_restarts() {
    let trial = Trial::of("clean restart of Redis");
    let (figures, away) = trial.under_load(|trial| {
        let stopped = Instant::now();
        trial.redis().stop();
        trial.redis().start_again();
        stopped.elapsed()
    });
    figures.assert_none_failed();
    figures.assert_answered_within(away + LOOKS_AGAIN_WITHIN);
}

#[test]
fn no_request_fails_while_redis_is_killed_and_back_a_second_later() {
    let trial = Trial::of("Redis killed, back a second later");
    let (figures, away) = trial.under_load(|trial| {
        let killed = Instant::now();
        trial.redis().kill();
        thread::sleep(Duration::from_secs(1));
        trial.redis().start_again();
        killed.elapsed()
    });
    figures.assert_none_failed();
    figures.assert_answered_within(away + LOOKS_AGAIN_WITHIN);
}
