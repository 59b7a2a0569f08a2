macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}

/// One request, whose commands wait for their turn.
mod lane;
/// Requests at once, on both sides, and whose turn it is.
mod lanes;
/// What must hold after each turn, and in the end.
mod rules;
/// What Redis holds.
mod world;

use std::cell::RefCell;

use actix_session::config::TtlExtensionPolicy;
use actix_web::rt::System;
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{TestCaseError, TestRunner},
};

use self::{
    lane::{
        Plan,
        Side::{self, Here, There},
        What::{self, ClearAndSet, Modify, Purge, Read, Renew, Set},
    },
    lanes::{Begun, Lanes},
};

const ALL: [Begun; 3] = [Begun::There, Begun::Adopted, Begun::Here];

const OF_BOTH: [What; 5] = [Read, Set, ClearAndSet, Renew, Purge];

fn by(side: Side, what: What) -> Plan {
    Plan { side, what }
}

/// Each request of ours with each of theirs: all that the built-in store asks of Redis comes between all that this
/// one does.
async fn every_order_of_one_here_and_one_there(adopts: bool, policy: TtlExtensionPolicy) {
    let mut lanes = Lanes::new(1, adopts, policy).await;
    for begun in ALL {
        for here in OF_BOTH.into_iter().chain([Modify]) {
            for there in OF_BOTH {
                let plans = [by(Here, here), by(There, there)];
                lanes.in_every_order(begun, &plans).await;
            }
        }
    }
}

#[actix_web::test]
async fn every_order_of_one_here_and_one_there_in_the_same_layout() {
    every_order_of_one_here_and_one_there(false, TtlExtensionPolicy::OnStateChanges).await;
}

#[actix_web::test]
async fn every_order_of_one_here_and_one_there_while_sessions_are_adopted() {
    every_order_of_one_here_and_one_there(true, TtlExtensionPolicy::OnStateChanges).await;
}

#[actix_web::test]
async fn every_order_of_one_here_and_one_there_that_prolong_the_session() {
    for adopts in [false, true] {
        every_order_of_one_here_and_one_there(adopts, TtlExtensionPolicy::OnEveryRequest).await;
    }
}

/// Whose copies are one more thing that they can meet at.
#[actix_web::test]
async fn every_order_of_two_here_while_sessions_are_adopted() {
    let mut lanes = Lanes::new(2, true, TtlExtensionPolicy::OnStateChanges).await;
    for one in OF_BOTH.into_iter().chain([Modify]) {
        for other in [Read, Set, Renew, Purge] {
            let plans = [by(Here, one), by(Here, other)];
            lanes.in_every_order(Begun::Adopted, &plans).await;
        }
    }
}

/// Requests at once, on each side.
const MOST: usize = 3;

/// Some of whose replies are lost on their way here.
fn a_random_order_of_random_requests(adopts: bool) {
    let system = System::new();
    for policy in [
        TtlExtensionPolicy::OnStateChanges,
        TtlExtensionPolicy::OnEveryRequest,
    ] {
        let lanes = RefCell::new(system.block_on(Lanes::new(MOST, adopts, policy)));
        let mut runner = TestRunner::new(ProptestConfig {
            cases: 64,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let here = select(vec![Read, Set, Set, ClearAndSet, Renew, Purge, Modify]);
        let there = select(vec![Read, Set, Set, ClearAndSet, Renew, Purge]);
        let plans = (vec(here, 1..=MOST), vec(there, 1..=MOST));
        let turns = vec((0..2 * MOST, prop::bool::weighted(0.1)), 60);
        let strategy = (select(ALL.to_vec()), plans, turns);
        let checked = runner.run(&strategy, |(begun, (here, there), turns)| {
            let here = here.into_iter().map(|what| by(Here, what));
            let there = there.into_iter().map(|what| by(There, what));
            let plans: Vec<_> = here.chain(there).collect();
            let mut turns = turns.into_iter();
            let choose = |waiting| {
                let turn = turns.next();
                turn.map_or((0, false), |(turn, lose)| (turn % waiting, lose))
            };
            let mut lanes = lanes.borrow_mut();
            let checked = system.block_on(lanes.run(begun, &plans, choose));
            checked.map_err(TestCaseError::fail)
        });
        if let Err(failure) = checked {
            panic!("{failure}");
        }
    }
}

#[test]
fn a_random_order_of_random_requests_in_the_same_layout() {
    a_random_order_of_random_requests(false);
}

#[test]
fn a_random_order_of_random_requests_while_sessions_are_adopted() {
    a_random_order_of_random_requests(true);
}
