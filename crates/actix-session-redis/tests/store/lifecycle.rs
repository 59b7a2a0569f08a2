use std::{rc::Rc, time::Duration};

use actix_session::{Session, storage::SessionStore};
use actix_session_redis::{ConsistentSessions, CurrentSession, RedisSessionStore};
use actix_web::{
    Result, get,
    web::{Data, Path, scope},
};
use futures_util::{FutureExt, future::join_all};
use tokio::sync::Semaphore;

use crate::support::{
    app::{Setup, TestApp},
    eventually,
    proxy::{Command, Fate, Proxy, script_called},
    redis::TestRedis,
    routes,
    sessions::{HOUR, hash_of, session_key, state, tombstone_of},
    visit::Visit,
};

/// What a request may do to its session, besides reading it.
const CHANGES: [&str; 7] = [
    "/set/late/1",
    "/count",
    "/remove/secret",
    "/clear",
    "/renew",
    "/purge",
    "/count-and-fail",
];

/// By which a session ends without anybody being told, or is forgotten to have ended.
const ENDS: [&str; 6] = [
    "DEL {session}",
    "UNLINK {session}",
    "PEXPIRE {session} -1",
    "FLUSHALL",
    "FLUSHDB",
    "RENAME {session} elsewhere",
];

#[actix_web::test]
async fn whatever_a_request_does_to_a_session_that_is_gone_nothing_of_it_is_stored() {
    for setup in [Setup::consistent(), Setup::default()] {
        for end in ENDS {
            for slow in CHANGES {
                // Without `ConsistentSessions`, a renewal cannot tell.
                if slow == "/renew" && !setup.consistent {
                    continue;
                }
                let visit = Visit::begin_with(&setup).await;
                let browser = visit.browser();
                let end = end.replace("{session}", &visit.session);
                let ending = async { visit.redis.run::<()>(&end) };
                let (answer, ()) = browser.get_slowly(slow, ending).await;
                assert!(answer.status == 200 || answer.status == 418);
                let mut left = visit.redis.sessions();
                left.retain(|key| key != "elsewhere");
                assert_eq!(left, [""; 0], "{slow} after {end}");
                if setup.consistent && slow != "/purge" {
                    assert!(!answer.touches_session_cookie(), "{slow} after {end}");
                }
            }
        }
    }
}

/// Its memory may be too short, evicted, or flushed.
#[actix_web::test]
async fn a_logout_holds_without_its_tombstone() {
    for slow in CHANGES {
        let visit = Visit::begin().await;
        let browser = visit.browser();
        let logout = async {
            browser.get("/purge").await.text();
            let tombstone = visit.beside("ended");
            assert_eq!(visit.redis.run::<u8>(&format!("DEL {tombstone}")), 1);
        };
        let (answer, ()) = browser.get_slowly(slow, logout).await;
        assert!(
            !answer.touches_session_cookie() || slow == "/purge",
            "{slow}"
        );
        assert_eq!(visit.redis.sessions(), [""; 0], "{slow}");
    }
}

#[actix_web::test]
async fn a_login_whose_session_is_gone_is_one_into_a_session_that_holds_nothing_old() {
    for login in ["/login/Ada", "/clear-and-login/Ada"] {
        let visit = Visit::begin().await;
        let browser = visit.browser();
        let gone = async { visit.redis.run::<()>("FLUSHALL") };
        let (login, ()) = browser.get_slowly(login, gone).await;
        assert!(login.touches_session_cookie());
        assert_eq!(browser.get("/read").await.text(), "user=\"Ada\"");
    }
}

#[actix_web::test]
async fn a_logout_that_meets_a_renewal_ends_what_has_taken_the_place_of_the_session() {
    for renewals in [1, 3] {
        let visit = Visit::begin().await;
        let browser = visit.browser();
        let renewing = async {
            for _ in 0..renewals {
                browser.get("/login/Ada").await.text();
            }
            browser.cookie()
        };
        let old = visit.browser();
        let (logout, new_cookie) = old.get_slowly("/purge", renewing).await;
        assert!(logout.touches_session_cookie());
        assert_eq!(visit.redis.sessions(), [""; 0]);
        let new = visit.app.browser_with_cookie(new_cookie);
        assert_eq!(new.get("/read").await.text(), "empty");
    }
}

