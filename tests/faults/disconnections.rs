use std::{
    thread,
    time::{Duration, Instant},
};

use deadpool_redis::redis::cmd;

use crate::{
    figures::Request,
    trial::{LOOKS_AGAIN_WITHIN, Trial},
};

#[test]
fn no_request_fails_while_redis_closes_all_connections_again_and_again() {
    let trial = Trial::of("all connections closed every 100 ms");
    let (figures, (closings, closed)) = trial.under_load(|trial| {
        let mut redis = trial.stack.redis();
        let begun = Instant::now();
        let (mut closings, mut closed) = (Vec::new(), 0);
        while begun.elapsed() < Duration::from_secs(10) {
            closings.push(Instant::now());
            // All but the one that asks for it.
            let mut close_all = cmd("CLIENT");
            close_all.arg(&["KILL", "TYPE", "normal"]);
            closed += close_all.query::<u64>(&mut redis).unwrap();
            thread::sleep(Duration::from_millis(100));
        }
        (closings, closed)
    });
    let is_hit = |visit: &Request| closings.iter().any(|&at| visit.is_under_way(at));
    let hit = figures.visits.median_of(is_hit);
    let spared = figures.visits.median_of(|visit| !is_hit(visit));
    trial.say(format!(
        "{closed} closed; a request takes {hit:.1?} if that hits it, otherwise {spared:.1?}"
    ));
    assert!(closed > 100);
    figures.assert_none_failed();
    assert!(hit < spared + LOOKS_AGAIN_WITHIN);
}
