use actix_session::config::TtlExtensionPolicy;
use actix_session_redis::RedisSessionStore;
use futures_util::future::{join, join_all};

use super::{Both, session_key_of};
use crate::support::{
    app::{Setup, TestApp},
    eventually,
    log::Log,
    proxy::Proxy,
    redis::{Commands, TestRedis, commands, pool_at},
    sessions::{hash_of, session_key},
};

const LOGGED_IN: &str = "n=1 user=\"ada\"";

async fn both() -> Both {
    Both::start(|options| options.counter("n").adopt_built_in_sessions("")).await
}

#[actix_web::test]
async fn whoever_is_logged_in_there_is_logged_in_here_and_after_going_back() {
    let both = both().await;
    let user = both.user().await;
    assert_eq!(both.read_here(&user).await, LOGGED_IN);
    let here = user.at(&both.ours);
    assert_eq!(here.get("/count").await.text(), "n=2 user=\"ada\"");
    assert_eq!(both.read_here(&user).await, "n=2 user=\"ada\"");
    // What was written here is not seen there.
    assert_eq!(both.read_there(&user).await, LOGGED_IN);
    assert_eq!(both.read_here(&user).await, "n=2 user=\"ada\"");
}

#[actix_web::test]
async fn whoever_logs_in_here_is_logged_in_there() {
    let both = both().await;
    let newcomer = both.ours.browser();
    newcomer.get("/login/eve").await.text();
    assert_eq!(both.read_there(&newcomer).await, "user=\"eve\"");
    newcomer.get("/login/ada").await.text();
    assert_eq!(both.read_there(&newcomer).await, "user=\"ada\"");
    assert_eq!(both.read_here(&newcomer).await, "user=\"ada\"");
}

#[actix_web::test]
async fn a_logout_on_either_side_is_one_on_both_before_and_after_the_first_write() {
    let both = both().await;
    for first in ["/read", "/count", "/set/name/Ada", "/clear"] {
        for logout in [&both.ours, &both.theirs] {
            let user = both.user().await;
            user.at(&both.ours).get(first).await.text();
            let thief = both.copy_of(&user);
            user.at(logout).get("/purge").await.text();
            both.assert_ended(&thief).await;
            assert!(!user.has_cookie());
        }
    }
}

#[actix_web::test]
async fn a_renewal_on_either_side_is_one_on_both() {
    let both = both().await;
    for first in ["/read", "/count"] {
        for renewal in [&both.ours, &both.theirs] {
            let user = both.user().await;
            user.at(&both.ours).get(first).await.text();
            let thief = both.copy_of(&user);
            user.at(renewal).get("/login/eve").await.text();
            both.assert_ended(&thief).await;
            for seen in [both.read_here(&user).await, both.read_there(&user).await] {
                assert!(seen.ends_with("user=\"eve\""), "{seen}");
            }
        }
    }
}

#[actix_web::test]
async fn a_logout_with_the_key_from_before_a_renewal_takes_the_copy_of_its_successor() {
    let both = both().await;
    let user = both.user().await;
    let before = both.copy_of(&user);
    user.at(&both.ours).get("/login/eve").await.text();
    before.at(&both.ours).get("/purge").await.text();
    both.assert_ended(&user).await;
    let copy = both.exists(&session_key_of(&user));
    assert!(!copy);
}

#[actix_web::test]
async fn twenty_first_writes_at_once_adopt_one_session_and_lose_nothing() {
    let log = Log::of_this_thread();
    let both = both().await;
    let user = both.user().await;
    let here = user.at(&both.ours);
    let writes = (0..20).map(|i| {
        let here = here.clone();
        async move {
            let path = if i % 2 == 0 {
                "/count".to_owned()
            } else {
                format!("/set/field{i}/{i}")
            };
            here.get(&path).await.text();
        }
    });
    join_all(writes).await;
    let seen = both.read_here(&user).await;
    assert!(seen.contains("n=11 user=\"ada\""), "{seen}");
    for i in (1..20).step_by(2) {
        assert!(seen.contains(&format!("field{i}=\"{i}\"")), "{seen}");
    }
    assert_eq!(log.count("adopted a session"), 1);
}

