use std::collections::BTreeSet;

use demo::Instances;
use testbed::{By, Chromium, Person, Stack, StackOptions, eventually_holds};

use crate::pictures::picture;

const NOBODY: &str = "NULL";

pub(crate) fn start() -> Stack<Instances> {
    let demo = Instances::of(env!("CARGO_BIN_EXE_demo-under-test"));
    Stack::start(StackOptions::new(demo)).unwrap()
}

/// The number in the page's title.
fn count(person: &Person) -> u64 {
    let title = person.reads(By::Tag("h1"));
    let number = title.strip_prefix("You refreshed the page ").expect(&title);
    let number = number.strip_suffix(" times").expect(&title);
    number.parse().unwrap()
}

fn dbname(person: &Person) -> String {
    let code = person.reads(By::Tag("code"));
    let name = code.strip_prefix("dbname=\"").expect(&code);
    name.strip_suffix('"').expect(&code).to_owned()
}

fn instance(person: &Person) -> String {
    person.reads(By::Css("footer strong"))
}

#[test]
fn refreshing_counts_and_a_second_tab_shares_the_count() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let stack = start();
    let ada = chromium.person();
    ada.opens(&stack.url());
    assert_eq!((count(&ada), &*dbname(&ada)), (0, NOBODY));
    for n in 1..5 {
        ada.refreshes();
        assert_eq!(count(&ada), n);
    }
    ada.takes_a_picture(&picture("counter"));
    ada.opens_a_tab();
    ada.opens(&stack.url());
    assert_eq!(count(&ada), 5);
    ada.clicks(By::LinkText("Refresh"));
    assert_eq!(count(&ada), 6);
}

#[test]
fn a_second_browser_counts_for_itself() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let stack = start();
    let (ada, bob) = (chromium.person(), chromium.person());
    for n in 0..3 {
        ada.opens(&stack.url());
        assert_eq!(count(&ada), n);
    }
    bob.opens(&stack.url());
    assert_eq!((count(&bob), &*dbname(&bob)), (0, NOBODY));
    ada.refreshes();
    assert_eq!(count(&ada), 3);
}

#[test]
fn a_name_in_any_script_is_remembered_until_reset() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let stack = start();
    let ada = chromium.person();
    ada.opens(&format!("{}/dbset/한글", stack.url()));
    assert_eq!((count(&ada), &*dbname(&ada)), (0, "한글"));
    ada.clicks(By::LinkText("Set dbname to redis"));
    assert_eq!((count(&ada), &*dbname(&ada)), (1, "redis"));
    ada.clicks(By::LinkText("Reset"));
    assert_eq!((count(&ada), &*dbname(&ada)), (0, NOBODY));
}

#[test]
fn the_back_button_shows_no_session_that_has_ended() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let stack = start();
    let ada = chromium.person();
    ada.opens(&format!("{}/dbset/ada", stack.url()));
    ada.opens(&format!("{}/nothing/here", stack.url()));
    assert_eq!(ada.reads(By::Tag("h1")), "There is no such page");
    ada.takes_a_picture(&picture("no-such-page"));
    ada.goes_back();
    assert_eq!(dbname(&ada), "ada");

    ada.clicks(By::LinkText("Reset"));
    ada.opens(&format!("{}/nothing/here", stack.url()));
    for _ in 0..2 {
        ada.goes_back();
        assert_eq!(dbname(&ada), NOBODY);
    }
}

#[test]
fn tabs_that_load_at_the_same_time_lose_no_refresh() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let stack = start();
    let ada = chromium.person();
    ada.opens(&stack.url());
    let mut tabs = vec![ada.tab()];
    for _ in 1..6 {
        tabs.push(ada.opens_a_tab());
        ada.opens(&stack.url());
    }
    for tab in &tabs {
        ada.turns_to(tab);
        // Does not wait for the page.
        ada.finds_out::<()>("document.title = 'before'; setTimeout(() => location.reload(), 50)");
    }
    let mut counts = BTreeSet::new();
    for tab in &tabs {
        ada.turns_to(tab);
        eventually_holds("the tab has been loaded again", || {
            let loaded = "return document.readyState == 'complete' && document.title != 'before'";
            ada.finds_out(loaded)
        });
        counts.insert(count(&ada));
    }
    assert_eq!(counts, (6..12).collect());
}

#[test]
fn nobody_notices_that_an_instance_is_killed_until_none_is_left() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let mut stack = start();
    let ada = chromium.person();
    ada.opens(&stack.url());
    stack.kill_instance(1).unwrap();
    let mut answered = BTreeSet::new();
    for n in 1..9 {
        ada.refreshes();
        assert_eq!(count(&ada), n);
        answered.insert(instance(&ada));
    }
    let alive = ["instance-0", "instance-2"].map(str::to_owned);
    assert_eq!(answered, alive.into());

    for i in [0, 2] {
        stack.kill_instance(i).unwrap();
    }
    ada.refreshes();
    assert_eq!(ada.reads(By::Tag("h1")), "No instance answers");
    ada.takes_a_picture(&picture("no-instance-answers"));
    stack.restart_instance(1).unwrap();
    ada.clicks(By::LinkText("Go to the page that counts"));
    assert_eq!(count(&ada), 9);
}
