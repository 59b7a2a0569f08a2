use std::{
    thread,
    time::{Duration, Instant},
};

use testbed::{Browser, Page, eventually_holds};

use crate::trial::{DEADLINE, INSTANCES, LONGEST_WAIT, Stack, Trial};

/// Stops all instances, and starts them again; returns when they accept connections.
fn restart_instances(stack: &mut Stack) -> Duration {
    let begun = Instant::now();
    for i in 0..INSTANCES {
        stack.restart_instance(i).unwrap();
    }
    begun.elapsed()
}

/// What an instance says of its health.
fn health(instance_url: &str) -> Page {
    Browser::new(instance_url).get("/healthz")
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
                let health = health(instance);
                assert_eq!(health.status, 503);
                for reason in ["Redis is unavailable", "Connection refused"] {
                    assert!(health.body.contains(reason), "{health:?}");
                }
            });
        }
    });
    trial.redis().start_again();
    let back = Instant::now();
    eventually_holds("all are healthy", || {
        instances
            .iter()
            .all(|instance| health(instance).status == 200)
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
