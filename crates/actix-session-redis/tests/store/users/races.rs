use std::{cell::Cell, collections::BTreeMap, future::ready, mem, rc::Rc, time::Duration};

use actix_session::storage::SessionStore as _;
use actix_session_redis::{
    AtLimit, CurrentSession, Error, RedisSessionStore, RedisSessionStoreBuilder, SessionId,
};
use actix_web::{FromRequest as _, test::TestRequest};
use futures_util::{
    FutureExt as _,
    future::{join, join_all},
};
use tokio::sync::oneshot;

use super::{app_of, handles, index_keys, log_in, of, save, with_users};
use crate::support::{
    app::Setup,
    eventually,
    log::Log,
    proxy::{Fate, Proxy, script_called},
    redis::TestRedis,
    scope::{in_a_request, in_an_answered_request},
    sessions::{HOUR, Typed as _, copy, hash_of},
    travel,
};

/// What a request of a session that is ended meanwhile may do.
const UNDER_WAY: [&str; 7] = [
    "/set/late/1",
    "/count",
    "/remove/user",
    "/clear",
    "/renew",
    "/purge",
    "/set/user/Ada",
];

#[actix_web::test]
async fn end_all_holds_against_whatever_is_under_way() {
    for slow in UNDER_WAY {
        let redis = TestRedis::start().await;
        let store = redis.store_with(with_users);
        let app = app_of(&store);
        let [phone, laptop] = [log_in(&app, "Ada").await, log_in(&app, "Ada").await];
        let end_all = async { store.sessions_of("Ada").end_all().await.unwrap() };
        let (_, ended) = phone.get_slowly(slow, end_all).await;
        assert_eq!(ended, 2, "{slow}");
        for browser in [phone, laptop] {
            assert_eq!(browser.get("/read").await.text(), "empty", "{slow}");
        }
        assert_eq!(handles(&store, "Ada").await, [], "{slow}");
        let again = log_in(&app, "Ada").await;
        again.get("/renew").await.text();
        again.get("/set/n/1").await.text();
        assert_eq!(again.get("/read").await.text(), "n=\"1\" user=\"Ada\"");
    }
}

#[actix_web::test]
async fn so_does_the_end_of_one() {
    for slow in UNDER_WAY {
        let redis = TestRedis::start().await;
        let store = redis.store_with(with_users);
        let app = app_of(&store);
        let phone = log_in(&app, "Ada").await;
        let of_phone = handles(&store, "Ada").await.remove(0);
        let laptop = log_in(&app, "Ada").await;
        let end = async { store.sessions_of("Ada").end(&of_phone).await.unwrap() };
        let (_, has_ended) = phone.get_slowly(slow, end).await;
        assert!(has_ended, "{slow}");
        assert_eq!(phone.get("/read").await.text(), "empty", "{slow}");
        assert_eq!(laptop.get("/read").await.text(), "user=\"Ada\"", "{slow}");
        assert_eq!(handles(&store, "Ada").await.len(), 1, "{slow}");
    }
}

#[actix_web::test]
async fn a_session_that_expires_while_it_is_prolonged_or_written_stays_away() {
    for slow in ["/read", "/set/n/1", "/set/user/Bob", "/renew"] {
        let redis = TestRedis::start().await;
        let store = redis.store_with(with_users);
        let setup = Setup::consistent_and_sliding();
        let app = super::app_with(&store, &setup);
        let browser = log_in(&app, "Ada").await;
        let session = redis.only_session();
        let expiry = async { redis.expire_now(&session) };
        browser.get_slowly(slow, expiry).await;
        assert_eq!(browser.get("/read").await.text(), "empty", "{slow}");
        for user in ["Ada", "Bob"] {
            assert_eq!(handles(&store, user).await, [], "{slow}");
        }
        assert!(redis.keys().iter().all(|key| redis.pttl(key) > 0), "{slow}");
    }
}

#[actix_web::test]
async fn end_others_leaves_the_one_and_what_becomes_of_it() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    let app = super::app_with_devices(&store);
    let [phone, laptop] = [log_in(&app, "Ada").await, log_in(&app, "Ada").await];
    assert_eq!(phone.get("/devices/end-others").await.text(), "1");
    assert_eq!(laptop.get("/read").await.text(), "empty");
    for _ in 0..3 {
        phone.get("/renew").await.text();
        phone.get("/set/n/1").await.text();
    }
    assert_eq!(phone.get("/read").await.text(), "n=\"1\" user=\"Ada\"");
    assert_eq!(phone.get("/devices/current-of-list").await.text(), "true");
    // Even if it was renewed while the others were ended.
    let laptop = log_in(&app, "Ada").await;
    let end_others = async { laptop.get("/devices/end-others").await.text() };
    let (_, ended) = laptop.get_slowly("/renew", end_others).await;
    assert_eq!(ended, "1");
    assert_eq!(laptop.get("/read").await.text(), "user=\"Ada\"");
    assert_eq!(phone.get("/read").await.text(), "empty");
}

