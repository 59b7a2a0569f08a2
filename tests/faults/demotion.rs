use std::{
    thread,
    time::{Duration, Instant},
};

use deadpool_redis::redis::{Connection, cmd};

use crate::trial::{LOOKS_AGAIN_WITHIN, Trial};

fn replicaof(redis: &mut Connection, master: [&str; 2]) {
    cmd("REPLICAOF").arg(&master).exec(redis).unwrap();
}

#[test]
fn no_request_fails_while_redis_takes_no_writes_for_half_a_second() {
    let trial = Trial::of("Redis demoted for half a second");
    let (figures, demoted) = trial.under_load(|trial| {
        let mut redis = trial.stack.redis();
        let begun = Instant::now();
        // Nobody is there to replicate, so it keeps what it has.
        replicaof(&mut redis, ["127.0.0.1", "1"]);
        thread::sleep(Duration::from_millis(500));
        replicaof(&mut redis, ["NO", "ONE"]);
        begun.elapsed()
    });
    figures.assert_none_failed();
    figures.assert_answered_within(demoted + LOOKS_AGAIN_WITHIN);
}
