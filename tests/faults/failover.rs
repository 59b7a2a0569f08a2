use std::time::{Duration, Instant};

use deadpool_redis::redis::InfoDict;
use testbed::{Sentinels, Server};

use crate::{
    figures::Figures,
    trial::{DEADLINE, LOOKS_AGAIN_WITHIN, Trial, Turn},
};

/// How often a server was asked to read or write a session. (What it gets as a replica are the
/// effects of that.)
fn asked(server: &Server) -> usize {
    let stats: InfoDict = server.run("INFO commandstats");
    let commands = ["cmdstat_get", "cmdstat_evalsha", "cmdstat_eval"];
    let is_asked = |command: &&&str| stats.get::<String>(command).is_some();
    commands.iter().filter(is_asked).count()
}

/// In an outage, nobody waits for longer than one deadline.
const IN_AN_OUTAGE: Duration = DEADLINE.saturating_add(Duration::from_millis(100));

/// It is none, if the old master goes on to answer those who read, and each of the two operations of a visit
/// may wait for its deadline.
const WHILE_SOME_ARE_ANSWERED: Duration = IN_AN_OUTAGE.saturating_add(DEADLINE);

/// Visitors come while the master fails, another is chosen, and the old one comes back.
fn fail_over(
    what: &'static str,
    arguments: &[&str],
    fail: impl FnOnce(&Sentinels),
    come_back: impl FnOnce(&Server),
) -> (Sentinels, Figures) {
    let turn = Turn::wait();
    let redis = Sentinels::start_with(arguments);
    let trial = Trial::on(what, redis.url(), turn);
    let (figures, without_master) = trial.under_load(|_| {
        let old = redis.master();
        let failed = Instant::now();
        fail(&redis);
        redis.wait_for_failover_from(old);
        let promoted = Instant::now();
        redis.wait_until_agreed();
        // For a moment it takes itself for a master.
        come_back(old);
        redis.wait_until_replica(old);
        failed..promoted
    });
    trial.say(format!(
        "{:.1?} without a master, first answer {:.0?} after the promotion",
        without_master.end - without_master.start,
        figures.first_answer_after(without_master.end)
    ));
    figures.assert_failed_only_in(&without_master);
    drop(trial);
    (redis, figures)
}

#[test]
fn requests_fail_only_while_there_is_no_master_and_an_old_one_gets_none() {
    let (redis, figures) = fail_over(
        "Sentinel: the master killed",
        &[],
        |redis| redis.master().kill(),
        Server::start_again,
    );
    figures.assert_answered_within(IN_AN_OUTAGE);
    for server in redis.servers() {
        // The old one has been asked nothing since it was started again.
        assert_eq!(asked(server) > 0, server == redis.master(), "{server}");
    }
}

/// As when its machine is cut off: nobody refuses connections, nobody answers.
#[test]
fn requests_fail_only_until_another_master_is_chosen_when_the_old_one_hangs() {
    let (_, figures) = fail_over(
        "Sentinel: the master hangs",
        &[],
        |redis| redis.master().pause(),
        Server::resume,
    );
    figures.assert_answered_within(IN_AN_OUTAGE);
}

/// Of all servers: a master writes only as long as none of its replicas has left it.
const AS_LONG_AS_BOTH_REPLICAS_ARE_THERE: [&str; 2] = ["--min-replicas-to-write", "2"];

/// Nobody tells the old master at once, but its replicas leave it. What it answers before it notices is lost.
#[test]
fn requests_wait_while_another_master_is_chosen_and_the_old_one_is_well() {
    let plan = |redis: &Sentinels| {
        let old = redis.master();
        redis.begin_planned_failover();
        redis.wait_for_failover_from(old);
        redis.wait_until_replica(old);
    };
    let replicas = AS_LONG_AS_BOTH_REPLICAS_ARE_THERE;
    let (_, figures) = fail_over("Sentinel: a planned failover", &replicas, plan, |_| ());
    figures.assert_answered_within(WHILE_SOME_ARE_ANSWERED);
    let waited = DEADLINE - LOOKS_AGAIN_WITHIN;
    assert!(figures.visits.failed().all(|it| it.took >= waited));
}

/// The Sentinels of Valkey 9 see to that themselves.
#[test]
fn a_planned_failover_loses_nothing_if_writes_are_paused_before() {
    let plan = |redis: &Sentinels| {
        let (old, sentinel) = (redis.master(), &redis.sentinels()[0]);
        let help: Vec<String> = sentinel.run("SENTINEL HELP");
        if help.iter().any(|line| line.contains("COORDINATED")) {
            let name = redis.master_name();
            sentinel.run::<()>(&format!("SENTINEL FAILOVER {name} COORDINATED"));
        } else {
            old.run::<()>("CLIENT PAUSE 1500 WRITE");
            redis.begin_planned_failover();
        }
        redis.wait_for_failover_from(old);
        redis.wait_until_replica(old);
    };
    let what = "Sentinel: a planned failover, writes paused";
    let (_, figures) = fail_over(what, &AS_LONG_AS_BOTH_REPLICAS_ARE_THERE, plan, |_| ());
    figures.assert_answered_within(WHILE_SOME_ARE_ANSWERED);
    figures.assert_lost_at_most(0);
}
