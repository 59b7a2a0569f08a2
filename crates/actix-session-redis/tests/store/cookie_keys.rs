mod around;

use std::time::{Duration, SystemTime};

use actix_session::config::CookieContentSecurity;
use actix_session_redis::PreviousCookieKey;
use actix_web::cookie::Key;

use crate::support::{
    app::{Setup, TestApp},
    browser::Browser,
    line::Line,
    redis::{TestRedis, commands},
    sessions::long_key,
};

/// The same with a new key, that accepts the cookies of the keys before.
fn with_next_key(setup: &Setup) -> Setup {
    let mut next = setup.clone();
    next.key = Key::generate();
    next.previous_keys.insert(0, setup.key.clone().into());
    next
}

/// The same, once no older cookies are accepted any more.
fn without_previous_keys(setup: &Setup) -> Setup {
    Setup {
        previous_keys: Vec::new(),
        ..setup.clone()
    }
}

fn setups() -> [Setup; 4] {
    let private = Setup {
        cookies: CookieContentSecurity::Private,
        ..Setup::consistent()
    };
    let persistent = |setup: &Setup| Setup {
        persistent: true,
        ..setup.clone()
    };
    let signed = Setup::consistent();
    [persistent(&signed), persistent(&private), signed, private]
}

/// A visitor who has been here before the key has changed.
struct Change {
    redis: TestRedis,
    before: TestApp,
    after: TestApp,
    /// What accepts the cookies of the new key alone.
    in_the_end: TestApp,
    cookie: String,
}

impl Change {
    async fn of(setup: &Setup) -> Self {
        let redis = TestRedis::start().await;
        let before = TestApp::with(redis.store(), setup);
        let setup = with_next_key(setup);
        let after = TestApp::with(redis.store(), &setup);
        let in_the_end = TestApp::with(redis.store(), &without_previous_keys(&setup));
        let browser = before.browser();
        assert_eq!(browser.get("/count").await.text(), "n=1");
        let cookie = browser.cookie();
        Self {
            redis,
            before,
            after,
            in_the_end,
            cookie,
        }
    }

    /// The visitor, with the cookie of the old key.
    fn browser(&self) -> Browser<'_> {
        self.after.browser_with_cookie(&self.cookie)
    }
}

#[actix_web::test]
async fn whoever_has_a_cookie_of_the_previous_key_has_the_same_session_with_one_of_the_new_key() {
    for setup in setups() {
        let change = Change::of(&setup).await;
        let session = change.redis.only_session();
        for (path, text) in [("/read", "n=1"), ("/count", "n=2")] {
            let browser = change.browser();
            let answer = browser.get(path).await;
            assert_eq!(answer.touched_cookies, ["id"], "{path}");
            assert_eq!(answer.header("cache-control"), "private");
            assert_eq!(answer.text(), text);
            assert_ne!(browser.cookie(), change.cookie);
            let later = browser.at(&change.in_the_end).get("/read").await;
            assert_eq!(later.text(), text, "without the previous key");
        }
        assert_eq!(change.redis.only_session(), session);
    }
}

#[actix_web::test]
async fn an_encrypted_cookie_is_not_made_anew_where_they_are_signed_nor_the_other_way_round() {
    for (was, is) in [
        (
            CookieContentSecurity::Private,
            CookieContentSecurity::Signed,
        ),
        (
            CookieContentSecurity::Signed,
            CookieContentSecurity::Private,
        ),
    ] {
        let redis = TestRedis::start().await;
        let setup = |cookies| Setup {
            cookies,
            ..Setup::consistent()
        };
        let was = setup(was);
        let before = TestApp::with(redis.store(), &was);
        let after = TestApp::with(
            redis.store(),
            &Setup {
                previous_keys: vec![was.key.clone().into()],
                ..setup(is)
            },
        );
        let browser = before.browser();
        browser.get("/count").await.text();
        assert_eq!(browser.at(&after).get("/read").await.text(), "empty");
    }
}

