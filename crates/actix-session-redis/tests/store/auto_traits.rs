//! What compiles here is the proof; it runs as well.

use actix_session::storage::SessionStore;
#[cfg(feature = "seal")]
use actix_session_redis::KeyRing;
use actix_session_redis::{
    AtLimit, ConsistentSessions, CurrentKey, CurrentSession, Error, Fault, InvalidSessionId, Login,
    PreviousCookieKey, RedisPool, RedisSessionStore, RedisSessionStoreBuilder, SessionId,
    UserSession, UserSessions,
};

use crate::support::{
    redis::TestRedis,
    sessions::{HOUR, State, copy, state},
};

fn is_send<T: Send>(value: T) -> T {
    value
}

/// As in `tokio::spawn`, or in a function of `async_trait`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_futures_of_all_operations_may_move_between_threads() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(|options| options.counter("n").user_field("user"));
    let operations = async move {
        let key = is_send(store.save(state("n", "1"), &HOUR)).await.unwrap();
        is_send(store.load(&key)).await.unwrap();
        let n2 = state("n", "2");
        is_send(store.update(copy(&key), n2, &HOUR)).await.unwrap();
        is_send(store.update_ttl(&key, &HOUR)).await.unwrap();
        let n = |state: &mut State| state.get("n").cloned();
        let modified = is_send(store.modify(&key, n)).await.unwrap();
        assert_eq!(modified.as_deref(), Some("2"));
        is_send(store.ping()).await.unwrap();
        is_send(store.check()).await.unwrap();
        let users = store.sessions_of("Ada");
        is_send(users.begin_login()).await.unwrap();
        is_send(users.list()).await.unwrap();
        is_send(users.count()).await.unwrap();
        is_send(users.end(&SessionId::of(&key))).await.unwrap();
        is_send(users.end_all()).await.unwrap();
        is_send(store.delete(&key)).await.unwrap();
        store.load(&key).await.unwrap()
    };
    assert_eq!(tokio::spawn(operations).await.unwrap(), None);
}

#[test]
fn public_types_go_wherever_an_application_keeps_them() {
    fn shared<T: Clone + Send + Sync + Unpin + 'static>() {}
    fn sent<T: Send + Sync + Unpin + 'static>() {}
    shared::<RedisSessionStore>();
    shared::<RedisPool>();
    shared::<Error>();
    shared::<Fault>();
    shared::<SessionId>();
    shared::<ConsistentSessions<()>>();
    sent::<RedisSessionStoreBuilder>();
    sent::<CurrentSession>();
    sent::<CurrentKey>();
    shared::<InvalidSessionId>();
    shared::<AtLimit>();
    shared::<Login>();
    sent::<UserSessions<'static>>();
    sent::<UserSession>();
    sent::<PreviousCookieKey>();
    #[cfg(feature = "seal")]
    sent::<KeyRing>();
}
