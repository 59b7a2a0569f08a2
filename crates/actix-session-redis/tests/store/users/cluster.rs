use actix_session::storage::SessionStore as _;
use futures_util::future::join_all;

use super::{handles, save, with_users};
use crate::{
    cluster::{options, start},
    support::sessions::hash_of,
};

#[actix_web::test]
async fn a_users_sessions_are_listed_and_ended_on_whichever_servers_they_are() {
    let redis = start();
    let store = with_users(options(&redis)).build();
    let keys = join_all((0..20).map(|_| save(&store, "Ada"))).await;
    let master = |key| redis.node_of_key(&hash_of(key));
    assert!(keys.iter().any(|key| master(key) != master(&keys[0])));
    let users = store.sessions_of("Ada");
    let listed = handles(&store, "Ada").await;
    assert_eq!(listed.len(), 20);
    assert!(users.end(&listed[0]).await.unwrap());
    assert_eq!(users.end_all().await.unwrap(), 19);
    for key in &keys {
        assert_eq!(store.load(key).await.unwrap(), None);
    }
    assert_eq!(users.count().await.unwrap(), 0);
}