#[actix_web::test]
async fn a_cookie_is_made_anew_once_and_that_is_one_pttl() {
    let change = Change::of(&Setup::consistent()).await;
    let newcomer = change.after.browser();
    newcomer.get("/count").await.text();
    let browser = change.browser();
    let remade = change.redis.commands_during(browser.get("/read")).await;
    assert!(remade.0.touches_session_cookie());
    assert_eq!(remade.1, commands([("hgetall", 1), ("pttl", 1)]));
    let again = change.redis.commands_during(browser.get("/read")).await;
    assert!(!again.0.touches_session_cookie());
    assert_eq!(again.1, commands([("hgetall", 1)]));
}

#[actix_web::test]
async fn keys_of_three_generations_are_accepted() {
    let redis = TestRedis::start().await;
    let first = Setup::consistent();
    let second = with_next_key(&first);
    let third = with_next_key(&second);
    let fourth = TestApp::with(redis.store(), &with_next_key(&third));
    for setup in [first, second, third] {
        let app = TestApp::with(redis.store(), &setup);
        let browser = app.browser();
        assert_eq!(browser.get("/count").await.text(), "n=1");
        assert_eq!(browser.at(&fourth).get("/count").await.text(), "n=2");
        assert_eq!(browser.get("/read").await.text(), "empty", "it is new");
        assert_eq!(browser.at(&fourth).get("/count").await.text(), "n=3");
    }
}

#[actix_web::test]
async fn a_key_is_accepted_until_its_end() {
    let redis = TestRedis::start().await;
    let setup = Setup::consistent();
    let before = TestApp::with(redis.store(), &setup);
    let (an_hour, now) = (Duration::from_secs(3600), SystemTime::now());
    for (end, text) in [
        (now + an_hour, "n=1"),
        (now, "empty"),
        (now - an_hour, "empty"),
    ] {
        let previous = PreviousCookieKey::until(setup.key.clone(), end);
        let after = Setup {
            previous_keys: vec![previous],
            ..Setup::consistent()
        };
        let after = TestApp::with(redis.store(), &after);
        let browser = before.browser();
        browser.get("/count").await.text();
        let answer = browser.at(&after).get("/read").await;
        assert_eq!(answer.touches_session_cookie(), text != "empty");
        assert_eq!(answer.text(), text);
    }
}

#[actix_web::test]
async fn a_cookie_of_no_key_and_one_without_a_session_key_are_strangers() {
    for setup in setups() {
        let change = Change::of(&setup).await;
        let mut cookies = vec!["id=".to_owned(), "id=%F0%9F%8D%AA".to_owned()];
        for index in [3, 40, change.cookie.len() - 1] {
            let mut tampered = change.cookie.clone();
            let other = match &change.cookie[index..=index] {
                "A" => "B",
                _ => "A",
            };
            tampered.replace_range(index..=index, other);
            cookies.extend([tampered, change.cookie[..index].to_owned()]);
        }
        let texts = ["x".repeat(63), "x".repeat(65), "-".repeat(64), "x".into()];
        cookies.extend(texts.iter().map(|text| setup.signed_cookie(text)));
        let foreign = Setup::consistent();
        cookies.push(foreign.signed_cookie(long_key("x").as_ref()));
        for cookie in cookies {
            let browser = change.after.browser_with_cookie(&cookie);
            let (answer, asked) = change.redis.commands_during(browser.get("/read")).await;
            assert!(!answer.touches_session_cookie(), "{cookie}");
            assert_eq!(answer.text(), "empty", "{cookie}");
            assert_eq!(asked, commands([]), "{cookie}");
        }
    }
}