#[actix_web::test]
async fn a_login_that_was_begun_before_end_all_is_void() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    let app = super::app_with_devices(&store);
    for path in [
        "/devices/password-login/Ada",
        "/devices/password-login-in-place/Ada",
    ] {
        let browser = app.browser();
        browser.get("/set/cart/1").await.text();
        let (login, _) = browser.get_slowly(path, end_all(&store)).await;
        assert_eq!(login.status, 409, "{login:?}");
        assert!(!login.touches_session_cookie());
        assert_eq!(browser.get("/read").await.text(), "cart=\"1\"");
        // The same with nobody in between, and with somebody else ended in between.
        let bob = async { store.sessions_of("Bob").end_all().await.unwrap() };
        let (login, _) = browser.get_slowly(path, bob).await;
        assert_eq!(login.text(), "welcome");
        assert_eq!(browser.get("/read").await.text(), "cart=\"1\" user=\"Ada\"");
        browser.get("/purge").await.text();
    }
}

#[actix_web::test]
async fn a_login_in_a_session_that_is_not_the_users_any_more_is_void() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    let app = super::app_with_devices(&store);
    for (meanwhile, then) in [
        ("/remove/user", "cart=\"1\""),
        ("/set/user/Bob", "cart=\"1\" user=\"Bob\""),
    ] {
        let browser = log_in(&app, "Ada").await;
        browser.get("/set/cart/1").await.text();
        let others = async { browser.get(meanwhile).await.text() };
        let again = "/devices/password-login-in-place/Ada";
        let (login, _) = browser.get_slowly(again, others).await;
        assert_eq!(login.status, 409, "{login:?}");
        assert_eq!(browser.get("/read").await.text(), then);
    }
}

async fn end_all(store: &RedisSessionStore) -> usize {
    store.sessions_of("Ada").end_all().await.unwrap()
}

#[actix_web::test]
async fn logins_and_end_all_at_once_leave_only_sessions_that_are_listed() {
    let redis = TestRedis::start().await;
    let stores: [_; 4] = std::array::from_fn(|_| redis.store_with(with_users));
    for _ in 0..20 {
        let login = async |store: &RedisSessionStore| match store.save(of("Ada"), &HOUR).await {
            Ok(key) => Some(key),
            Err(error) => {
                assert_matches!(error.typed(), Error::Gone);
                None
            }
        };
        let logins = (0..10).flat_map(|_| &stores).map(login);
        let ends = stores.iter().map(|store| store.sessions_of("Ada"));
        let ends = join_all(ends.map(async |sessions| sessions.end_all().await.unwrap()));
        let (keys, _) = join(join_all(logins), ends).await;
        let listed = handles(&stores[0], "Ada").await;
        let mut live = Vec::new();
        for key in keys.iter().flatten() {
            if stores[0].load(key).await.unwrap().is_some() {
                live.push(SessionId::of(key));
            }
        }
        live.sort();
        let mut sorted = listed.clone();
        sorted.sort();
        assert_eq!(sorted, live);
        stores[0].sessions_of("Ada").end_all().await.unwrap();
        assert_eq!(redis.sessions(), [""; 0]);
    }
}

/// Whoever is killed between the two leaves an entry without a session, never a session without.
#[actix_web::test]
async fn a_session_that_is_ended_before_it_is_written_never_begins() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    let key = save(&store, "Ada").await;
    // As if only its entry was there.
    let id = SessionId::of(&key);
    redis.run::<()>(&format!("DEL session:{id}"));
    assert!(store.sessions_of("Ada").end(&id).await.unwrap());
    store.update(copy(&key), of("Ada"), &HOUR).await.unwrap();
    assert_eq!(redis.sessions(), [""; 0]);
}

