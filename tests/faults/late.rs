use std::{
    thread,
    time::{Duration, Instant},
};

use demo::Stack;
use support::{browser::request, eventually};

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
    let stack = &mut trial.stack;
    let with_redis = restart_instances(stack);
    stack.stop_redis().unwrap();
    let without = restart_instances(stack);

    let instances: Vec<_> = (0..INSTANCES).map(|i| stack.instance_url(i)).collect();
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
    stack.restart_redis().unwrap();
    let back = Instant::now();
    eventually("all are healthy", || {
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
    let mut trial = Trial::of("Redis away for twice the deadline");
    let (figures, back) = trial.under_load(|stack| {
        stack.stop_redis().unwrap();
        thread::sleep(DEADLINE * 2);
        stack.restart_redis().unwrap();
        Instant::now()
    });
    trial.say(format!(
        "first answer {:.0?} after it was back",
        figures.first_answer_after(back)
    ));
    figures.assert_answered_within(LONGEST_WAIT);
    figures.assert_served_again(back);
}
