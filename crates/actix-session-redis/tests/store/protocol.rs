/// One request, whose commands wait for their turn.
mod lane;
/// Requests at once, and whose turn it is.
mod lanes;
/// What requests do.
mod plan;
/// What must hold afterwards.
mod run;

use std::cell::RefCell;

use actix_web::rt::System;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{TestCaseError, TestRunner},
};

use self::{
    lanes::Lanes,
    plan::{COUNTERS, Change, End, Event, Plan},
};

const ALL_ENDS: [(u32, End); 5] = [
    (4, End::Answer),
    (1, End::Modify),
    (1, End::HangUp),
    (1, End::Renew),
    (1, End::Purge),
];

const ENDS: [End; 5] = [
    End::Answer,
    End::Renew,
    End::Purge,
    End::Modify,
    End::HangUp,
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

#[actix_web::test]
async fn every_order_of_two_requests_keeps_what_must_be_kept() {
    let mut lanes = Lanes::new(2).await;
    for (one, other) in ENDS
        .into_iter()
        .flat_map(|one| ENDS.map(|other| (one, other)))
    {
        let ([one, ..], [_, other, _]) = (some_changes(one), some_changes(other));
        lanes.in_every_order(&[one, other]).await;
    }
}

#[actix_web::test]
async fn every_order_of_a_request_that_clears_and_one_that_does_not_keeps_what_must_be_kept() {
    let mut lanes = Lanes::new(2).await;
    for one in [End::Answer, End::Renew] {
        for other in ENDS {
            let changes = vec![Change::Clear, Change::Set("a")];
            let [clearing, changing] = [
                Plan { changes, end: one },
                Plan {
                    changes: vec![Change::Set("b"), Change::Add("n", 1)],
                    end: other,
                },
            ];
            lanes.in_every_order(&[clearing, changing]).await;
        }
    }
}

#[actix_web::test]
async fn every_order_of_three_changes_keeps_what_must_be_kept() {
    let mut lanes = Lanes::new(3).await;
    lanes.in_every_order(&some_changes(End::Answer)).await;
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

fn any_plans(
    ends: &'static [(u32, End)],
    n: std::ops::RangeInclusive<usize>,
) -> impl Strategy<Value = Vec<Plan>> {
    let ends = ends
        .iter()
        .map(|&(weight, end)| (weight, Just(end)))
        .collect();
    let end = prop::strategy::Union::new_weighted(ends);
    let plan = (vec(any_change(), 0..4), end).prop_map(|(changes, end)| Plan { changes, end });
    vec(plan, n)
}

/// Requests at once.
const MOST: usize = 6;

/// Random plans, in a random order of their commands.
fn check_at_random(
    ends: &'static [(u32, End)],
    events: &'static [Event],
    turns: impl Strategy<Value = Vec<(usize, bool)>>,
) {
    let system = System::new();
    let lanes = RefCell::new(system.block_on(Lanes::new(MOST)));
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let checked = runner.run(&(any_plans(ends, 2..=MOST), turns), |(plans, turns)| {
        let mut turns = turns.into_iter();
        let choose = |waiting| {
            let turn = turns.next();
            turn.map_or((0, false), |(turn, lose_reply)| {
                (turn % waiting, lose_reply)
            })
        };
        let mut lanes = lanes.borrow_mut();
        let run = system.block_on(lanes.run(&plans, events, choose));
        let checked = match events {
            [] => run.check(),
            _ => run.check_nothing_is_back(),
        };
        checked.map_err(TestCaseError::fail)
    });
    if let Err(failure) = checked {
        panic!("{failure}");
    }
}

#[test]
fn a_random_order_of_random_requests_keeps_what_must_be_kept() {
    let turns = vec((0..MOST, Just(false)), 60);
    check_at_random(&ALL_ENDS, &[], turns);
}

#[test]
fn lost_replies_in_between_lose_nothing_and_count_nothing_twice() {
    let turns = vec((0..MOST, prop::bool::weighted(0.3)), 60);
    check_at_random(&[(1, End::Answer)], &[], turns);
}

#[test]
fn nothing_is_back_whatever_is_removed_from_redis_and_however_long_it_takes() {
    const EVENTS: [&[Event]; 4] = [
        &[Event::SessionRemoved],
        &[Event::TombstoneEvicted],
        &[Event::TimePasses, Event::TombstoneEvicted],
        &[Event::SessionRemoved, Event::TombstoneEvicted],
    ];
    for events in EVENTS {
        let turns = vec((0..MOST + 1, Just(false)), 60);
        check_at_random(&ALL_ENDS, events, turns);
    }
}
