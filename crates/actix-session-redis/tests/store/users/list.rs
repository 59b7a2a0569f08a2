use std::time::{Duration, SystemTime};

use actix_session::storage::SessionStore as _;
use actix_session_redis::{Error, SessionId};
use serde::Serialize;

use super::{app_of, handles, index_keys, log_in, of, save, with_users};
use crate::support::{
    redis::{TestRedis, commands},
    sessions::{HOUR, State, copy, hash_of, state},
};

#[actix_web::test]
async fn a_users_sessions_are_those_that_name_the_user_whatever_wrote_them() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    let app = app_of(&store);
    let [phone, laptop] = [log_in(&app, "Ada").await, log_in(&app, "Ada").await];
    let by_hand = save(&store, "Ada").await;
    let other = log_in(&app, "Bob").await;
    app.browser().get("/count").await.text();
    assert_eq!(store.sessions_of("Ada").count().await.unwrap(), 3);
    assert_eq!(handles(&store, "Ada").await[2], SessionId::of(&by_hand));
    // Renewed, it is the same one.
    phone.get("/renew").await.text();
    assert_eq!(store.sessions_of("Ada").count().await.unwrap(), 3);
    // It changes hands, in a session that stays and in one that is renewed; it loses its user.
    laptop.get("/set/user/Bob").await.text();
    other.get("/login/Ada").await.text();
    assert_eq!(store.sessions_of("Ada").count().await.unwrap(), 3);
    assert_eq!(store.sessions_of("Bob").count().await.unwrap(), 1);
    laptop.get("/remove/user").await.text();
    phone.get("/purge").await.text();
    store
        .update(copy(&by_hand), of("Bob"), &HOUR)
        .await
        .unwrap();
    assert_eq!(store.sessions_of("Ada").count().await.unwrap(), 1);
    assert_eq!(handles(&store, "Bob").await, [SessionId::of(&by_hand)]);
    store.update(by_hand, State::new(), &HOUR).await.unwrap();
    other.get("/clear-and-set/user/Eve").await.text();
    assert_eq!(handles(&store, "Bob").await, []);
    assert_eq!(handles(&store, "Ada").await, []);
    assert_eq!(store.sessions_of("Eve").count().await.unwrap(), 1);
    // Nothing is left of those who have no session.
    assert_eq!(index_keys(&redis).len(), 2);
}

#[actix_web::test]
async fn a_user_is_named_by_any_json_as_the_application_inserts_it() {
    #[derive(Serialize)]
    struct User {
        id: u64,
        tenant: &'static str,
    }

    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    let long = "한".repeat(20_000);
    let user = User {
        id: 7,
        tenant: "a{b}*",
    };
    for json in [
        "7".to_owned(),
        "\"7\"".to_owned(),
        format!("{long:?}"),
        serde_json::to_string(&user).unwrap(),
        u128::MAX.to_string(),
    ] {
        store.save(state("user", &json), &HOUR).await.unwrap();
    }
    store.save(state("user", "null"), &HOUR).await.unwrap();
    for count in [
        store.sessions_of(7).count().await,
        store.sessions_of("7").count().await,
        store.sessions_of(&long).count().await,
        store.sessions_of(&user).count().await,
        store.sessions_of(u128::MAX).count().await,
    ] {
        assert_eq!(count.unwrap(), 1);
    }
    assert_eq!(store.sessions_of(u128::MAX - 1).count().await.unwrap(), 0);
    assert_matches!(
        store.sessions_of(None::<u8>).count().await,
        Err(Error::InvalidOption { .. })
    );
    assert_matches!(
        redis.store().sessions_of("Ada").end_all().await,
        Err(Error::InvalidOption { .. })
    );
}