#[actix_web::test]
async fn two_requests_that_change_hands_at_once_leave_the_session_where_its_state_says() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    let app = app_of(&store);
    for first in [
        "/set/user/Bob",
        "/remove/user",
        "/set/user/Ada",
        "/clear-and-set/user/Bob",
    ] {
        for second in [
            "/set/user/Eve",
            "/remove/user",
            "/set/user/Ada",
            "/clear-and-set/user/Eve",
        ] {
            let browser = log_in(&app, "Ada").await;
            let meanwhile = async { browser.get(second).await.text() };
            browser.get_slowly(first, meanwhile).await;
            let state = browser.get("/read").await.text();
            for user in ["Ada", "Bob", "Eve"] {
                let count = store.sessions_of(user).count().await.unwrap();
                let is_theirs = state.contains(&format!("user={user:?}"));
                assert_eq!(
                    count,
                    usize::from(is_theirs),
                    "{user}: {first} and {second}: {state}"
                );
            }
            browser.get("/purge").await.text();
        }
    }
}

#[actix_web::test]
async fn errors_of_a_login_by_hand_are_typed() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(|builder| with_users(builder).session_limit(1, AtLimit::Refuse));
    save(&store, "Ada").await;
    let refused = store.save(of("Ada"), &HOUR).await.unwrap_err();
    assert_matches!(refused.typed(), Error::SessionLimit { limit: 1 });
}

/// Redis carries the write out, and its reply does not come through.
async fn losing_the_first_write(redis: &TestRedis) -> Proxy {
    redis.learn(&script_called("write"));
    let mut is_lost = false;
    let proxy = Proxy::before(redis, move |command| {
        match command.is_write() && !mem::replace(&mut is_lost, true) {
            true => Fate::LoseReply,
            false => Fate::Forward,
        }
    });
    proxy.await
}

/// The first try has changed whose it says it is: that is no sign that somebody else has written.
#[actix_web::test]
async fn a_write_that_is_repeated_counts_once_even_if_it_enters_the_session_anew() {
    let redis = TestRedis::start().await;
    let options = |it: RedisSessionStoreBuilder| with_users(it).counter("n");
    let key = save(&redis.store_with(options), "Ada").await;
    // As if it had been entered for a minute only.
    let session = hash_of(&key);
    let fields: BTreeMap<Vec<u8>, Vec<u8>> = redis.run(&format!("HGETALL {session}"));
    let mark = str::from_utf8(&fields[&b"\xFFuser"[..]]).unwrap();
    let words: Vec<_> = mark.split(' ').collect();
    let aged = format!("{} {} 1", words[0], words[1]);
    redis.put_in_session(&session, &[(b"\xFFuser", aged.as_bytes())]);

    let proxy = losing_the_first_write(&redis).await;
    let store = proxy.store_with(options);
    let own = copy(&key);
    in_a_request(async move {
        let mut state = store.load(&own).await.unwrap().unwrap();
        state.insert("n".to_owned(), "1".to_owned());
        store.update(own, state, &HOUR).await.unwrap();
    })
    .await;
    assert_eq!(redis.state(&session).unwrap()["n"], "1");
    let fields: BTreeMap<Vec<u8>, Vec<u8>> = redis.run(&format!("HGETALL {session}"));
    assert_ne!(fields[&b"\xFFuser"[..]], aged.as_bytes());
}

/// What the first try has made of it is no sign that somebody else has written.
#[actix_web::test]
async fn a_session_whose_change_of_hands_is_repeated_is_in_one_index_only() {
    let redis = TestRedis::start().await;
    let plain = redis.store_with(with_users);
    for becomes in [Some("\"Bob\""), None] {
        let key = save(&plain, "Ada").await;
        let proxy = losing_the_first_write(&redis).await;
        let store = proxy.store_with(with_users);
        let own = copy(&key);
        in_a_request(async move {
            let mut state = store.load(&own).await.unwrap().unwrap();
            match becomes {
                Some(user) => state.insert("user".to_owned(), user.to_owned()),
                None => state.remove("user"),
            };
            store.update(own, state, &HOUR).await.unwrap();
        })
        .await;
        // In the first two minutes it would count as one that is about to begin.
        let indexes = index_keys(&redis).into_iter();
        let indexes: Vec<_> = indexes
            .filter(|it| it.starts_with("session:user:"))
            .collect();
        assert_eq!(indexes.len(), becomes.iter().count(), "{indexes:?}");
        plain.sessions_of("Bob").end_all().await.unwrap();
    }
}

#[actix_web::test]
async fn what_a_store_without_users_writes_stays_in_the_list() {
    let redis = TestRedis::start().await;
    let (store, without) = (redis.store_with(with_users), redis.store());
    let key = save(&store, "Ada").await;
    let own = copy(&key);
    in_a_request(async move {
        let mut state = without.load(&own).await.unwrap().unwrap();
        state.insert("n".to_owned(), "1".to_owned());
        without.update(own, state, &HOUR).await.unwrap();
    })
    .await;
    assert_eq!(redis.state(&hash_of(&key)).unwrap()["n"], "1");
    assert_eq!(store.sessions_of("Ada").count().await.unwrap(), 1);
}

