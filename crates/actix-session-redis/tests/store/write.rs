/// When somebody else has written meanwhile.
mod conflict;
/// A write whose reply was lost is carried out once.
mod idempotency;
/// Whether or not the server knows the script.
mod server;

use actix_session::storage::{SessionKey, SessionStore, UpdateError};
use actix_session_redis::{RedisSessionStore, RedisSessionStoreBuilder};
use futures_util::FutureExt;

use crate::support::{
    scope::in_a_request,
    sessions::{HOUR, State, copy},
};

fn counting_n(options: RedisSessionStoreBuilder) -> RedisSessionStoreBuilder {
    options.counter("n")
}

/// A request that changes the session in this way.
async fn change(
    store: &RedisSessionStore,
    key: &SessionKey,
    change: impl AsyncFnOnce(&mut State) + 'static,
) -> Result<SessionKey, UpdateError> {
    let (store, key) = (store.clone(), copy(key));
    let work = async move {
        let mut state = store.load(&key).await.unwrap().unwrap();
        change(&mut state).await;
        store.update(key, state, &HOUR).await
    };
    // Boxed, because requests that wait for others would fill the stack.
    in_a_request(work.boxed_local()).await
}

/// A request that counts up, and before it is through lets something else happen.
async fn count_up_after(
    store: &RedisSessionStore,
    key: &SessionKey,
    meanwhile: impl Future<Output = ()> + 'static,
) {
    let counted = change(store, key, async |state| {
        let n: i32 = state["n"].parse().unwrap();
        state.insert("n".to_owned(), (n + 1).to_string());
        meanwhile.await;
    });
    assert_eq!(counted.await.unwrap(), *key);
}

async fn count_up(store: &RedisSessionStore, key: &SessionKey) {
    count_up_after(store, key, async {}).await;
}

async fn count_up_twice_at_once(store: &RedisSessionStore, key: &SessionKey) {
    let (other, same) = (store.clone(), copy(key));
    count_up_after(store, key, async move { count_up(&other, &same).await }).await;
}

async fn assert_n(store: &RedisSessionStore, key: &SessionKey, n: &str) {
    let state = store.load(key).await.unwrap().unwrap();
    assert_eq!(state["n"], n);
}
