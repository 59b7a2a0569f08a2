use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use testbed::Browser;

use crate::stack::{Stack, browser, sessions, start};

pub(crate) const VISITORS: usize = 8;

/// Visitors who refresh without a pause while `trouble` goes on, and some times more. Each call
/// of `visit` is one visitor's whole stay; it is told when the trouble is over.
pub(crate) fn while_people_refresh(
    stack: &mut Stack,
    trouble: impl FnOnce(&mut Stack),
    visit: impl Fn(&Browser, &AtomicBool) + Sync,
) {
    let over = AtomicBool::new(false);
    let browsers: Vec<_> = (0..VISITORS).map(|_| browser(stack)).collect();
    thread::scope(|scope| {
        for browser in &browsers {
            assert_eq!(browser.refresh(), 0);
            scope.spawn(|| visit(browser, &over));
        }
        trouble(stack);
        over.store(true, Ordering::Relaxed);
    });
}

/// Refreshes until the trouble is over, then until every instance has had its turn.
pub(crate) fn counts(browser: &Browser, over: &AtomicBool) -> Vec<u64> {
    let mut counts = Vec::new();
    let mut rounds_after = 0;
    while rounds_after < 30 {
        rounds_after += usize::from(over.load(Ordering::Relaxed));
        counts.push(browser.refresh());
    }
    counts
}

#[test]
fn no_session_is_lost_when_an_instance_is_killed_in_the_middle_of_it() {
    let mut stack = start();
    while_people_refresh(
        &mut stack,
        |stack| stack.kill_instance(1).unwrap(),
        // Every request is answered. One that the dead instance had already counted is sent to
        // another by nginx and counts again, so the numbers may skip, but never go back.
        |browser, over| assert!(counts(browser, over).is_sorted_by(|a, b| a < b)),
    );
    assert_eq!(sessions(&mut stack.redis()).len(), VISITORS);

    let browser = browser(&stack);
    assert!((0..20).all(|_| browser.open("/").instance() != "instance-1"));
}

#[test]
fn a_killed_instance_serves_again_once_it_is_back() {
    let mut stack = start();
    stack.kill_instance(1).unwrap();
    stack.restart_instance(1).unwrap();
    let browser = browser(&stack);
    assert!((0..20).any(|_| browser.open("/").instance() == "instance-1"));
}

#[test]
fn a_rolling_restart_fails_no_request_and_loses_no_count() {
    let mut stack = start();
    while_people_refresh(
        &mut stack,
        |stack| (0..3).for_each(|i| stack.restart_instance(i).unwrap()),
        |browser, over| {
            let counts = counts(browser, over);
            assert!(
                counts.iter().copied().eq(1..=counts.len() as u64),
                "{counts:?}"
            );
        },
    );
    assert_eq!(sessions(&mut stack.redis()).len(), VISITORS);
}