#[actix_web::test]
async fn end_all_holds_for_a_session_from_before_there_were_users_when_it_is_written() {
    for path in ["/set/n/1", "/clear-and-set/user/Ada", "/renew"] {
        let redis = TestRedis::start().await;
        let setup = Setup::consistent();
        let before = crate::support::app::TestApp::with(redis.store(), &setup);
        let browser = log_in(&before, "Ada").await;
        let store = redis.store_with(with_users);
        let app = super::app_with(&store, &setup);
        let browser = browser.at(&app);
        store.sessions_of("Ada").end_all().await.unwrap();
        browser.get(path).await;
        assert_eq!(handles(&store, "Ada").await, [], "{path}");
        browser.get("/set/n/2").await;
        assert_eq!(handles(&store, "Ada").await, [], "{path}");
    }
}

/// A process that is killed between the two leaves an entry without a session, never a session without
/// an entry.
#[actix_web::test]
async fn an_entry_whose_session_is_about_to_begin_is_ended_like_one_that_has() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    let (let_go, held) = oneshot::channel::<()>();
    let held = Cell::new(Some(held));
    let proxy = Proxy::before(&redis, move |command| match command.is_create() {
        true => Fate::ForwardAfter(match held.take() {
            Some(held) => held.map(drop).boxed_local(),
            None => ready(()).boxed_local(),
        }),
        false => Fate::Forward,
    })
    .await;
    let login = proxy.store_with(with_users);
    let login = login.save(of("Ada"), &HOUR);
    let meanwhile = async {
        let index = "session:user:{";
        eventually("it is entered", || {
            redis.keys().iter().any(|key| key.starts_with(index))
        })
        .await;
        assert_eq!(handles(&store, "Ada").await, []);
        assert_eq!(store.sessions_of("Ada").end_all().await.unwrap(), 1);
        let_go.send(()).unwrap();
    };
    let (login, ()) = join(login, meanwhile).await;
    assert_matches!(login.unwrap_err().typed(), Error::Gone);
    assert_eq!(redis.sessions(), [""; 0]);
    assert_eq!(handles(&store, "Ada").await, []);
}

#[actix_web::test]
async fn a_completed_login_that_comes_to_nothing_says_so() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    // Ended between its entry in the index and its session.
    let (let_go, held) = oneshot::channel::<()>();
    let held = Cell::new(Some(held));
    let is_login = Rc::new(Cell::new(false));
    let holds = Rc::clone(&is_login);
    let proxy = Proxy::before(&redis, move |command| {
        match (holds.get() && command.is_create(), held.take()) {
            (true, Some(held)) => Fate::ForwardAfter(held.map(drop).boxed_local()),
            (_, not_yet) => {
                held.set(not_yet);
                Fate::Forward
            }
        }
    })
    .await;
    let app = super::app_with_devices(&proxy.store_with(with_users));
    let browser = app.browser();
    browser.get("/set/cart/1").await.text();
    is_login.set(true);
    let end_all = async {
        eventually("it is entered", || {
            let keys = redis.keys();
            keys.iter().any(|key| key.starts_with("session:user:"))
        })
        .await;
        store.sessions_of("Ada").end_all().await.unwrap();
        let_go.send(()).unwrap();
    };
    let login = browser.get("/devices/password-login/Ada");
    let (login, ()) = join(login, end_all).await;
    assert_eq!(login.status, 409, "{login:?}");
    assert_eq!(browser.get("/read").await.text(), "cart=\"1\"");
    // The session that it is made in ends meanwhile.
    for path in [
        "/devices/password-login/Ada",
        "/devices/password-login-in-place/Ada",
    ] {
        let browser = app.browser();
        browser.get("/set/cart/1").await.text();
        let logout = async { browser.get("/purge").await.text() };
        let (login, _) = browser.get_slowly(path, logout).await;
        assert_eq!(login.status, 409, "{path}: {login:?}");
        assert_eq!(browser.get("/read").await.text(), "empty");
    }
    assert_eq!(handles(&store, "Ada").await, []);
}

