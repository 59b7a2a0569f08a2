macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}

/// What a session must hold.
mod fields;
/// Which Redis keys there must be.
mod keys;
/// One request, whose commands wait for their turn.
mod lane;
/// Requests at once, and whose turn it is.
mod lanes;
/// What requests do.
mod plan;
/// What came of requests.
mod record;
/// What must hold afterwards.
mod run;

use std::{cell::RefCell, ops::RangeInclusive, slice};

use actix_web::rt::System;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{TestCaseError, TestRunner},
};

use self::{
    lanes::Lanes,
    plan::{COUNTERS, Change, EVENTS, End, Event, Plan},
};
use crate::support::servers::Servers;

/// The same tests on other servers, with so many cases of each random one.
macro_rules! tests_on {
    ($name:ident, $servers:expr, $cases:literal) => {
        mod $name {
            use super::*;

            #[actix_web::test]
            async fn every_order_of_two_requests_keeps_what_must_be_kept() {
                super::every_order_of_two_requests($servers).await;
            }

            #[actix_web::test]
            async fn every_order_of_a_request_that_clears_and_one_that_does_not_keeps_what_must_be_kept()
             {
                super::every_order_of_a_request_that_clears_and_one_that_does_not($servers).await;
            }

            #[actix_web::test]
            async fn every_order_of_three_requests_keeps_what_must_be_kept() {
                super::every_order_of_three_requests($servers).await;
            }

            #[actix_web::test]
            async fn every_order_of_a_renewal_another_request_and_an_event_keeps_what_must_be_kept() {
                super::every_order_of_a_renewal_another_request_and_an_event($servers).await;
            }

            #[test]
            fn a_random_order_of_random_requests_keeps_what_must_be_kept() {
                super::a_random_order_of_random_requests($servers, $cases);
            }

            #[test]
            fn lost_replies_in_between_lose_nothing_and_count_nothing_twice() {
                super::lost_replies_in_between($servers, $cases);
            }

            #[test]
            fn nothing_is_back_whatever_is_removed_from_redis_and_however_long_it_takes() {
                super::whatever_is_removed_from_redis_and_however_long_it_takes($servers, 4 * $cases);
            }
        }
    };
}

tests_on!(on_one_server, Servers::one(), 128);

// There, all writes are scripts, and the session that a renewal begins is mostly on another server.
#[cfg(feature = "cluster")]
tests_on!(on_a_cluster, Servers::cluster(), 64);

// On one server: in a cluster, it is up to chance which node is asked after a lost reply.
#[actix_web::test]
async fn every_order_of_a_request_an_event_and_a_lost_reply_keeps_what_must_be_kept() {
    let mut lanes = Lanes::new(1, Servers::one()).await;
    for end in ENDS {
        let [plan, ..] = some_changes(end);
        for event in EVENTS {
            let plans = slice::from_ref(&plan);
            lanes.in_every_order(plans, &[event], 1).await;
        }
    }
}

const ENDS: [End; 7] = [
    End::Answer,
    End::Renew,
    End::Purge,
    End::Modify,
    End::HangUp,
    End::Save,
    End::UpdateTtl,
];

fn some_changes(end: End) -> [Plan; 3] {
    [
        vec![Change::Add("n", 1), Change::Set("a")],
        vec![
            Change::Add("n", 20),
            Change::Add("m", 1),
            Change::Remove("a"),
        ],
        vec![Change::Add("m", -3), Change::Set("b")],
    ]
    .map(|changes| Plan { changes, end })
}

async fn every_order_of_two_requests(redis: Servers) {
    let mut lanes = Lanes::new(2, redis).await;
    for (one, other) in ENDS
        .into_iter()
        .flat_map(|one| ENDS.map(|other| (one, other)))
    {
        let ([one, ..], [_, other, _]) = (some_changes(one), some_changes(other));
        lanes
            .in_every_order(&[one.clone(), other.clone()], &[], 0)
            .await;
        // Without a counter, they are written by a transaction, or by a script that may be repeated.
        let fields = [one, other].map(Plan::without_counters);
        lanes.in_every_order(&fields, &[], 0).await;
    }
}

