use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use testbed::{Browser, Page, Server, eventually_holds};

use crate::{
    instances::Instance,
    proxy::{Folder, Kind, Proxy},
    tools::succeed,
    witness::Witness,
};

/// Each proxy at the same time: most of what they do is to wait.
fn behind_each(test: impl Fn(Kind) + Sync) {
    let test = &test;
    thread::scope(|scope| {
        for kind in Kind::ALL {
            scope.spawn(move || test(kind));
        }
    });
}

fn three_instances(redis: &Server) -> [Instance; 3] {
    ["one", "two", "three"].map(|name| Instance::start(name, &redis.url()))
}

fn in_front_of(kind: Kind, instances: &[Instance; 3]) -> Option<Proxy> {
    Proxy::start(kind, instances.each_ref().map(Instance::address))
}

#[test]
fn each_proxy_accepts_its_configuration() {
    behind_each(|kind| {
        let nobody = Witness::that_hangs_up_once_on("nothing").addresses();
        let folder = Folder::new(kind, nobody);
        if let Some(mut check) = folder.check() {
            let said = succeed(&mut check).to_lowercase();
            assert!(!said.contains("warn"), "{said}");
        }
    });
}

#[test]
fn a_browser_keeps_its_session_while_instances_die_and_come_back() {
    behind_each(|kind| {
        let redis = Server::start();
        let mut instances = three_instances(&redis);
        let Some(proxy) = in_front_of(kind, &instances) else {
            return;
        };
        let browser = Browser::new(&proxy.url());
        let mut count = 0;
        let mut refresh = || {
            let page = browser.open("/");
            assert_eq!(page.refreshed(), count, "{kind:?}");
            count += 1;
            page.instance().to_owned()
        };
        let asked: HashSet<_> = (0..6).map(|_| refresh()).collect();
        assert_eq!(asked.len(), 3, "{kind:?}: {asked:?}");
        for instance in &mut instances {
            instance.kill();
            for _ in 0..6 {
                assert_ne!(refresh(), instance.name(), "{kind:?}");
            }
            instance.start_again();
            eventually_holds("it is asked again", || refresh() == instance.name());
        }
    });
}

#[test]
fn nobody_notices_that_each_instance_is_restarted_in_turn() {
    behind_each(|kind| {
        let redis = Server::start();
        let mut instances = three_instances(&redis);
        let Some(proxy) = in_front_of(kind, &instances) else {
            return;
        };
        let (done, url) = (AtomicBool::new(false), proxy.url());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let visitor = Browser::new(&url);
                    let mut count = 0;
                    while !done.load(Ordering::Relaxed) {
                        assert_eq!(visitor.refresh(), count, "{kind:?}");
                        count += 1;
                    }
                    assert!(count > 0, "{kind:?}");
                });
            }
            for instance in &mut instances {
                instance.stop();
                instance.start_again();
                let visitor = Browser::new(&proxy.url());
                eventually_holds("it is asked again", || {
                    visitor.open("/").instance() == instance.name()
                });
            }
            done.store(true, Ordering::Relaxed);
        });
    });
}

/// Longer than a health check that asked for Redis would take to find them all down.
const OUTAGE: Duration = Duration::from_secs(5);

/// No proxy answers in their place, nor after they have seen that it is over.
#[test]
fn in_an_outage_of_redis_the_instances_answer_themselves() {
    behind_each(|kind| {
        let redis = Server::start();
        let instances = three_instances(&redis);
        let Some(proxy) = in_front_of(kind, &instances) else {
            return;
        };
        let url = proxy.url();
        let visitor = Browser::new(&url);
        assert_eq!(visitor.refresh(), 0, "{kind:?}");
        let cookie = visitor.cookie().unwrap();
        // On a connection of its own.
        let answer = || Browser::with_cookie(&url, &cookie).get("/");
        redis.kill();
        let begin = Instant::now();
        // So many at once that each instance gets to know of it.
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    while begin.elapsed() < OUTAGE {
                        let answer = answer();
                        assert_eq!(answer.status, 503, "{kind:?}");
                        assert!(!answer.instance().is_empty(), "{kind:?}");
                        let retry = answer.header("retry-after").unwrap();
                        assert!(!retry.is_empty(), "{kind:?}");
                    }
                });
            }
        });
        redis.start_again();
        eventually_holds("it is over", || {
            let answer = answer();
            answer.instance();
            answer.status == 200
        });
    });
}

#[test]
fn if_an_instance_hangs_up_another_one_gets_the_request_unless_it_is_a_post() {
    behind_each(|kind| {
        type Send = fn(&Browser) -> Page;
        let get: Send = |browser| browser.get("/page");
        let post: Send = |browser| browser.post("/page", "");
        for (method, send, times, status) in [("GET", get, 2, 200), ("POST", post, 1, 502)] {
            let witness = Witness::that_hangs_up_once_on(method);
            let Some(proxy) = Proxy::start(kind, witness.addresses()) else {
                return;
            };
            let answer = send(&Browser::new(&proxy.url()));
            assert_eq!(answer.status, status, "{kind:?} {method}");
            assert_eq!(witness.heard("/page").len(), times, "{kind:?} {method}");
        }
    });
}

#[test]
fn who_asks_is_what_the_proxy_says_and_not_what_the_client_does() {
    behind_each(|kind| {
        let witness = Witness::that_hangs_up_once_on("nothing");
        let Some(proxy) = Proxy::start(kind, witness.addresses()) else {
            return;
        };
        let claims = [
            ("forwarded", "for=203.0.113.7;host=elsewhere.example.org"),
            ("x-forwarded-for", "203.0.113.7"),
            ("x-forwarded-host", "elsewhere.example.org"),
            ("x-forwarded-proto", "https"),
        ];
        let answer = Browser::new(&proxy.url()).get_with("/page", &claims);
        assert_eq!(answer.status, 200, "{kind:?}");
        let heard = witness.heard("/page").concat();
        let header = |name: &str| {
            let values = heard.iter().filter_map(|line| {
                let (header, value) = line.split_once(": ")?;
                header.eq_ignore_ascii_case(name).then_some(value)
            });
            values.collect::<Vec<_>>().join(",")
        };
        let host = proxy.url().replace("http://", "");
        assert_eq!(header("forwarded"), "", "{kind:?}");
        assert_eq!(header("x-forwarded-for"), "127.0.0.1", "{kind:?}");
        assert_eq!(header("x-forwarded-host"), host, "{kind:?}");
        assert_eq!(header("x-forwarded-proto"), "http", "{kind:?}");
        assert_eq!(header("host"), host, "{kind:?}");
    });
}