/// It may be the one that is to stay.
#[actix_web::test]
async fn a_request_whose_session_could_not_be_loaded_ends_no_others() {
    let redis = TestRedis::start().await;
    let away = Rc::new(Cell::new(false));
    let is_away = Rc::clone(&away);
    let proxy = Proxy::before(&redis, move |command| {
        match is_away.get() && command.name() == "HGETALL" {
            true => Fate::Reply(b"-TRYAGAIN not now\r\n".to_vec()),
            false => Fate::Forward,
        }
    })
    .await;
    let options = |it| with_users(it).anonymous_during_outage(true);
    let store = proxy.store_with(|it| options(it).deadline(Duration::from_millis(300)));
    let app = super::app_with_devices(&store);
    let browser = log_in(&app, "Ada").await;
    away.set(true);
    assert_eq!(browser.get("/devices/refuses").await.text(), "true true");
    away.set(false);
    assert_eq!(browser.get("/read").await.text(), "user=\"Ada\"");
}

#[actix_web::test]
async fn end_others_leaves_what_the_session_has_been_renewed_to_by_another_tab() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    let app = super::app_with_devices(&store);
    let [phone, laptop] = [log_in(&app, "Ada").await, log_in(&app, "Ada").await];
    let renewals = async {
        app.arrival_at_the_desk().await;
        for _ in 0..2 {
            phone.get("/renew").await.text();
        }
        app.let_go();
    };
    let ends_others = phone.get("/devices/end-others-at-last");
    let (ended, ()) = join(ends_others, renewals).await;
    assert_eq!(ended.text(), "1");
    assert_eq!(phone.get("/read").await.text(), "user=\"Ada\"");
    assert_eq!(laptop.get("/read").await.text(), "empty");
    assert_eq!(handles(&store, "Ada").await.len(), 1);
}

#[actix_web::test]
async fn a_login_is_completed_as_that_of_the_user_who_has_begun_it_and_of_nobody_else() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    let app = super::app_with_devices(&store);
    for path in [
        "/devices/mixed-up-login/Ada/Bob",
        "/devices/mixed-up-login/Ada/nobody",
    ] {
        let browser = app.browser();
        browser.get("/set/cart/1").await.text();
        let login = browser.get(path).await;
        assert_eq!(login.status, 409, "{path}: {login:?}");
        assert!(!login.touches_session_cookie(), "{path}");
        assert_eq!(browser.get("/read").await.text(), "cart=\"1\"", "{path}");
        let newcomer = app.browser();
        assert_eq!(newcomer.get(path).await.status, 409, "{path}");
        assert!(!newcomer.has_cookie(), "{path}");
    }
    for user in ["Ada", "Bob"] {
        assert_eq!(handles(&store, user).await, []);
    }
}

#[actix_web::test]
async fn a_login_that_can_never_be_completed_is_told_to_operators_once_and_any_other_is_not() {
    const VOID: &str = "a login is void";
    let redis = TestRedis::start().await;
    for (path, reason) in [
        ("/devices/mixed-up-login/Ada/nobody", "no such field"),
        (
            "/devices/mixed-up-login/Ada/Bob",
            "begin_login was called for",
        ),
    ] {
        let (log, store) = (Log::of_operators(), redis.store_with(with_users));
        let app = super::app_with_devices(&store);
        // It was right, and was overtaken.
        let login = "/devices/password-login/Ada";
        let (overtaken, _) = app.browser().get_slowly(login, end_all(&store)).await;
        assert_eq!(overtaken.status, 409, "{overtaken:?}");
        assert_eq!(log.lines(), [""; 0]);
        for _ in 0..3 {
            assert_eq!(app.browser().get(path).await.status, 409, "{path}");
        }
        let told = log.only(VOID);
        assert!(told.contains(" WARN ") && told.contains(reason), "{told}");
        assert!(told.contains("user_field=\"user\""), "{told}");
        assert!(!told.contains("Ada") && !told.contains("Bob"), "{told}");
    }
}

/// For so long it is remembered that all sessions were ended.
#[actix_web::test]
async fn a_login_that_was_begun_an_hour_ago_is_void() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    for (minutes, status) in [(59, 200), (61, 409)] {
        let own = store.clone();
        let (_, answered) = in_an_answered_request(async move {
            let login = own.sessions_of("Ada").begin_login().await.unwrap();
            travel(Duration::from_secs(60 * minutes)).await;
            let request = TestRequest::default().to_http_request();
            let current = CurrentSession::extract(&request).await.unwrap();
            current.complete_login(login);
            own.save(of("Ada"), &HOUR).await.unwrap();
        })
        .await;
        assert_eq!(answered, status, "{minutes} minutes");
        assert_eq!(redis.sessions().len(), 1, "{minutes} minutes");
    }
}