#[actix_web::test]
async fn a_session_that_is_gone_gets_no_new_cookie_and_is_not_brought_back() {
    for setup in setups() {
        let change = Change::of(&setup).await;
        let session = change.redis.only_session();
        change.redis.run::<()>(&format!("UNLINK {session}"));
        let answer = change.browser().get("/read").await;
        assert!(!answer.touches_session_cookie());
        assert_eq!(answer.text(), "empty");
        let browser = change.browser();
        let answer = browser.get("/count").await;
        assert_eq!(answer.touched_cookies, ["id"]);
        assert_eq!(answer.text(), "n=1");
        let later = browser.at(&change.in_the_end).get("/count").await;
        assert_eq!(later.text(), "n=2");
        assert_ne!(change.redis.only_session(), session);
    }
}

#[actix_web::test]
async fn the_applications_own_cookies_are_set_beside_the_new_one() {
    let change = Change::of(&Setup::consistent()).await;
    let browser = change.browser();
    let answer = browser.get("/count-with-own-cookies").await;
    assert_eq!(answer.touched_cookies, ["theme", "language", "id"]);
    let later = browser.at(&change.in_the_end).get("/read").await;
    assert_eq!(later.text(), "n=2");
}

#[actix_web::test]
async fn a_renewal_sets_the_cookie_of_the_new_session_alone() {
    for setup in setups() {
        for path in ["/renew", "/login/Ada"] {
            let change = Change::of(&setup).await;
            let browser = change.browser();
            let answer = browser.get(path).await;
            assert_eq!(answer.touched_cookies, ["id"]);
            let text = answer.text();
            let later = browser.at(&change.in_the_end).get("/read").await;
            assert_eq!(later.text(), text);
            let old = change.browser().get("/read").await;
            assert!(!old.touches_session_cookie());
            assert_eq!(old.text(), "empty");
            change.redis.only_session();
        }
    }
}

#[actix_web::test]
async fn a_logout_takes_the_cookie_away_and_the_old_one_leads_nowhere() {
    for setup in setups() {
        let change = Change::of(&setup).await;
        let browser = change.browser();
        let answer = browser.get("/purge").await;
        assert_eq!(answer.touched_cookies, ["id"]);
        assert!(!browser.has_cookie());
        let again = change.browser().get("/read").await;
        assert!(!again.touches_session_cookie());
        assert_eq!(again.text(), "empty");
        assert_eq!(change.redis.sessions(), [""; 0]);
    }
}

#[actix_web::test]
async fn a_request_that_outlasts_its_session_sets_no_cookie() {
    for setup in setups() {
        for slow in ["/read", "/count", "/renew", "/purge", "/count-and-fail"] {
            for end in ["/purge", "/login/Ada"] {
                if (slow, end) == ("/purge", "/login/Ada") {
                    continue; // It ends what has taken the place of its session.
                }
                let change = Change::of(&setup).await;
                let browser = change.browser();
                let (answer, _) = browser.get_slowly(slow, browser.get(end)).await;
                assert!(!answer.touches_session_cookie(), "{slow} {end}");
                let text = browser.get("/read").await.text();
                assert_eq!(text.contains("Ada"), end != "/purge", "{slow} {end}");
            }
        }
    }
}

#[actix_web::test]
async fn two_requests_with_the_old_cookie_at_once_lose_nothing() {
    let change = Change::of(&Setup::consistent()).await;
    let browser = change.browser();
    let (slow, quick) = browser
        .get_slowly("/set/a/1", browser.get("/set/b/2"))
        .await;
    assert!(slow.touches_session_cookie() && quick.touches_session_cookie());
    let text = browser.at(&change.in_the_end).get("/read").await.text();
    assert_eq!(text, "a=\"1\" b=\"2\" n=1");
}

