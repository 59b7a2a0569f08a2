use std::{sync::Arc, time::Duration};

use actix_session::storage::SessionStore;
use actix_session_redis::{Error, RedisSessionStore};
use futures_util::future::{join, join_all};
use tokio::sync::Barrier;

use crate::support::{
    app::{Setup, TestApp},
    eventually, on_a_worker,
    redis::TestRedis,
    sessions::{HOUR, state},
};

/// One use of the store, on a thread that ends afterwards.
async fn ping_on_a_worker(store: &RedisSessionStore) {
    let store = store.clone();
    on_a_worker(move || async move { store.ping().await })
        .await
        .unwrap();
}

#[actix_web::test]
async fn four_threads_get_by_on_a_pool_of_one() {
    let redis = TestRedis::start().await;
    let store = RedisSessionStore::new(redis.pool_of(1));
    // The connection is driven by the thread that made it, so all stay until all are done.
    let all_done = Arc::new(Barrier::new(4));
    let workers = (0..4).map(|worker| {
        let (store, all_done) = (store.clone(), Arc::clone(&all_done));
        on_a_worker(move || async move {
            for n in 0..50 {
                let n = state("n", &format!("{worker}{n}"));
                let key = store.save(n.clone(), &HOUR).await.unwrap();
                assert_eq!(store.load(&key).await.unwrap(), Some(n));
            }
            all_done.wait().await;
        })
    });
    join_all(workers).await;
    assert_eq!(redis.keys().len(), 200);
    assert_eq!(redis.connections_made(), 2, "one of them asks this");
}

#[actix_web::test]
async fn an_app_with_more_workers_than_connections_serves_everybody() {
    let redis = TestRedis::start().await;
    let setup = Setup {
        workers: 4,
        ..Setup::default()
    };
    let app = TestApp::with(RedisSessionStore::new(redis.pool_of(2)), &setup);
    let browsers: Vec<_> = (0..20).map(|_| app.browser()).collect();
    for n in 1..=5 {
        for answer in join_all(browsers.iter().map(|browser| browser.get("/count"))).await {
            assert_eq!(answer.text(), format!("n={n}"));
        }
    }
    assert_eq!(redis.client_count(), 2);
}

#[actix_web::test]
async fn what_the_store_does_not_use_of_a_pool_is_free_for_the_application() {
    let redis = TestRedis::start().await;
    let pool = redis.pool_of(2);
    let store = RedisSessionStore::new(pool.clone());
    join_all((0..50).map(|_| store.ping())).await;
    let _free = pool.get().await.unwrap();
    store.ping().await.unwrap();
    assert_eq!(redis.client_count(), 2);
}

#[actix_web::test]
async fn requests_wait_until_the_application_gives_a_connection_back() {
    let redis = TestRedis::start().await;
    let pool = redis.pool_of(2);
    let store = RedisSessionStore::builder(pool.clone())
        .deadline(Duration::from_secs(20))
        .build();
    let (held, _held_on) = (pool.get().await.unwrap(), pool.get().await.unwrap());

    let requests = join_all((0..20).map(|_| store.ping()));
    let give_back = async {
        eventually("one waits in line", || pool.status().waiting == 1).await;
        drop(held);
    };
    for answered in join(requests, give_back).await.0 {
        answered.unwrap();
    }
    assert_eq!(redis.client_count(), 2);
}

#[actix_web::test]
async fn when_the_application_keeps_all_connections_requests_fail_at_the_deadline() {
    let redis = TestRedis::start().await;
    let pool = redis.pool_of(1);
    let store = RedisSessionStore::builder(pool.clone())
        .deadline(Duration::from_millis(100))
        .build();
    let held = pool.get().await.unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(error.to_string().contains("no connection free"), "{error}");
    assert_matches!(error, Error::Unavailable { .. });
    drop(held);
    store.ping().await.unwrap();
}

#[actix_web::test]
async fn a_shared_connection_is_replaced_when_the_thread_that_drives_it_ends() {
    let redis = TestRedis::start().await;
    let pool = redis.pool_of(1);
    let store = RedisSessionStore::new(pool.clone());
    let used_here_too = Arc::new(Barrier::new(2));
    let (theirs, their_barrier) = (store.clone(), Arc::clone(&used_here_too));
    let driver = on_a_worker(move || async move {
        theirs.ping().await.unwrap();
        their_barrier.wait().await;
        their_barrier.wait().await;
    });
    let shared = async {
        used_here_too.wait().await;
        store.ping().await.unwrap();
        assert_eq!(redis.client_count(), 1);
        used_here_too.wait().await;
    };
    join(driver, shared).await;

    store.ping().await.unwrap();
    eventually("one connection", || redis.client_count() == 1).await;
    assert_eq!(pool.status().size, 1);
}

#[actix_web::test]
async fn threads_may_come_and_go() {
    let redis = TestRedis::start().await;
    let store = RedisSessionStore::new(redis.pool_of(1));
    for _ in 0..5 {
        ping_on_a_worker(&store).await;
        store.ping().await.unwrap();
        ping_on_a_worker(&store).await;
    }
    eventually("one connection", || redis.client_count() <= 1).await;
}
