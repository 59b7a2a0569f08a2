use actix_session::storage::SessionStore as _;
use testbed::Sentinels;

use super::{handles, save, with_users};
use crate::{sentinel::pool, support::sealing};

#[actix_web::test]
async fn after_a_failover_a_users_sessions_are_listed_and_ended_as_before() {
    let redis = Sentinels::start();
    let store = with_users(sealing::options(pool(&redis))).build();
    let users = store.sessions_of("Ada");
    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(save(&store, "Ada").await);
    }
    let listed = handles(&store, "Ada").await;
    assert_eq!(listed.len(), 5);
    assert!(users.end(&listed[0]).await.unwrap());
    let old = redis.master();
    // What was written before this, on whatever connection, is on the replicas when this is.
    old.run::<()>("SET marker 1");
    assert_eq!(old.run::<i64>("WAIT 2 10000"), 2);
    old.kill();
    redis.wait_for_failover_from(old);
    assert_eq!(handles(&store, "Ada").await, listed[1..]);
    assert_eq!(users.end_all().await.unwrap(), 4);
    for key in &keys {
        assert_eq!(store.load(key).await.unwrap(), None);
    }
    save(&store, "Ada").await;
    assert_eq!(users.count().await.unwrap(), 1);
}