#[actix_web::test]
async fn the_copy_stays_as_it_is_and_lives_as_long() {
    let both = both().await;
    let user = both.user().await;
    let copy = session_key_of(&user);
    let session = hash_of(&session_key(&copy));
    let bytes = both.value_of(&copy);
    both.lives_for_a_minute(&copy);
    let here = user.at(&both.ours);
    for path in ["/count", "/set/name/Ada", "/remove/name", "/count"] {
        here.get(path).await.text();
        assert_eq!(both.value_of(&copy), bytes);
        let (ours, there) = (both.redis.pttl(&session), both.redis.pttl(&copy));
        // It never outlives ours: nothing that has expired comes back.
        assert!(there <= ours && ours - there < 2_000, "{there} {ours}");
        assert!(ours > 3_590_000, "{ours}");
    }
}

/// Otherwise whoever only reads would be logged out when the option goes.
#[actix_web::test]
async fn a_session_that_is_only_read_and_prolonged_is_adopted_too() {
    for consistent in [false, true] {
        let sliding = Setup {
            policy: TtlExtensionPolicy::OnEveryRequest,
            consistent,
            ..Setup::default()
        };
        let both = Both::start_with(sliding, |it| it.adopt_built_in_sessions("")).await;
        let user = both.user().await;
        let copy = session_key_of(&user);
        both.lives_for_a_minute(&copy);
        assert_eq!(both.read_here(&user).await, LOGGED_IN);
        let ours = hash_of(&session_key(&copy));
        for redis_key in [&copy, &ours] {
            assert!(both.redis.pttl(redis_key) > 3_590_000);
            both.lives_for_a_minute(redis_key);
        }
        both.read_here(&user).await;
        let without = TestApp::with(both.redis.unsealed_store_with(|it| it), &both.setup);
        assert_eq!(user.at(&without).get("/read").await.text(), LOGGED_IN);
        for redis_key in [&copy, &ours] {
            assert!(both.redis.pttl(redis_key) > 3_590_000);
        }
    }
}

#[actix_web::test]
async fn what_cannot_be_read_there_is_a_fresh_session_and_stays() {
    let both = both().await;
    for what in ["no JSON", "{\"v\":2,\"state\":{}}", "[]"] {
        let user = both.user().await;
        let copy = session_key_of(&user);
        both.redis.put(&copy, what.as_bytes());
        assert_eq!(both.read_here(&user).await, "empty");
        assert_eq!(user.at(&both.ours).get("/count").await.text(), "n=1");
        assert_ne!(session_key_of(&user), copy);
        assert_eq!(both.value_of(&copy), what);
    }
    let user = both.user().await;
    let copy = session_key_of(&user);
    both.redis.run::<()>(&format!("DEL {copy}"));
    both.redis.run::<()>(&format!("RPUSH {copy} 1"));
    let before = both.redis.dump(&copy);
    assert_eq!(user.at(&both.ours).get("/count").await.text(), "n=1");
    assert_ne!(session_key_of(&user), copy);
    assert_eq!(both.redis.dump(&copy), before);
}

#[actix_web::test]
async fn the_format_of_the_release_that_follows_is_read() {
    let both = both().await;
    let user = both.user().await;
    let state = r#"{"v":1,"state":{"n":7,"user":"ada"}}"#;
    both.redis.put(&session_key_of(&user), state.as_bytes());
    let counted = user.at(&both.ours).get("/count").await.text();
    assert_eq!(counted, "n=8 user=\"ada\"");
}

