use std::{
    thread,
    time::{Duration, Instant},
};

use deadpool_redis::redis::cmd;
use support::redis;

use crate::trial::{LOOKS_AGAIN_WITHIN, Trial};

#[test]
fn no_request_fails_while_redis_closes_all_connections_again_and_again() {
    let mut trial = Trial::of("all connections closed every 100 ms");
    let (figures, closed) = trial.under_load(|stack| {
        let mut redis = redis(stack);
        let begun = Instant::now();
        let mut closed = 0;
        while begun.elapsed() < Duration::from_secs(10) {
            // All but the one that asks for it.
            let mut close_all = cmd("CLIENT");
            close_all.arg(&["KILL", "TYPE", "normal"]);
            closed += close_all.query::<u64>(&mut redis).unwrap();
            thread::sleep(Duration::from_millis(100));
        }
        closed
    });
    trial.say(format!("{closed} closed"));
    assert!(closed > 100);
    figures.assert_none_failed();
    figures.assert_answered_within(LOOKS_AGAIN_WITHIN);
}
