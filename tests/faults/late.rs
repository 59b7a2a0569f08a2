use std::{
    thread,
    time::{Duration, Instant},
};

use support::{Stack, browser::request};
use testbed::eventually_holds;

use crate::trial::{DEADLINE, INSTANCES, LONGEST_WAIT, Trial};

/// Stops all instances, and starts them again; returns when they accept connections.
fn restart_instances(stack: &mut Stack) -> Duration {
    let begun = Instant::now();
    for i in 0..INSTANCES {
        stack.restart_instance(i).unwrap();
    }
    begun.elapsed()
}

/// What an instance says of its health.
fn health(instance_url: &str) -> (u16, String) {
    let response = request(&format!("{instance_url}/healthz"), None);
    (response.status().as_u16(), response.text().unwrap())
}

#[test]
fn instances_that_start_before_redis_work_by_themselves_once_it_is_there() {
    let mut trial = Trial::of("instances started before Redis");
    let with_redis = restart_instances(&mut trial.stack);
    trial.redis().stop();
    let without = restart_instances(&mut trial.stack);

    let instances = (0..INSTANCES).map(|i| trial.stack.instance_url(i));
    let instances: Vec<_> = instances.collect();
    thread::scope(|scope| {
        for instance in &instances {
            scope.spawn(|| {
                let (status, reason) = health(instance);
                assert_eq!(status, 503);
                assert!(reason.contains("Redis is unavailable"), "{reason}");
                assert!(reason.contains("Connection refused"), "{reason}");
            });
        }
    });
    trial.redis().start_again();
    let back = Instant::now();
    eventually_holds("all are healthy", || {
        instances.iter().all(|instance| health(instance).0 == 200)
    });
    let healthy = back.elapsed();
    trial.say(format!(
        "started in {without:.0?} (with Redis {with_redis:.0?}), \
         healthy {healthy:.0?} after Redis came up"
    ));

    let (figures, ()) = trial.under_load(|_| ());
    figures.assert_none_failed();
    let hold_up = figures.hold_up();
    assert!(without < with_redis + DEADLINE / 2 + hold_up);
    assert!(healthy < Duration::from_secs(1) + hold_up);
}

#[test]
fn everybody_is_served_again_when_redis_comes_back_after_the_deadline() {
    let trial = Trial::of("Redis away for twice the deadline");
    let (figures, back) = trial.under_load(|trial| {
        trial.redis().stop();
        thread::sleep(DEADLINE * 2);
        trial.redis().start_again();
        Instant::now()
    });
    trial.say(format!(
        "first answer {:.0?} after it was back",
        figures.first_answer_after(back)
    ));
    figures.assert_answered_within(LONGEST_WAIT);
    figures.assert_served_again(back);
}