/// By an instance that runs without the option, before or beside this one.
#[actix_web::test]
async fn sessions_that_have_no_copy_live_and_end_as_ever() {
    let both = both().await;
    let without = TestApp::with(both.redis.unsealed_store_with(|it| it), &both.setup);
    let user = without.browser();
    user.get("/login/ada").await.text();
    assert_eq!(both.read_here(&user).await, "user=\"ada\"");
    let here = user.at(&both.ours);
    assert_eq!(here.get("/count").await.text(), "n=1 user=\"ada\"");
    assert_eq!(both.read_here(&user).await, "n=1 user=\"ada\"");
    let thief = both.copy_of(&user);
    here.get("/purge").await.text();
    both.assert_ended(&thief).await;
}

#[actix_web::test]
async fn a_request_that_outlasts_a_logout_there_brings_nothing_back() {
    let both = both().await;
    for first in ["/read", "/count"] {
        let user = both.user().await;
        user.at(&both.ours).get(first).await.text();
        let thief = both.copy_of(&user);
        let slow = user.at(&both.ours);
        let (slow, ()) = slow
            .get_slowly("/count", async {
                user.at(&both.theirs).get("/purge").await.text();
            })
            .await;
        assert!(!slow.touches_session_cookie(), "{slow:?}");
        both.assert_ended(&thief).await;
    }
}

#[actix_web::test]
async fn outside_of_consistent_sessions_it_is_the_same() {
    let setup = Setup::default();
    let both = Both::start_with(setup, |options| options.adopt_built_in_sessions("")).await;
    let user = both.user().await;
    let here = user.at(&both.ours);
    assert_eq!(here.get("/count").await.text(), "n=2 user=\"ada\"");
    assert_eq!(both.read_here(&user).await, "n=2 user=\"ada\"");
    assert_eq!(both.read_there(&user).await, LOGGED_IN);
    for logout in [&both.ours, &both.theirs] {
        let user = both.user().await;
        user.at(&both.ours).get("/count").await.text();
        let thief = both.copy_of(&user);
        user.at(logout).get("/purge").await.text();
        both.assert_ended(&thief).await;
    }
}

#[actix_web::test]
async fn modify_finds_a_session_that_is_still_there() {
    let both = both().await;
    let user = both.user().await;
    let store = both
        .redis
        .unsealed_store_with(|options| options.adopt_built_in_sessions(""));
    let key = session_key(&session_key_of(&user));
    let changed = store.modify(&key, |state| {
        state.insert("vip".to_owned(), "true".to_owned())
    });
    assert_eq!(changed.await.unwrap(), None);
    assert_eq!(both.read_here(&user).await, "n=1 user=\"ada\" vip=true");
    let ours = both.redis.pttl(&hash_of(&key));
    assert!((3_500_000..=3_600_000).contains(&ours), "{ours}");
}

/// What the same requests cost an application without the option, and one with it.
async fn costs_of(both: &Both, paths: &[&str]) -> [Commands; 2] {
    let without = both.redis.unsealed_store_with(|it| it.counter("n"));
    let without = TestApp::with(without, &both.setup);
    let mut costs = Vec::new();
    for app in [&without, &both.ours] {
        // The connection is there, and Redis knows the scripts.
        let first = app.browser();
        for path in [&["/set/name/Ada"], paths].concat() {
            first.get(path).await.text();
        }
        let browser = app.browser();
        browser.get("/set/name/Ada").await.text();
        let requests = async {
            for path in paths {
                browser.get(path).await.text();
            }
        };
        costs.push(both.redis.commands_during(requests).await.1);
    }
    costs.try_into().unwrap()
}

/// What the second costs more than the first, which costs nothing more.
fn difference([less, more]: [Commands; 2]) -> Commands {
    let mut difference = more.clone();
    for (name, n) in &less {
        let all = difference.entry(name.clone()).or_default();
        *all = all
            .checked_sub(*n)
            .unwrap_or_else(|| panic!("{less:?}, and {more:?}"));
    }
    difference.retain(|_, n| *n > 0);
    difference
}