#[actix_web::test]
async fn a_logout_with_the_key_from_before_a_renewal_ends_what_has_taken_its_place() {
    for minutes in [0, 4] {
        let visit = Visit::begin().await;
        let (old, browser) = (visit.browser(), visit.browser());
        browser.get("/login/Ada").await.text();
        visit.let_pass(60 * minutes);
        assert!(old.get("/purge").await.touches_session_cookie());
        assert_eq!(visit.redis.sessions(), [""; 0]);
        assert_eq!(browser.get("/read").await.text(), "empty");
    }
}

#[actix_web::test]
async fn of_two_renewals_one_wins_and_the_other_sets_no_cookie() {
    for quick in ["/login/Ada", "/clear-and-login/Ada", "/renew"] {
        for slow in ["/login/Bea", "/clear-and-login/Bea", "/renew"] {
            let visit = Visit::begin().await;
            let browser = visit.browser();
            let (slow, quick) = browser.get_slowly(slow, browser.get(quick)).await;
            assert!(quick.touches_session_cookie() && !slow.touches_session_cookie());
            assert!(!browser.get("/read").await.text().contains("Bea"));
            visit.redis.only_session();
        }
    }
}

#[actix_web::test]
async fn a_request_that_was_sent_before_the_browser_knew_of_the_end_is_anonymous() {
    for end in ["/purge", "/login/Ada"] {
        for late in ["/read", "/set/late/1", "/count", "/remove/secret", "/clear"] {
            let visit = Visit::begin().await;
            let browser = visit.browser();
            browser.get(end).await.text();
            let keys = visit.redis.keys();
            visit.let_pass(9);
            let answer = visit.browser().get(late).await;
            assert_eq!(answer.status, 200);
            assert!(!answer.touches_session_cookie(), "{late} after {end}");
            assert_eq!(visit.redis.keys(), keys, "{late} after {end}");
            assert!(!answer.body.contains("old"));
        }
    }
}

#[actix_web::test]
async fn a_request_that_was_sent_before_the_browser_knew_of_the_end_may_log_in() {
    for end in ["/purge", "/login/Ada"] {
        let visit = Visit::begin().await;
        visit.browser().get(end).await.text();
        let late = visit.browser();
        assert!(late.get("/login/Bea").await.touches_session_cookie());
        assert_eq!(
            late.get("/read").await.text(),
            "user=\"Bea\"",
            "after {end}"
        );
    }
}

#[actix_web::test]
async fn ten_seconds_after_its_end_the_key_of_a_session_is_that_of_a_newcomer() {
    for end in ["/purge", "/login/Ada"] {
        let visit = Visit::begin().await;
        visit.browser().get(end).await.text();
        visit.let_pass(11);
        let newcomer = visit.browser();
        assert!(newcomer.get("/count").await.touches_session_cookie());
        assert_eq!(newcomer.get("/count").await.text(), "n=2", "after {end}");
    }
}

/// The new session is there before the old one ends.
#[actix_web::test]
async fn a_renewal_that_fails_half_way_leaves_the_old_session() {
    type Step = fn(&Command) -> bool;
    let steps: [Step; 2] = [Command::is_create, Command::is_end];
    for step in steps {
        let redis = TestRedis::start().await;
        let refusing = move |command: &Command| match step(command) {
            true => Fate::Reply(b"-OOM no room\r\n".to_vec()),
            false => Fate::Forward,
        };
        let proxy = Proxy::before(&redis, refusing).await;
        let setup = Setup::consistent();
        let (app, failing) = (
            TestApp::with(redis.store(), &setup),
            TestApp::with(proxy.store(), &setup),
        );
        let browser = app.browser();
        browser.get("/set/secret/old").await.text();
        let session = redis.only_session();
        browser
            .at(&failing)
            .get("/login/Ada")
            .await
            .assert_empty_500();
        assert_eq!(redis.only_session(), session);
        assert_eq!(browser.get("/read").await.text(), "secret=\"old\"");
    }
}

