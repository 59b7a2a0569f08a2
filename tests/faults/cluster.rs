use std::time::{Duration, Instant};

use demo::RedisAddress;
use redis_fixtures::{Cluster, Server};

use crate::{
    figures::Figures,
    trial::{DEADLINE, Trial, Turn, VISITORS},
};

/// Visitors come while one of the masters fails and its replica takes over. Returns what happened,
/// and what this master held.
fn fail_over(
    what: &'static str,
    arguments: &[&str],
    fail: impl FnOnce(&Server),
) -> (Figures, Vec<String>) {
    let turn = Turn::wait();
    let redis = Cluster::start_with(arguments);
    let mut trial = Trial::on(what, RedisAddress::cluster(redis.urls()), turn);
    let (figures, (without_master, held)) = trial.under_load(|_| {
        let master = redis.masters()[0];
        let held = sessions(master);
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

fn sessions(server: &Server) -> Vec<String> {
    let keys: Vec<String> = server.run("KEYS session:*");
    let states = keys.iter().map(|key| server.try_run(&format!("GET {key}")));
    // Not the receipts that have expired since.
    states.filter_map(Result::ok).collect()
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
        let in_state = format!(r#"\"{name}\""#);
        held.iter().any(|state| state.contains(&in_state))
    };
    let held_up = figures.visitors_held_up();
    let without_reason = held_up.len() - held_up.iter().filter(was_there).count();
    // None, but for a machine that is busy with other things.
    assert!(without_reason < VISITORS / 8, "{without_reason} of them");
}

#[test]
fn no_request_fails_while_slots_move() {
    let turn = Turn::wait();
    let redis = Cluster::start();
    let address = RedisAddress::cluster(redis.urls());
    let mut trial = Trial::on("Cluster: 600 slots move", address, turn);
    let (figures, took) = trial.under_load(|_| {
        let begun = Instant::now();
        let masters = redis.masters();
        redis.move_slots(0..300, masters[1]);
        redis.move_slots(16084..=16383, masters[0]);
        begun.elapsed()
    });
    trial.say(format!("they took {took:.1?}"));
    figures.assert_none_failed();
    figures.assert_answered_within(DEADLINE);
}
