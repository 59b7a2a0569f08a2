use super::{app_with_devices, handles, log_in, with_users};
use crate::support::{app::TestApp, browser::Browser, redis::TestRedis};

/// How many scripts and transactions Redis is sent meanwhile: each is a round trip.
async fn writes(redis: &TestRedis, work: impl Future) -> u64 {
    let (_, asked) = redis.commands_during(work).await;
    let count = |name| asked.get(name).copied().unwrap_or_default();
    count("evalsha") + count("exec")
}

/// Somebody logs in, and is nobody any more, twice: Redis knows the scripts then.
async fn warmed_up(app: &TestApp) -> Browser<'_> {
    let browser = log_in(app, "Eve").await;
    for path in ["/renew", "/set/user/Bob", "/remove/user", "/purge"] {
        browser.get(path).await.text();
    }
    browser
}

#[actix_web::test]
async fn what_changes_whose_a_session_is_costs_one_round_trip_or_two() {
    let redis = TestRedis::start().await;
    let (without, with) = (redis.store(), redis.store_with(with_users));
    let (without, with) = (app_with_devices(&without), app_with_devices(&with));
    let (without, with) = (warmed_up(&without).await, warmed_up(&with).await);
    for (path, more) in [
        ("/login/Ada", 1),
        ("/set/n/1", 0),
        ("/renew", 2),
        ("/set/user/Bob", 2),
        ("/remove/user", 1),
        ("/set/user/Ada", 1),
        ("/login/Bob", 2),
        ("/purge", 1),
    ] {
        let it_takes = writes(&redis, without.get(path)).await;
        let with_users = writes(&redis, with.get(path)).await;
        assert_eq!(with_users, it_takes + more, "{path}");
    }
}

#[actix_web::test]
async fn to_list_is_a_round_trip_and_to_end_are_three_but_for_the_sessions_themselves() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(with_users);
    let app = app_with_devices(&store);
    for _ in 0..4 {
        log_in(&app, "Ada").await;
    }
    let users = || store.sessions_of("Ada");
    let handle = &handles(&store, "Ada").await[0];
    // So that Redis knows the scripts.
    store.sessions_of("Bob").end_all().await.unwrap();
    users().end(handle).await.unwrap();
    let handle = &handles(&store, "Ada").await[0];
    assert_eq!(writes(&redis, users().begin_login()).await, 1);
    let (_, asked) = redis.commands_during(users().list()).await;
    assert_eq!(
        ["evalsha", "hmget", "pttl"].map(|name| asked[name]),
        [1, 3, 3]
    );
    assert_eq!(writes(&redis, users().end(handle)).await, 3);
    // The two that are left end side by side.
    assert_eq!(writes(&redis, users().end_all()).await, 2 + 2);
}
