use std::{sync::Arc, time::Duration};

use actix_session::storage::SessionStore;
use actix_session_redis::RedisSessionStore;
use actix_web::rt::spawn;
use futures_util::future::join_all;
use tokio::sync::Barrier;

use crate::support::{
    eventually, is_back,
    log::Log,
    on_a_worker,
    proxy::Proxy,
    redis::{TestRedis, pool_of},
    sealing,
    sessions::{HOUR, state},
    tally::Tally,
};

/// So many other threads have a connection of their own each, and idle until the future that is
/// returned wakes them up: then each sends a request, which must not fail.
async fn idle_threads(
    count: usize,
    store: &RedisSessionStore,
    proxy: &Proxy,
) -> impl Future<Output = ()> {
    store.ping().await.unwrap();
    let meeting = Arc::new(Barrier::new(count + 1));
    let threads = (0..count).map(|_| {
        let (store, meeting) = (store.clone(), Arc::clone(&meeting));
        spawn(on_a_worker(async move || {
            // It shares the connection that there is, while its own is made.
            store.ping().await.unwrap();
            meeting.wait().await;
            meeting.wait().await;
            store.ping().await.unwrap();
        }))
    });
    let threads = join_all(threads);
    meeting.wait().await;
    // With that, a connection is ready for use.
    let ready = || proxy.seen("SELECT").len() == count + 1;
    eventually("each has its own", ready).await;
    async move {
        meeting.wait().await;
        threads.await.into_iter().for_each(Result::unwrap);
    }
}

/// With room for many threads, however few cores there are, and time to connect, however busy.
fn spacious_store(proxy: &Proxy) -> RedisSessionStore {
    let pool = pool_of(8, &proxy.url_as(""));
    let options = sealing::options(pool).deadline(Duration::from_secs(4));
    options.build()
}

#[actix_web::test]
async fn no_request_fails_when_the_connections_of_all_threads_fall_silent_together() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let proxy = Proxy::watching(&redis).await;
    let store = spacious_store(&proxy);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    let others = idle_threads(3, &store, &proxy).await;
    proxy.swallow_what_is_open();

    let loaded = tally.send(store.load(&key)).await.unwrap();
    tally.check(loaded, Some(state("n", "1")));
    // The second time on a connection of its own, and not on that of an idle thread.
    assert_eq!(proxy.seen("HGETALL").len(), 2);
    others.await;
}

#[actix_web::test]
async fn requests_go_on_as_soon_as_new_connections_get_through() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let proxy = Proxy::watching(&redis).await;
    let store = proxy.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    let others = idle_threads(1, &store, &proxy).await;
    proxy.swallow_all();
    tally.send(store.ping()).await.unwrap_err();
    let made = proxy.connections();
    let looked_for = || proxy.connections() >= made + 2;
    eventually("it is looked for in vain", looked_for).await;

    proxy.swallow_what_is_open();
    is_back(&store).await;
    let loaded = tally.send(store.load(&key)).await.unwrap();
    tally.check(loaded, Some(state("n", "1")));
    others.await;
}

#[actix_web::test]
async fn a_trial_call_is_made_on_a_new_connection_and_not_on_that_of_an_idle_thread() {
    let redis = TestRedis::start().await;
    let proxy = Proxy::watching(&redis).await;
    let store = spacious_store(&proxy);
    let others = idle_threads(3, &store, &proxy).await;
    proxy.swallow_all();
    store.ping().await.unwrap_err();
    // The trial begins after that.
    proxy.swallow_what_is_open();
    let log = Log::of_this_thread();
    is_back(&store).await;
    assert_eq!(log.count("a Redis connection was given up"), 0);
    others.await;
}