#[actix_web::test]
async fn the_list_says_when_each_began_was_seen_and_ends_and_what_it_is_called() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(|builder| with_users(builder).label_field("device"));
    let app = app_of(&store);
    let browser = log_in(&app, "Ada").await;
    browser.get("/set/device/phone").await.text();
    let session = redis.only_session();
    // As if it had been used half an hour ago for the last time.
    redis.run::<()>(&format!("PEXPIRE {session} 1800000"));
    let listed = store.sessions_of("Ada").list().await.unwrap();
    let [listed] = &listed[..] else {
        panic!("one session in {listed:?}");
    };
    let about = |time: SystemTime, ago: u64| {
        let ago = Duration::from_secs(ago);
        (SystemTime::now() - ago)
            .duration_since(time)
            .is_ok_and(|it| it < Duration::from_secs(30))
            || time
                .duration_since(SystemTime::now() - ago)
                .is_ok_and(|it| it < Duration::from_secs(30))
    };
    assert_eq!(session, format!("session:{}", listed.handle()));
    assert_eq!(listed.label(), Some("phone"));
    assert!(about(listed.began(), 0), "{listed:?}");
    assert!(
        about(listed.ends() - Duration::from_secs(1800), 0),
        "{listed:?}"
    );
    // It cannot have been seen before it began.
    assert_eq!(listed.last_seen(), listed.began());
    let begun_long_ago = (SystemTime::now() - Duration::from_secs(86_400))
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    redis.put_in_session(
        &session,
        &[(
            b"\xFFborn",
            begun_long_ago.as_millis().to_string().as_bytes(),
        )],
    );
    let listed = store.sessions_of("Ada").list().await.unwrap();
    assert!(about(listed[0].began(), 86_400), "{listed:?}");
    assert!(about(listed[0].last_seen(), 1800), "{listed:?}");
    browser.get("/remove/device").await.text();
    let listed = store.sessions_of("Ada").list().await.unwrap();
    assert_eq!(listed[0].label(), None);
    assert!(about(listed[0].last_seen(), 0), "{listed:?}");
    // A renewal that is no login goes on with the time of the old session.
    browser.get("/renew").await.text();
    let listed = store.sessions_of("Ada").list().await.unwrap();
    assert!(about(listed[0].began(), 86_400), "{listed:?}");
}

#[actix_web::test]
async fn a_handle_ends_a_session_of_its_user_and_of_nobody_else() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    let app = app_of(&store);
    let [ada, bob] = [log_in(&app, "Ada").await, log_in(&app, "Bob").await];
    let [of_ada] = &handles(&store, "Ada").await[..] else {
        panic!("one session");
    };
    assert!(!store.sessions_of("Bob").end(of_ada).await.unwrap());
    assert!(!store.sessions_of("Nobody").end(of_ada).await.unwrap());
    let nobodys = save(&store, "Eve").await;
    store.delete(&nobodys).await.unwrap();
    assert!(
        !store
            .sessions_of("Eve")
            .end(&SessionId::of(&nobodys))
            .await
            .unwrap()
    );
    assert_eq!(ada.get("/read").await.text(), "user=\"Ada\"");
    assert!(store.sessions_of("Ada").end(of_ada).await.unwrap());
    assert!(!store.sessions_of("Ada").end(of_ada).await.unwrap());
    assert_eq!(ada.get("/read").await.text(), "empty");
    assert_eq!(bob.get("/read").await.text(), "user=\"Bob\"");
}

#[actix_web::test]
async fn what_changes_no_user_costs_what_it_costs_without_users() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    let app = app_of(&store);
    let browser = log_in(&app, "Ada").await;
    let (_, reading) = redis.commands_during(browser.get("/read")).await;
    assert_eq!(reading, commands([("hgetall", 1)]));
    let (_, writing) = redis.commands_during(browser.get("/set/n/1")).await;
    let transaction = [
        ("multi", 1),
        ("exec", 1),
        ("hset", 1),
        ("pexpire", 1),
        ("hexists", 1),
    ];
    let mut expected = commands(transaction);
    expected.extend(commands([("hgetall", 1)]));
    assert_eq!(writing, expected);
}

