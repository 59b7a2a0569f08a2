use std::{collections::HashMap, thread};

use deadpool_redis::redis::Commands as _;
use testbed::{Browser, eventually_holds};

use crate::stack::{browser, sessions, start, start_with};

#[test]
fn the_tabs_of_one_browser_share_the_session() {
    let stack = start();
    let browser = browser(&stack);
    assert_eq!(browser.refresh(), 0);
    for count in 1..=20 {
        assert_eq!(browser.refresh(), count);
    }
    assert_eq!(sessions(&mut stack.redis()).len(), 1);
}

#[test]
fn another_browser_gets_a_session_of_its_own() {
    let stack = start();
    let (one, other) = (browser(&stack), browser(&stack));
    one.open("/dbset/mine");
    for count in 0..5 {
        assert_eq!(one.refresh(), count + 1);
        assert_eq!(other.refresh(), count);
    }
    assert_eq!(one.open("/").dbname(), "mine");
    assert_eq!(other.open("/").dbname(), "NULL");
}

#[test]
fn the_requests_of_a_browser_go_to_all_instances_and_the_count_goes_on() {
    let stack = start();
    let browser = browser(&stack);
    let mut served = HashMap::<_, u64>::new();
    for count in 0..60 {
        let page = browser.open("/");
        assert_eq!(page.refreshed(), count);
        *served.entry(page.instance().to_owned()).or_default() += 1;
    }
    let mut names: Vec<_> = served.keys().map(String::as_str).collect();
    names.sort();
    assert_eq!(names, stack.instance_names().collect::<Vec<_>>());
    assert!(
        served.values().all(|&requests| requests >= 10),
        "{served:?}"
    );
}

#[test]
fn many_browsers_at_once_never_see_each_others_session() {
    let stack = start();
    thread::scope(|scope| {
        for visitor in 0..16 {
            let browser = browser(&stack);
            scope.spawn(move || {
                let name = format!("visitor-{visitor}");
                browser.open(&format!("/dbset/{name}"));
                for count in 1..=20 {
                    let page = browser.open("/");
                    assert_eq!((page.refreshed(), page.dbname()), (count, &*name));
                }
            });
        }
    });
    assert_eq!(sessions(&mut stack.redis()).len(), 16);
}

#[test]
fn kill_ends_the_session_on_both_sides() {
    let stack = start();
    let browser = browser(&stack);
    browser.open("/");
    let cookie = browser.cookie().unwrap();
    let session = sessions(&mut stack.redis());
    assert_eq!(session.len(), 1);

    let killed = browser.get("/kill");
    assert_eq!(killed.status, 302);
    assert_eq!(killed.header("location"), Some("/"));
    assert_eq!(browser.cookie(), None);
    assert!(sessions(&mut stack.redis()).is_empty());

    // Whoever still sends the old cookie is a stranger, and sent it before he knew.
    let again = Browser::with_cookie(&stack.url(), &cookie).open("/");
    assert_eq!(again.header("set-cookie"), None);
    assert_eq!(again.refreshed(), 0);
    assert!(sessions(&mut stack.redis()).is_empty());
}

#[test]
fn a_browser_starts_over_after_reset() {
    let stack = start();
    let browser = browser(&stack);
    browser.open("/dbset/redis");
    browser.refresh();
    let page = browser.open("/kill");
    assert_eq!((page.refreshed(), page.dbname()), (0, "NULL"));
    assert_eq!(browser.refresh(), 1);
}

#[test]
fn a_session_expires_by_itself() {
    let stack = start_with(|options| {
        options.application.session_ttl = "1s".parse().unwrap();
    });
    let browser = browser(&stack);
    browser.open("/dbset/redis");
    let mut redis = stack.redis();
    eventually_holds("the session expires", || sessions(&mut redis).is_empty());

    let page = browser.open("/");
    assert_eq!((page.refreshed(), page.dbname()), (0, "NULL"));
}

#[test]
fn the_longest_life_that_the_command_line_takes_is_one_that_redis_takes() {
    let stack = start_with(|options| {
        options.application.session_ttl = "3650000d".parse().unwrap();
    });
    let browser = browser(&stack);
    assert_eq!([browser.refresh(), browser.refresh()], [0, 1]);
}

#[test]
fn every_request_gives_the_session_another_hour() {
    const HOUR_MS: i64 = 3_600_000;
    let stack = start();
    let browser = browser(&stack);
    browser.refresh();
    let mut redis = stack.redis();
    let session = sessions(&mut redis).remove(0);

    // As if most of the hour had passed.
    let _: () = redis.pexpire(&session, 60_000).unwrap();
    browser.refresh();
    let left: i64 = redis.pttl(&session).unwrap();
    assert!((HOUR_MS - 60_000..=HOUR_MS).contains(&left), "{left}");
}

#[test]
fn the_cookie_is_for_the_browser_session_and_out_of_reach_of_scripts() {
    let stack = start();
    let page = browser(&stack).open("/");
    let cookie = page.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly"), "{cookie}");
    assert!(cookie.contains("SameSite=Lax"), "{cookie}");
    assert!(!cookie.contains("Max-Age"), "{cookie}");
    assert!(!cookie.contains("Expires"), "{cookie}");
    // The demo is on plain HTTP, where a browser would not send it.
    assert!(!cookie.contains("Secure"), "{cookie}");
}
