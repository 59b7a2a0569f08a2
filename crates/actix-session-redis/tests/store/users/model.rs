macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}

#[cfg(feature = "cluster")]
mod faults;
/// One request, whose commands wait for their turn.
mod lane;
/// Requests at once, and whose turn it is.
mod lanes;
/// Which requests meet which.
mod meetings;
/// What requests do.
mod plan;
/// What came of a request.
mod record;
/// What must hold afterwards.
mod run;
/// What Redis holds.
mod world;

use std::{cell::RefCell, rc::Rc};

use actix_session_redis::AtLimit;
use actix_web::rt::System;
use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    sample::select,
    test_runner::{TestCaseError, TestRunner},
};

use self::{
    lanes::{Lanes, Limit},
    meetings::{any_plan, pairs, threes},
    plan::{
        How::{InPlace, Renewing},
        Plan, USERS,
        User::{Ada, Bob},
        What,
        Who::{self, Desk, Guest, Laptop, Newcomer, Phone, Veteran},
    },
};
use crate::support::servers::Servers;

/// The same tests on other servers, with so many cases of each random one.
macro_rules! tests_on {
    ($name:ident, $servers:expr, $cases:literal) => {
        mod $name {
            use super::*;

            #[actix_web::test]
            async fn two_that_make_a_session_the_same_users_at_once_leave_it_in_the_index() {
                let plans = [What::Modify(Ada), What::LogIn(Ada, InPlace)];
                super::every_order_of($servers, plans.map(|what| by(Guest, what))).await;
            }

            #[actix_web::test]
            async fn a_session_that_changes_hands_is_not_prolonged_for_longer_than_its_entry() {
                for change in [What::LogIn(Bob, InPlace), What::Modify(Bob)] {
                    let plans = [What::Remember, change];
                    for who in [Phone, Guest] {
                        super::every_order_of($servers, plans.map(|what| by(who, what))).await;
                    }
                }
            }

            #[actix_web::test]
            async fn a_session_from_before_there_were_users_is_whose_its_state_says() {
                let plans = [What::WriteSomethingElse, What::LogIn(Bob, InPlace)];
                super::every_order_of($servers, plans.map(|what| by(Veteran, what))).await;
            }

            #[actix_web::test]
            async fn a_session_that_is_renewed_while_a_login_makes_room_is_counted() {
                super::a_renewal_while_a_login_makes_room($servers).await;
            }

            #[actix_web::test]
            async fn a_request_that_waits_while_two_others_come_and_go_leaves_the_index_right() {
                super::a_request_that_waits_while_two_others_come_and_go($servers).await;
            }

            #[actix_web::test]
            async fn every_order_of_two_requests_leaves_the_index_right() {
                super::every_order_of_two_requests($servers).await;
            }

            #[actix_web::test]
            async fn every_order_of_three_requests_leaves_the_index_right() {
                super::every_order_of_three_requests($servers).await;
            }

            #[test]
            fn a_random_order_of_random_requests_leaves_the_index_right() {
                super::a_random_order_of_random_requests($servers, $cases, 0.0, 0);
            }

            #[test]
            fn lost_replies_in_between_leave_the_index_right() {
                super::a_random_order_of_random_requests($servers, $cases, 0.15, 0);
            }
        }
    };
}

tests_on!(on_one_server, Servers::one(), 48);

// What counts is on one server of a cluster, too.
#[actix_web::test]
async fn a_session_that_is_being_renewed_counts_as_one() {
    a_renewal_and_logins_at_a_limit(Servers::one()).await;
}

// There, the index and each of the sessions are mostly on different servers.
#[cfg(feature = "cluster")]
tests_on!(on_a_cluster, Servers::cluster(), 16);

#[cfg(feature = "cluster")]
#[test]
fn slots_that_move_and_lost_replies_in_between_leave_the_index_right() {
    a_random_order_of_random_requests(Servers::cluster(), 16, 0.1, 2);
}

const LIMITS: [Limit; 3] = [
    None,
    Some((2, AtLimit::EndOldest)),
    Some((2, AtLimit::Refuse)),
];

fn by(who: Who, what: What) -> Plan {
    Plan { who, what }
}

async fn a_renewal_while_a_login_makes_room(redis: Servers) {
    let at_limit = Some((1, AtLimit::EndOldest));
    let mut lanes = Lanes::new(2, Rc::new(redis), at_limit, &[Phone]).await;
    let plans = [
        by(Newcomer, What::LogIn(Ada, Renewing)),
        by(Phone, What::Renew),
    ];
    // The login is entered; the renewal comes and goes.
    let mut turns = [0, 1, 1, 1, 1, 1].into_iter();
    let choose = |waiting: usize| (turns.next().unwrap_or(0).min(waiting - 1), false);
    lanes.run(&plans, choose).await.check().unwrap();
}

/// A login finds the place that there is, and no more than one session ends for it.
async fn a_renewal_and_logins_at_a_limit(redis: Servers) {
    let redis = Rc::new(redis);
    let renew = by(Phone, What::Renew);
    let log_in = by(Newcomer, What::LogIn(Ada, Renewing));
    let all = [
        (2, &[Phone, Laptop][..]),
        (1, &[Phone]),
        (2, &[Phone]),
        (3, &[Phone, Laptop]),
    ];
    for at_limit in [AtLimit::EndOldest, AtLimit::Refuse] {
        for (most, at_first) in all {
            let limit = Some((most, at_limit));
            let mut lanes = Lanes::new(2, Rc::clone(&redis), limit, at_first).await;
            lanes.in_every_order(&[renew, log_in]).await;
        }
    }
}