#[actix_web::test]
async fn a_request_whose_session_is_nowhere_costs_one_look_up_more() {
    for setup in [Setup::default(), Setup::consistent()] {
        let both = Both::start_with(setup, |it| it.adopt_built_in_sessions("")).await;
        let without = TestApp::with(both.redis.unsealed_store_with(|it| it), &both.setup);
        let cookie = both.setup.signed_cookie(&"a".repeat(64));
        let mut costs = Vec::new();
        for app in [&without, &both.ours] {
            let miss = || {
                let stranger = app.browser_with_cookie(cookie.clone());
                async move { drop(stranger.get("/read").await.text()) }
            };
            miss().await;
            costs.push(both.redis.commands_during(miss()).await.1);
        }
        let more = difference(costs.try_into().unwrap());
        assert_eq!(more, commands([("exists", 1)]));
    }
}

#[actix_web::test]
async fn a_request_with_a_session_costs_one_command_more_to_read_and_one_to_write() {
    let both = both().await;
    let more = async |path| difference(costs_of(&both, &[path]).await);
    assert_eq!(more("/read").await, commands([("exists", 1)]));
    for write in ["/set/name/Eve", "/remove/name", "/add/n/1"] {
        let cost = commands([("exists", 1), ("pexpire", 1)]);
        assert_eq!(more(write).await, cost, "{write}");
    }
    // To end one, where its copy is, and that it goes.
    let cost = commands([("exists", 1), ("hget", 1), ("unlink", 1)]);
    assert_eq!(more("/purge").await, cost);
}

/// It costs a copy: its name, its value, and nothing else.
#[actix_web::test]
async fn a_session_that_begins_costs_two_commands_more() {
    let both = both().await;
    let without = TestApp::with(both.redis.unsealed_store_with(|it| it), &both.setup);
    let mut costs = Vec::new();
    for app in [&without, &both.ours] {
        app.browser().get("/count").await.text();
        let newcomer = app.browser();
        costs.push(both.redis.commands_during(newcomer.get("/count")).await.1);
    }
    let more = difference(costs.try_into().unwrap());
    assert_eq!(more, commands([("hset", 1), ("set", 1)]));
}

#[actix_web::test]
async fn a_session_that_is_not_adopted_yet_costs_four_look_ups_more_in_one_round_trip_more() {
    let both = both().await;
    let user = both.user().await;
    let here = user.at(&both.ours);
    // The connection is there.
    both.ours.browser().get("/count").await.text();
    let (answer, asked) = both.redis.commands_during(here.get("/read")).await;
    assert_eq!(answer.text(), LOGGED_IN);
    let cost = [("hgetall", 1), ("exists", 1), ("pttl", 2), ("get", 1)];
    assert_eq!(asked, commands(cost));
}

/// While Redis answers nothing, all is asked for that a round trip more would wait with.
#[actix_web::test]
async fn neither_a_request_that_reads_nor_one_that_writes_waits_for_redis_once_more() {
    let redis = TestRedis::start().await;
    let proxy = Proxy::watching(&redis).await;
    let store = RedisSessionStore::builder(pool_at(&proxy.url_as("")))
        .adopt_built_in_sessions("")
        .build();
    let app = TestApp::consistent_on(store);
    let browser = app.browser();
    browser.get("/set/name/Ada").await.text();
    for (path, last) in [("/read", "HGETALL"), ("/count", "EXEC")] {
        browser.get(path).await.text();
        let before = proxy.seen(last).len();
        let asked = async {
            if path == "/read" {
                redis.pause();
            } else {
                // It has read, and is about to write.
                app.arrival_at_the_desk().await;
                redis.pause();
                app.let_go();
            }
            eventually("it is asked for", || proxy.seen(last).len() > before).await;
            redis.resume();
        };
        let path = match path {
            "/read" => path.to_owned(),
            write => format!("{write}?at-the-desk"),
        };
        let (answer, ()) = join(browser.get(&path), asked).await;
        answer.text();
    }
}
