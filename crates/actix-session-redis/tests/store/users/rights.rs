use std::collections::BTreeSet;

use actix_session_redis::{AtLimit, RedisPool, RedisSessionStore};

use super::{app_with_devices, handles, log_in, with_users};
use crate::{refusals::COMMANDS, support::redis::TestRedis};

/// What a store that knows of users needs beside what all need, as the manual has it.
const MORE: &str = "+zadd +zrem +zrange +zrevrange +zrangebyscore +zscore +zcard +time";

#[actix_web::test]
async fn the_rights_that_the_manual_names_for_users_are_enough_and_none_is_superfluous() {
    let redis = TestRedis::start().await;
    redis.run::<()>(&format!(
        "ACL SETUSER shop on >secret ~session:* {COMMANDS} {MORE}"
    ));
    let pool = RedisPool::from_url(redis.url_as("shop:secret@")).unwrap();
    let store = with_users(RedisSessionStore::builder(pool));
    let store = store.session_limit(2, AtLimit::EndOldest).build();
    let app = app_with_devices(&store);
    let everything = async {
        for _ in 0..3 {
            let browser = log_in(&app, "Ada").await;
            for path in ["/renew", "/set/n/1", "/clear-and-set/user/Ada"] {
                browser.get(path).await.text();
            }
            browser.get("/devices/end-others").await.text();
            log_in(&app, "Ada").await;
        }
        let handle = &handles(&store, "Ada").await[0];
        store.sessions_of("Ada").end(handle).await.unwrap();
        store.sessions_of("Ada").end_all().await.unwrap();
    };
    let (_, asked) = redis.commands_during(everything).await;
    let named: BTreeSet<_> = MORE.split(' ').map(|name| &name[1..]).collect();
    let all: BTreeSet<_> = asked.keys().map(String::as_str).collect();
    assert_eq!(all.intersection(&named).count(), named.len(), "{all:?}");
}