async fn every_order_of_a_request_that_clears_and_one_that_does_not(redis: Servers) {
    let mut lanes = Lanes::new(2, redis).await;
    for one in [End::Answer, End::Renew] {
        for other in ENDS {
            let changes = vec![Change::Clear, Change::Set("a")];
            let [clearing, changing] = [
                Plan { changes, end: one },
                Plan {
                    changes: vec![Change::Set("b"), Change::Add("n", 1), Change::Add("m", 1)],
                    end: other,
                },
            ];
            lanes.in_every_order(&[clearing, changing], &[], 0).await;
        }
    }
}

async fn every_order_of_three_requests(redis: Servers) {
    let mut lanes = Lanes::new(3, redis).await;
    for ends in [[End::Answer; 3], [End::Answer, End::Renew, End::Purge]] {
        let mut plans = some_changes(End::Answer);
        for (plan, end) in plans.iter_mut().zip(ends) {
            plan.end = end;
        }
        lanes.in_every_order(&plans, &[], 0).await;
    }
}

async fn every_order_of_a_renewal_another_request_and_an_event(redis: Servers) {
    let mut lanes = Lanes::new(2, redis).await;
    let [renewal, ..] = some_changes(End::Renew);
    for other in [End::Answer, End::Purge, End::UpdateTtl] {
        let [_, other, _] = some_changes(other);
        for event in EVENTS {
            let plans = [renewal.clone(), other.clone()];
            lanes.in_every_order(&plans, &[event], 0).await;
        }
    }
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::Clear),
        prop::sample::select(&["a", "b"][..]).prop_map(Change::Set),
        prop::sample::select(&["a", "b"][..]).prop_map(Change::Remove),
        (prop::sample::select(&COUNTERS[..]), -5_i64..=5)
            .prop_map(|(field, n)| Change::Add(field, n)),
    ]
}

fn any_plans(n: RangeInclusive<usize>) -> impl Strategy<Value = Vec<Plan>> {
    let end = prop_oneof![
        3 => Just(End::Answer),
        ENDS.len() as u32 => prop::sample::select(&ENDS[..]),
    ];
    let plan = (vec(any_change(), 0..4), end).prop_map(|(changes, end)| Plan { changes, end });
    vec(plan, n)
}

/// Requests at once.
const MOST: usize = 6;

/// Random plans, in a random order of their commands.
fn check_at_random(
    redis: Servers,
    cases: u32,
    events: impl Strategy<Value = Vec<Event>>,
    turns: impl Strategy<Value = Vec<(usize, bool)>>,
) {
    let system = System::new();
    let lanes = RefCell::new(system.block_on(Lanes::new(MOST, redis)));
    let mut runner = TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let strategy = (any_plans(2..=MOST), events, turns);
    let checked = runner.run(&strategy, |(plans, events, turns)| {
        let mut turns = turns.into_iter();
        let choose = |waiting| {
            let turn = turns.next();
            turn.map_or((0, false), |(turn, lose_reply)| {
                (turn % waiting, lose_reply)
            })
        };
        let mut lanes = lanes.borrow_mut();
        let run = system.block_on(lanes.run(&plans, &events, choose));
        run.check().map_err(TestCaseError::fail)
    });
    if let Err(failure) = checked {
        panic!("{failure}");
    }
}

fn no_events() -> impl Strategy<Value = Vec<Event>> {
    Just(Vec::new())
}

fn a_random_order_of_random_requests(redis: Servers, cases: u32) {
    let turns = vec((0..MOST, Just(false)), 60);
    check_at_random(redis, cases, no_events(), turns);
}

fn lost_replies_in_between(redis: Servers, cases: u32) {
    let turns = vec((0..MOST, prop::bool::weighted(0.3)), 60);
    check_at_random(redis, cases, no_events(), turns);
}

fn whatever_is_removed_from_redis_and_however_long_it_takes(redis: Servers, cases: u32) {
    let turns = vec((0..MOST + 1, prop::bool::weighted(0.1)), 60);
    let events = vec(prop::sample::select(&EVENTS[..]), 1..=3);
    check_at_random(redis, cases, events, turns);
}