#[actix_web::test]
async fn an_entry_goes_with_its_session_and_no_key_stays_for_ever() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    let keys = [save(&store, "Ada").await, save(&store, "Ada").await];
    let [until, entered] = &index_keys(&redis)[..] else {
        panic!("two keys in {:?}", redis.keys());
    };
    for key in [entered, until] {
        // Longer than any session of theirs lives, and for not much longer than twice that.
        assert!((2 * 3_600_000..=2 * 3_600_000 + 120_000).contains(&redis.pttl(key)));
    }
    let third = save(&store, "Ada").await;
    store.delete(&third).await.unwrap();
    redis.expire_now(&hash_of(&keys[0]));
    assert_eq!(store.sessions_of("Ada").count().await.unwrap(), 1);
    // What has ended is known to be gone. What has not: it may be one that is about to begin: until two minutes after it was entered.
    assert_eq!(redis.run::<u64>(&format!("ZCARD {entered}")), 2);
    let id = SessionId::of(&keys[0]);
    redis.run::<()>(&format!("ZADD {entered} XX 1000 {id}"));
    assert_eq!(store.sessions_of("Ada").count().await.unwrap(), 1);
    assert_eq!(redis.run::<u64>(&format!("ZCARD {entered}")), 1);
    assert_eq!(redis.run::<u64>(&format!("ZCARD {until}")), 1);
    // Whoever logs in removes those whose time is up.
    redis.run::<()>(&format!("ZADD {until} XX 1000 {}", SessionId::of(&keys[1])));
    save(&store, "Ada").await;
    assert_eq!(redis.run::<u64>(&format!("ZCARD {entered}")), 1);
    assert_eq!(redis.run::<u64>(&format!("ZCARD {until}")), 1);
}

#[actix_web::test]
async fn a_session_that_is_used_for_long_stays_in_the_index() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    let app = app_of(&store);
    let browser = log_in(&app, "Ada").await;
    let [until, entered] = &index_keys(&redis)[..] else {
        panic!("two keys in {:?}", redis.keys());
    };
    let session = redis.only_session();
    let mark: String = redis
        .run::<Vec<Vec<u8>>>(&format!("HVALS {session}"))
        .into_iter()
        .filter_map(|value| String::from_utf8(value).ok())
        .find(|value| value.split(' ').count() == 3)
        .unwrap();
    // As if more than an hour of its time in the index was over.
    let words: Vec<_> = mark.split(' ').collect();
    let soon = words[2].parse::<i64>().unwrap() - 62;
    let aged = format!("{} {} {soon}", words[0], words[1]);
    redis.put_in_session(&session, &[(b"\xFFuser", aged.as_bytes())]);
    for key in [entered, until] {
        redis.run::<()>(&format!("PEXPIRE {key} 3700000"));
    }
    browser.get("/set/n/1").await.text();
    for key in [entered, until] {
        assert!(redis.pttl(key) > 2 * 3_600_000);
    }
    // That took a round trip more, once.
    let (_, writing) = redis.commands_during(browser.get("/set/n/2")).await;
    assert!(!writing.contains_key("evalsha"), "{writing:?}");
    assert_eq!(store.sessions_of("Ada").count().await.unwrap(), 1);
}

#[actix_web::test]
async fn a_session_from_before_there_were_users_is_listed_from_its_first_write_on() {
    let redis = TestRedis::start().await;
    let before = redis.store();
    let key = save(&before, "Ada").await;
    let store = redis.store_with(with_users);
    assert_eq!(handles(&store, "Ada").await, []);
    store.update_ttl(&key, &HOUR).await.unwrap();
    assert_eq!(handles(&store, "Ada").await, [SessionId::of(&key)]);
}

#[actix_web::test]
async fn a_handle_from_before_a_renewal_ends_what_has_become_of_the_session() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    let app = app_of(&store);
    let browser = log_in(&app, "Ada").await;
    let old = handles(&store, "Ada").await.remove(0);
    browser.get("/renew").await.text();
    assert!(!store.sessions_of("Bob").end(&old).await.unwrap());
    assert!(store.sessions_of("Ada").end(&old).await.unwrap());
    assert_eq!(browser.get("/read").await.text(), "empty");
    // But not if that is somebody else's.
    let browser = log_in(&app, "Ada").await;
    let old = handles(&store, "Ada").await.remove(0);
    browser.get("/login/Bob").await.text();
    assert!(!store.sessions_of("Ada").end(&old).await.unwrap());
    assert_eq!(browser.get("/read").await.text(), "user=\"Bob\"");
}