#[actix_web::test]
async fn an_outage_sets_no_cookie_and_logs_nobody_out() {
    for anonymous in [false, true] {
        let redis = TestRedis::start_with(&["--appendonly", "yes"]).await;
        let setup = Setup::consistent();
        let before = TestApp::with(redis.store(), &setup);
        let browser = before.browser();
        browser.get("/count").await.text();
        let store = redis.store_with(|options| {
            options
                .anonymous_during_outage(anonymous)
                .deadline(Duration::from_millis(200))
        });
        let after = TestApp::with(store.clone(), &with_next_key(&setup));
        let browser = browser.at(&after);
        redis.stop();
        let status = if anonymous { 200 } else { 503 };
        for (path, status) in [("/read", status), ("/count", 503), ("/purge", 503)] {
            let answer = browser.get(path).await;
            assert_eq!(answer.status, status, "{path}");
            assert!(!answer.touches_session_cookie(), "{path}");
        }
        redis.start_again().await;
        crate::support::eventually_async("Redis is found again", async || {
            browser.get("/read").await.body == "n=1"
        })
        .await;
        assert_eq!(browser.get("/count").await.text(), "n=2");
    }
}

#[actix_web::test]
async fn a_session_that_is_too_fresh_to_be_prolonged_gets_its_new_cookie_all_the_same() {
    let setup = Setup {
        persistent: true,
        ..Setup::consistent_and_sliding()
    };
    let change = Change::of(&setup).await;
    let browser = change.browser();
    let answer = browser.get("/read").await;
    assert!(answer.header("set-cookie").contains("Max-Age=3600"));
    assert!(!browser.get("/read").await.touches_session_cookie());
}

/// As while they are deployed one after the other: first all accept both keys, then all make cookies
/// with the new one.
#[actix_web::test]
async fn processes_that_accept_each_others_key_share_their_visitors() {
    let redis = TestRedis::start().await;
    let old = Setup::consistent();
    let new = with_next_key(&old);
    let in_between = Setup {
        previous_keys: vec![new.key.clone().into()],
        ..old.clone()
    };
    let [old, in_between, new] =
        [old, in_between, new].map(|setup| TestApp::with(redis.store(), &setup));
    let browser = old.browser();
    let way = [
        &old,
        &in_between,
        &old,
        &in_between,
        &new,
        &in_between,
        &new,
    ];
    for (n, app) in way.into_iter().enumerate() {
        let text = browser.at(app).get("/count").await.text();
        assert_eq!(text, format!("n={}", n + 1));
    }
}

#[actix_web::test]
async fn the_current_key_among_the_previous_ones_makes_no_cookie_anew() {
    for setup in setups().into_iter().filter(|setup| !setup.persistent) {
        let redis = TestRedis::start().await;
        let mut setup = with_next_key(&setup);
        setup.previous_keys.insert(0, setup.key.clone().into());
        let app = TestApp::with(redis.store(), &setup);
        let browser = app.browser();
        browser.get("/count").await.text();
        assert!(!browser.get("/count").await.touches_session_cookie());
    }
}

#[actix_web::test]
async fn of_two_cookies_of_one_name_the_first_counts_whatever_the_second_is() {
    let change = Change::of(&Setup::consistent()).await;
    let other = change.in_the_end.browser();
    other.get("/set/other/1").await.text();
    let (old, new) = (&change.cookie, other.cookie());
    let mut line = Line::to(&change.after).await;
    for (first, second, text) in [
        (old.as_str(), new.as_str(), "n=1"),
        (old, "id=garbage", "n=1"),
        (old, old, "n=1"),
        (&new, old, "other=\"1\""),
        ("id=garbage", old, "empty"),
    ] {
        for between in ["; ", ";", "; a=b; ", "\r\nCookie: "] {
            let cookies = format!("{first}{between}{second}");
            assert_eq!(line.get("/read", &cookies).await, text, "{cookies}");
        }
    }
}

#[actix_web::test]
async fn without_the_previous_key_its_cookies_are_strangers() {
    let change = Change::of(&Setup::consistent()).await;
    let browser = change.browser();
    let answer = browser.at(&change.in_the_end).get("/read").await;
    assert_eq!(answer.text(), "empty");
    let answer = browser.at(&change.before).get("/read").await;
    assert_eq!(answer.text(), "n=1", "and nothing was lost by that");
}