#[actix_web::test]
async fn a_renewal_loses_nothing_when_replies_are_lost() {
    type Step = fn(&Command) -> bool;
    let steps: [Step; 3] = [Command::is_create, Command::is_end, Command::is_replace];
    for step in steps {
        let redis = TestRedis::start().await;
        let mut lost = 0;
        let losing = move |command: &Command| {
            let loses = step(command) && lost < 2;
            lost += usize::from(loses);
            match loses {
                true => Fate::LoseReply,
                false => Fate::Forward,
            }
        };
        let proxy = Proxy::before(&redis, losing).await;
        let setup = Setup::consistent();
        let (app, losing) = (
            TestApp::with(redis.store(), &setup),
            TestApp::with(proxy.store(), &setup),
        );
        let browser = app.browser();
        browser.get("/set/secret/old").await.text();
        let other = browser.get("/set/late/1");
        let tab = browser.at(&losing);
        let (login, _) = tab.get_slowly("/login/Ada", other).await;
        assert_eq!(login.status, 200);
        let fields = "late=\"1\" secret=\"old\" user=\"Ada\"";
        assert_eq!(browser.get("/read").await.text(), fields);
        redis.only_session();
    }
}

/// It has ended the old session, was not told so, and is carried out again.
#[actix_web::test]
async fn a_renewal_whose_reply_is_lost_loses_nothing_without_its_tombstone() {
    let redis = Rc::new(TestRedis::start().await);
    redis.learn(&script_called("end"));
    let (at_redis, mut ends) = (Rc::clone(&redis), 0);
    let proxy = Proxy::before(&redis, move |command| {
        if !command.is_end() {
            return Fate::Forward;
        }
        ends += 1;
        if ends == 1 {
            return Fate::LoseReply;
        }
        let keys = at_redis.keys();
        let tombstone = keys.iter().find(|key| key.contains(":ended:")).unwrap();
        at_redis.run::<()>(&format!("DEL {tombstone}"));
        Fate::Forward
    })
    .await;
    let setup = Setup::consistent();
    let (app, losing) = (
        TestApp::with(redis.store(), &setup),
        TestApp::with(proxy.store(), &setup),
    );
    let browser = app.browser();
    browser.get("/set/secret/old").await.text();
    browser.at(&losing).get("/renew").await.text();
    assert_eq!(browser.get("/read").await.text(), "secret=\"old\"");
    redis.only_session();
}

/// It ends the old session, and nobody can say so.
#[actix_web::test]
async fn a_renewal_in_doubt_gives_the_browser_the_new_session() {
    let redis = TestRedis::start().await;
    redis.learn(&script_called("end"));
    let lose_end = |command: &Command| match command.is_end() {
        true => Fate::LoseReply,
        false => Fate::Forward,
    };
    let proxy = Proxy::before(&redis, lose_end).await;
    let setup = Setup::consistent();
    let losing = proxy.store_with(|options| options.deadline(Duration::from_millis(500)));
    let (app, losing) = (
        TestApp::with(redis.store(), &setup),
        TestApp::with(losing, &setup),
    );
    let browser = app.browser();
    browser.get("/set/secret/old").await.text();
    let login = browser.at(&losing).get("/login/Ada").await;
    assert_eq!(login.status, 503);
    let fields = browser.get("/read").await.text();
    assert_eq!(fields, "secret=\"old\" user=\"Ada\"");
}

/// Its first try comes through when the session that the second one has begun has ended.
#[actix_web::test]
async fn a_session_that_has_ended_is_not_begun_again_by_what_the_network_has_held_up() {
    let redis = Rc::new(TestRedis::start().await);
    let held_up = Rc::new(Semaphore::new(0));
    let (gate, mut creates) = (Rc::clone(&held_up), 0);
    let proxy = Proxy::before(&redis, move |command| {
        creates += usize::from(command.is_create());
        if command.is_create() && creates == 1 {
            let gate = Rc::clone(&gate);
            return Fate::ForwardAfter(
                async move { gate.acquire().await.unwrap().forget() }.boxed_local(),
            );
        }
        Fate::Forward
    })
    .await;
    let app = TestApp::consistent_on(proxy.store());
    let browser = app.browser();
    browser.get("/set/secret/old").await.text();
    let tab = app.browser_with_cookie(browser.cookie());
    browser.get("/purge").await.text();
    held_up.add_permits(1);
    let creates = || redis.command_count("evalsha") + redis.command_count("eval");
    let before = creates();
    eventually("the first try comes through", || creates() > before).await;
    assert_eq!(redis.sessions(), [""; 0]);
    assert_eq!(tab.get("/read").await.text(), "empty");
}

#[actix_web::test]
async fn a_session_has_at_most_three_redis_keys_and_all_of_them_expire() {
    let visit = Visit::begin().await;
    let browser = visit.browser();
    for path in CHANGES.into_iter().chain(["/login/Ada", "/read"]) {
        browser.get(path).await;
        for key in visit.redis.keys() {
            let pttl = visit.redis.pttl(&key);
            assert!(pttl > 0, "{key} after {path}");
        }
        let first = visit
            .redis
            .keys()
            .into_iter()
            .filter(|key| key.contains(&visit.session));
        assert!(first.count() <= 3);
    }
}

