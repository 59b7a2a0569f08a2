use std::time::Duration;

use actix_session::storage::SessionStore as _;
use actix_session_redis::{
    AtLimit, Error, RedisSessionStoreBuilder, SessionId, deadpool_redis::redis,
};
use futures_util::future::join_all;

use super::{app_of, app_with_devices, handles, log_in, of, save, with_users};
use crate::support::{
    log::Log,
    proxy::{Fate, Proxy},
    redis::TestRedis,
    sealing,
    sessions::{HOUR, Typed as _, hash_of, long_key},
};

fn limited(
    sessions: usize,
    at_limit: AtLimit,
) -> impl FnOnce(RedisSessionStoreBuilder) -> RedisSessionStoreBuilder {
    let deadline = Duration::from_secs(20);
    move |builder| {
        with_users(builder)
            .session_limit(sessions, at_limit)
            .deadline(deadline)
    }
}

#[actix_web::test]
async fn a_hundred_logins_at_once_leave_exactly_so_many_sessions() {
    for (at_limit, most) in [
        (AtLimit::EndOldest, 1),
        (AtLimit::EndOldest, 3),
        (AtLimit::Refuse, 3),
    ] {
        let redis = TestRedis::start().await;
        let stores: [_; 4] = std::array::from_fn(|_| redis.store_with(limited(most, at_limit)));
        save(&stores[0], "Ada").await;
        let logins = (0..25)
            .flat_map(|_| &stores)
            .map(|store| store.save(of("Ada"), &HOUR));
        let mut stored = 0;
        for login in join_all(logins).await {
            match login.map_err(|error| error.typed()) {
                Ok(_) => stored += 1,
                Err(Error::SessionLimit { .. } | Error::Gone) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        assert!(stored >= most - 1);
        assert_eq!(stores[0].sessions_of("Ada").count().await.unwrap(), most);
        assert_eq!(redis.sessions().len(), most, "{at_limit:?}");
    }
}

#[actix_web::test]
async fn the_oldest_login_makes_room_and_gone_sessions_do_not_count() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(limited(2, AtLimit::EndOldest));
    let keys = [save(&store, "Ada").await, save(&store, "Ada").await];
    save(&store, "Bob").await;
    let third = save(&store, "Ada").await;
    assert_eq!(store.load(&keys[0]).await.unwrap(), None);
    assert_eq!(store.load(&keys[1]).await.unwrap(), Some(of("Ada")));
    store.delete(&third).await.unwrap();
    save(&store, "Ada").await;
    assert_eq!(store.load(&keys[1]).await.unwrap(), Some(of("Ada")));
    assert_eq!(store.sessions_of("Bob").count().await.unwrap(), 1);
}

#[actix_web::test]
async fn whoever_has_too_many_is_refused_and_told_and_loses_nothing() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(limited(1, AtLimit::Refuse));
    let app = app_with_devices(&store);
    let first = log_in(&app, "Ada").await;
    let second = app.browser();
    second.get("/set/cart/1").await.text();
    let log = Log::of_operators();
    assert_matches!(
        store.sessions_of("Ada").begin_login().await,
        Err(Error::SessionLimit { limit: 1 })
    );
    // Whoever logs in is told, and nobody else has to do anything.
    assert_eq!(log.lines(), Vec::<String>::new());
    for path in [
        "/login/Ada",
        "/set/user/Ada",
        "/clear-and-set/user/Ada",
        "/devices/password-login/Ada",
    ] {
        let refused = second.get(path).await;
        assert_eq!(refused.status, 409, "{path}");
        assert!(refused.body.contains("1 sessions"), "{refused:?}");
        assert!(!refused.touches_session_cookie(), "{path}");
        assert_eq!(second.get("/read").await.text(), "cart=\"1\"", "{path}");
    }
    // Renewals and writes of the one that there is are no logins.
    first.get("/renew").await.text();
    first.get("/set/n/1").await.text();
    first.get("/login/Ada").await.text();
    // Nor is it one more when she gives her password again.
    for path in [
        "/devices/password-login/Ada",
        "/devices/password-login-in-place/Ada",
    ] {
        assert_eq!(first.get(path).await.text(), "welcome");
    }
    first.get("/purge").await.text();
    store.sessions_of("Ada").begin_login().await.unwrap();
    second.get("/login/Ada").await.text();
    assert_eq!(store.sessions_of("Ada").count().await.unwrap(), 1);
}

#[actix_web::test]
async fn an_expired_session_makes_room_for_another() {
    for at_limit in [AtLimit::Refuse, AtLimit::EndOldest] {
        let redis = TestRedis::start().await;
        let store = redis.store_with(limited(2, at_limit));
        let keys = [save(&store, "Ada").await, save(&store, "Ada").await];
        let id = SessionId::of(&keys[1]);
        redis.expire_now(&hash_of(&keys[1]));
        // As if its login had been five minutes ago.
        let entered = super::index_keys(&redis)
            .pop()
            .filter(|it| it.contains("user:"));
        let entered = entered.unwrap_or_else(|| super::index_keys(&redis)[1].clone());
        redis.run::<()>(&format!("ZADD {entered} XX 1000 {id}"));
        save(&store, "Ada").await;
        assert_eq!(store.load(&keys[0]).await.unwrap(), Some(of("Ada")));
        assert_eq!(handles(&store, "Ada").await.len(), 2);
    }
}

#[actix_web::test]
async fn without_a_limit_nobody_is_refused() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    let app = app_of(&store);
    for _ in 0..20 {
        log_in(&app, "Ada").await;
    }
    assert_eq!(store.sessions_of("Ada").count().await.unwrap(), 20);
}

/// A renewal of the user's may come in between, which is entered beside the session that it is to replace.
#[actix_web::test]
async fn a_login_that_is_repeated_after_a_lost_reply_ends_nobodys_session_where_more_are_refused() {
    let redis = TestRedis::start().await;
    let oldest = save(&redis.store_with(limited(2, AtLimit::Refuse)), "Ada").await;
    let index = format!("session:user:{{{}}}", sealing::user_id("\"Ada\""));
    let score: f64 = redis.run(&format!("ZSCORE {index} {}", SessionId::of(&oldest)));
    let (url, mut tries) = (redis.url(), 0);
    let proxy = Proxy::before(&redis, move |command| {
        tries += usize::from(command.is_enter());
        match command.is_enter() {
            true if tries == 1 => Fate::LoseReply,
            true if tries == 2 => {
                let client = redis::Client::open(&*url).unwrap();
                let other = SessionId::of(&long_key("other"));
                let mut zadd = redis::cmd("ZADD");
                zadd.arg(&index).arg(score + 1.0).arg(other.as_ref());
                zadd.exec(&mut client.get_connection().unwrap()).unwrap();
                Fate::Forward
            }
            _ => Fate::Forward,
        }
    })
    .await;
    let store = proxy.store_with(limited(2, AtLimit::Refuse));
    save(&store, "Ada").await;
    assert_eq!(store.load(&oldest).await.unwrap(), Some(of("Ada")));
}
