use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use deadpool_redis::redis::InfoDict;
use testbed::{Cluster, Server};

use crate::{
    figures::{Figures, Requests},
    trial::{DEADLINE, Trial, Turn, VISITORS},
    visitor::Visitor,
};

/// Visitors come while one of the masters fails and its replica takes over. Returns what happened,
/// and the names that the sessions of this master held.
fn fail_over(
    what: &'static str,
    arguments: &[&str],
    fail: impl FnOnce(&Server),
) -> (Figures, Vec<String>) {
    let turn = Turn::wait();
    let redis = Cluster::start_with(arguments);
    let trial = Trial::on(what, redis.url(), turn);
    let (figures, (without_master, held)) = trial.under_load(|_| {
        let master = redis.masters()[0];
        let held = names(master);
        let failed = Instant::now();
        fail(master);
        redis.wait_for_failover_of(master);
        (failed..Instant::now(), held)
    });
    trial.say(format!(
        "{:.1?} without one of the masters, {} of {VISITORS} visitors had to wait long for an answer, or in vain",
        without_master.end - without_master.start,
        figures.visitors_held_up().len()
    ));
    figures.assert_failed_only_in(&without_master);
    figures.assert_answered_within(DEADLINE + Duration::from_millis(100));
    (figures, held)
}

fn names(server: &Server) -> Vec<String> {
    let keys = session_keys(server).into_iter();
    let names = keys.map(|key| server.run::<Option<String>>(&format!("HGET {key} dbname")));
    names.flatten().collect()
}

#[test]
fn requests_fail_only_until_a_replica_has_taken_over_from_a_killed_master() {
    fail_over("Cluster: a master killed", &[], Server::kill);
}

/// As when its machine is gone: nobody refuses connections, nobody answers.
#[test]
fn a_master_that_hangs_concerns_only_the_sessions_in_its_slots() {
    let no_full_coverage = ["--cluster-require-full-coverage", "no"];
    let what = "Cluster: a master hangs";
    let (figures, held) = fail_over(what, &no_full_coverage, Server::pause);
    let was_there = |name: &&String| {
        let json = format!("{name:?}");
        held.contains(&json)
    };
    let held_up = figures.visitors_held_up();
    let without_reason = held_up.len() - held_up.iter().filter(was_there).count();
    // None, but for a machine that is busy with other things.
    assert!(without_reason < VISITORS / 8, "{without_reason} of them");
}

/// Nobody has noticed anything: every connection still leads to the master that hangs.
#[test]
fn who_comes_first_after_a_failover_is_served() {
    let turn = Turn::wait();
    let redis = Cluster::start();
    let trial = Trial::on("Cluster: first after a failover", redis.url(), turn);
    let url = trial.stack.url();
    let arrive = |i| Visitor::arrive(&url, format!("visitor-{i}"), true);
    let mut visitors: Vec<_> = (0..VISITORS).map(arrive).collect();

    let master = redis.masters()[0];
    let held = names(master).len();
    master.pause();
    redis.wait_for_failover_of(master);
    let visits: Vec<_> = thread::scope(|scope| {
        let visits = visitors.iter_mut().map(|it| scope.spawn(|| it.refresh()));
        let visits: Vec<_> = visits.collect();
        visits.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let visits = Requests::from(visits);
    trial.say(format!(
        "{held} of {VISITORS} sessions were on that master; longest {} ms",
        visits.longest().as_millis()
    ));
    assert_eq!(visits.failed().count(), 0);
    let surprises: Vec<_> = visitors.iter().filter_map(Visitor::surprise).collect();
    assert!(surprises.is_empty(), "{surprises:#?}");
}

/// Of the sessions, not of what is beside them.
fn session_keys(server: &Server) -> BTreeSet<String> {
    let mut keys: BTreeSet<String> = server.run("KEYS session:*");
    keys.retain(|key| !key.contains('{'));
    keys
}

/// Moves the slots of all sessions to the next master, and to the one after it. Returns how many
/// sessions are there.
fn move_sessions_twice(redis: &Cluster) -> usize {
    let masters = redis.masters();
    let held = || masters.iter().map(|master| session_keys(master));
    let before: Vec<_> = held().collect();
    for shift in 1..=2 {
        let targets = masters.iter().cycle().skip(shift);
        for (keys, target) in before.iter().zip(targets) {
            let slots: BTreeSet<_> = keys.iter().map(|key| redis.slot_of_key(key)).collect();
            redis.move_slots(slots, target);
        }
    }
    let after: Vec<_> = held().collect();
    let moves = before.iter().zip(after.iter().cycle().skip(2));
    moves
        .map(|(before, after)| before.intersection(after).count())
        .sum()
}

/// How often the masters have replied with this error.
fn errors(redis: &Cluster, code: &str) -> u64 {
    let masters = redis.masters().into_iter();
    let stats = masters.map(|master| master.run::<InfoDict>("INFO errorstats"));
    let counts = stats.filter_map(|stats| stats.get::<String>(&format!("errorstat_{code}")));
    let number = |count: String| count["count=".len()..].parse::<u64>().unwrap();
    counts.map(number).sum()
}

#[test]
fn no_request_fails_while_slots_move() {
    let turn = Turn::wait();
    let redis = Cluster::start();
    let what = "Cluster: the slots of all sessions move";
    let trial = Trial::on(what, redis.url(), turn);
    let (figures, (moved, took)) = trial.under_load(|_| {
        let begun = Instant::now();
        (move_sessions_twice(&redis), begun.elapsed())
    });
    let told = ["MOVED", "ASK", "TRYAGAIN"];
    let told = told.map(|code| format!("{code} {} times", errors(&redis, code)));
    trial.say(format!(
        "{moved} of {VISITORS} sessions moved twice, in {took:.1?}; instances were told {}",
        told.join(", ")
    ));
    assert_eq!(moved, VISITORS);
    figures.assert_none_failed();
    figures.assert_answered_within(DEADLINE);
}