/// A page of a browser that holds six connections: its requests write while one of them logs in.
#[actix_web::test]
async fn whoever_logs_in_while_other_requests_of_the_page_write_is_logged_in_afterwards() {
    let redis = TestRedis::start().await;
    let setup = Setup {
        workers: 2,
        ..Setup::consistent()
    };
    let app = TestApp::with(redis.store_with(|options| options.counter("n")), &setup);
    for round in 0..1_000 {
        let browser = app.browser();
        browser.get("/set/secret/old").await.text();
        let login = browser.get("/login/Ada");
        let others = ["/count", "/set/a/1", "/read", "/count", "/set/b/2"];
        let others = join_all(others.map(|path| browser.get(path)));
        let (login, others) = futures_util::future::join(login, others).await;
        assert_eq!(login.status, 200, "in round {round}");
        assert!(others.iter().all(|answer| answer.status == 200));
        let fields = browser.get("/read").await.text();
        assert!(fields.contains("user=\"Ada\""), "{fields} in round {round}");
    }
}

/// Ends the old session of the user, whose key it has got somewhere.
#[get("/end-and-login/{old}/{user}")]
async fn end_and_login(
    session: Session,
    store: Data<RedisSessionStore>,
    path: Path<(String, String)>,
) -> Result<&'static str> {
    let (old, user) = path.into_inner();
    let old = session_key(&old);
    store.load(&old).await.unwrap();
    store.delete(&old).await.unwrap();
    session.renew();
    session.insert("user", user)?;
    Ok("welcome")
}

#[get("/write/{key}")]
async fn write(
    session: Session,
    store: Data<RedisSessionStore>,
    key: Path<String>,
    current: CurrentSession,
) -> Result<String> {
    let key = session_key(&key);
    store.load(&key).await.unwrap();
    store.update_ttl(&key, &HOUR).await.unwrap();
    let updated = store.update(key, state("theirs", "1"), &HOUR);
    updated.await.unwrap();
    session.insert("ours", 1)?;
    Ok(current
        .handle()
        .map_or("none".to_owned(), ToString::to_string))
}

fn app_with_store(redis: &TestRedis) -> TestApp {
    let (store, setup) = (redis.store(), Setup::default());
    TestApp::configured(move |app| {
        let sessions = ConsistentSessions::new(setup.sessions(store.clone()));
        let part = scope("")
            .app_data(Data::new(store.clone()))
            .wrap(sessions)
            .service((end_and_login, write));
        app.service(part.configure(routes::all));
    })
}

#[actix_web::test]
async fn what_a_handler_does_to_another_session_does_not_touch_its_own() {
    let redis = TestRedis::start().await;
    let app = app_with_store(&redis);
    let store = redis.store();
    for ended_before in [false, true] {
        let mut former = state("secret", "\"of the former session\"");
        former.extend(state("cart", "[]"));
        let former = store.save(former, &HOUR).await.unwrap();
        if ended_before {
            store.delete(&former).await.unwrap();
        }
        let browser = app.browser();
        browser.get("/set/csrf/token").await.text();
        let path = format!("/end-and-login/{}/Ada", former.as_ref());
        assert!(browser.get(&path).await.touches_session_cookie());
        let fields = browser.get("/read").await.text();
        assert_eq!(fields, "csrf=\"token\" user=\"Ada\"");
        assert_eq!(store.load(&former).await.unwrap(), None);
        assert_eq!(
            redis.run::<u8>(&format!("EXISTS {}", tombstone_of(&former))),
            1
        );
    }

    for gone in [false, true] {
        let other = store.save(state("n", "1"), &HOUR).await.unwrap();
        if gone {
            redis.run::<()>(&format!("DEL {}", hash_of(&other)));
        }
        let browser = app.browser();
        browser.get("/set/csrf/token").await.text();
        browser
            .get(&format!("/write/{}", other.as_ref()))
            .await
            .text();
        let fields = browser.get("/read").await.text();
        assert_eq!(fields, "csrf=\"token\" ours=1");
        let expected = (!gone).then(|| state("theirs", "1"));
        assert_eq!(store.load(&other).await.unwrap(), expected);
    }
}
