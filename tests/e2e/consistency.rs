use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use testbed::{Browser, Server, eventually_holds};

use crate::stack::{Stack, browser, sessions, start_with};

const TABS: usize = 64;
const REFRESHES: u64 = 10_000;

fn start_four(redis: &Server) -> Stack {
    start_with(|options| {
        options.instances = 4;
        options.redis_url = Some(redis.url());
    })
}

/// Refreshes `REFRESHES` times, in as many tabs of one browser at once, while something else goes
/// on, which is told how many refreshes have begun. Every refresh is answered with the page.
fn refresh_in_many_tabs(stack: &Stack, meanwhile: impl FnOnce(&AtomicU64)) -> u64 {
    let browser = browser(stack);
    assert_eq!(browser.refresh(), 0);
    let cookie = browser.cookie().unwrap();
    let begun = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..TABS {
            let tab = Browser::with_cookie(&stack.url(), &cookie);
            scope.spawn(|| {
                let tab = tab;
                while begun.fetch_add(1, Ordering::Relaxed) < REFRESHES {
                    tab.refresh();
                }
            });
        }
        meanwhile(&begun);
    });
    browser.refresh() - 1
}

#[test]
fn ten_thousand_refreshes_in_many_tabs_at_once_count_ten_thousand() {
    let server = Server::start();
    let stack = start_four(&server);
    assert_eq!(refresh_in_many_tabs(&stack, |_| ()), REFRESHES);
    assert_eq!(sessions(&mut stack.redis()).len(), 1);
}

#[test]
fn a_restart_of_redis_in_the_middle_loses_no_refresh_and_counts_none_twice() {
    let redis = Server::start();
    let stack = start_four(&redis);
    let refreshed = refresh_in_many_tabs(&stack, |begun| {
        for part in 1..4 {
            eventually_holds("the next quarter of the refreshes", || {
                begun.load(Ordering::Relaxed) > REFRESHES / 4 * part
            });
            redis.stop();
            redis.start_again();
        }
    });
    assert_eq!(refreshed, REFRESHES);
}