async fn every_order_of<const N: usize>(redis: Servers, plans: [Plan; N]) {
    let at_first = &[Phone, Guest, Veteran];
    let mut lanes = Lanes::new(N, Rc::new(redis), None, at_first).await;
    lanes.in_every_order(&plans).await;
}

async fn every_order_of_two_requests(redis: Servers) {
    let mut lanes = Lanes::new(2, Rc::new(redis), None, &[Phone, Guest]).await;
    for plans in pairs() {
        lanes.in_every_order(&plans).await;
    }
}

/// Before each of its commands in turn, and before another one between the two.
async fn a_request_that_waits_while_two_others_come_and_go(redis: Servers) {
    let mut lanes = Lanes::new(3, Rc::new(redis), None, &[Phone, Desk, Guest]).await;
    for plans in threes() {
        for turns in 0..30 {
            let (mut at_first, mut between) = (turns / 3, turns % 3);
            let choose = |waiting: usize| {
                let turns = match waiting {
                    3 => &mut at_first,
                    _ => &mut between,
                };
                let is_first = *turns > 0;
                *turns -= usize::from(is_first);
                (usize::from(!is_first && waiting > 1), false)
            };
            lanes.run(&plans, choose).await.check().unwrap();
        }
    }
}

async fn every_order_of_three_requests(redis: Servers) {
    let redis = Rc::new(redis);
    let log_in = by(Newcomer, What::LogIn(Ada, Renewing));
    let end_all = by(Newcomer, What::EndAll(Ada));
    let mut lanes = Lanes::new(3, Rc::clone(&redis), None, &[Guest]).await;
    for other in [log_in, by(Guest, What::LogIn(Ada, InPlace))] {
        lanes.in_every_order(&[log_in, other, end_all]).await;
    }
    for at_limit in [AtLimit::EndOldest, AtLimit::Refuse] {
        let mut lanes = Lanes::new(2, Rc::clone(&redis), Some((1, at_limit)), &[]).await;
        lanes.in_every_order(&[log_in; 2]).await;
    }
}

/// Requests at once.
const MOST: usize = 6;

/// Random plans, in a random order of their commands.
fn a_random_order_of_random_requests(redis: Servers, cases: u32, lost: f64, slot_moves: usize) {
    let (system, redis) = (System::new(), Rc::new(redis));
    for limit in LIMITS {
        let at_first = &[Phone, Laptop, Desk, Guest];
        let lanes = Lanes::new(MOST, Rc::clone(&redis), limit, at_first);
        let lanes = RefCell::new(system.block_on(lanes));
        let mut runner = TestRunner::new(ProptestConfig {
            cases,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let turns = vec((0..MOST, prop::bool::weighted(lost)), 100);
        let slot_moves = btree_map(0..30_usize, select(&USERS[..]), slot_moves);
        let strategy = (vec(any_plan(), 2..=MOST), turns, slot_moves);
        let checked = runner.run(&strategy, |(plans, turns, slot_moves)| {
            lanes.borrow_mut().slot_moves = slot_moves;
            let mut turns = turns.into_iter();
            let choose = |waiting| {
                let turn = turns.next();
                turn.map_or((0, false), |(turn, lose)| (turn % waiting, lose))
            };
            let run = system.block_on(lanes.borrow_mut().run(&plans, choose));
            run.check().map_err(TestCaseError::fail)
        });
        if let Err(failure) = checked {
            panic!("{limit:?}: {failure}");
        }
    }
}

/// An order that chance once found.
#[actix_web::test]
async fn who_is_refused_while_sessions_end_and_a_reply_is_lost_leaves_the_index_right() {
    let at_first = &[Phone, Laptop, Desk, Guest];
    let limit = Some((2, AtLimit::Refuse));
    let mut lanes = Lanes::new(MOST, Rc::new(Servers::one()), limit, at_first).await;
    let plans = [
        by(Newcomer, What::End(Bob, Phone)),
        by(Phone, What::LogInWithPassword(Ada, Renewing)),
        by(Desk, What::LogInWithPassword(Ada, Renewing)),
        by(Newcomer, What::LogIn(Ada, Renewing)),
        by(Phone, What::LogIn(Bob, Renewing)),
    ];
    let mut turns = [
        5, 3, 5, 4, 3, 4, 0, 3, 5, 5, 2, 3, 2, 4, 1, 3, 2, 5, 0, 0, 0, 0, 5,
    ]
    .into_iter()
    .enumerate();
    let choose = |waiting: usize| match turns.next() {
        Some((n, turn)) => (turn % waiting, n == 17),
        None => (0, false),
    };
    lanes.run(&plans, choose).await.check().unwrap();
}

#[cfg(feature = "cluster")]
#[actix_web::test]
async fn a_login_that_is_sent_on_to_another_server_counts_from_when_it_gets_there() {
    let mut lanes = Lanes::new(2, Rc::new(Servers::cluster()), None, &[]).await;
    lanes.slot_moves = [(0, Ada)].into();
    let plans = [
        by(Newcomer, What::LogIn(Ada, Renewing)),
        by(Newcomer, What::EndAll(Ada)),
    ];
    // The login is sent on; all sessions of the user end; the login gets there.
    let mut turns = [0, 1, 1, 1, 1].into_iter();
    let choose = |waiting: usize| (turns.next().unwrap_or(0).min(waiting - 1), false);
    lanes.run(&plans, choose).await.check().unwrap();
}
