use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use actix_session::storage::SessionStore;
use actix_session_redis::{
    Error, RedisSessionStore,
    deadpool_redis::{
        Pool,
        redis::{InfoDict, cmd},
    },
};
use futures_util::future::{join, join_all};
use tokio::sync::Barrier;

use crate::{
    refusals::COMMANDS,
    support::{
        app::{Setup, TestApp},
        eventually, on_a_worker,
        proxy::{Fate, Proxy},
        redis::{TestRedis, pool_of},
        report,
        sessions::{HOUR, state},
        tally::Tally,
        travel,
    },
};

/// Time enough for whatever the test does to the pool, on the busiest machine.
const PATIENT: Duration = Duration::from_secs(20);

/// One use of the store, on a thread that ends afterwards.
async fn ping_on_a_worker(store: &RedisSessionStore) -> Result<(), Error> {
    let store = store.clone();
    on_a_worker(move || async move { store.ping().await }).await
}

#[actix_web::test]
async fn four_threads_get_by_on_a_pool_of_one() {
    let tally = Arc::new(Tally::of_this_test());
    let redis = TestRedis::start().await;
    let store = RedisSessionStore::new(redis.pool_of(1));
    // The connection is driven by the thread that made it, so all stay until all are done.
    let all_done = Arc::new(Barrier::new(4));
    let workers = (0..4).map(|worker| {
        let (store, all_done) = (store.clone(), Arc::clone(&all_done));
        let tally = Arc::clone(&tally);
        on_a_worker(move || async move {
            let mut saved = Vec::new();
            for n in 0..50 {
                let n = state("n", &format!("{worker}{n}"));
                let key = tally.send(store.save(n.clone(), &HOUR)).await.unwrap();
                let loaded = tally.send(store.load(&key)).await.unwrap();
                assert_eq!(loaded.as_ref(), Some(&n));
                saved.push((key, n));
            }
            all_done.wait().await;
            saved
        })
    });
    let saved = join_all(workers).await;
    assert_eq!(redis.keys().len(), 200);
    assert_eq!(redis.connections_made(), 2, "one of them asks this");
    for (key, n) in saved.into_iter().flatten() {
        tally.check(store.load(&key).await.unwrap(), Some(n));
    }
}

/// On connections of this pool.
fn app_of_four_workers(pool: &Pool) -> TestApp {
    let store = RedisSessionStore::builder(pool.clone()).deadline(PATIENT);
    let setup = Setup {
        workers: 4,
        ..Setup::default()
    };
    TestApp::with(store.build(), &setup)
}

/// Each of 64 visitors, all at once, sends the next of five requests.
async fn count_five_times(tally: &Tally, app: &TestApp) {
    let browsers: Vec<_> = (0..64).map(|_| app.browser()).collect();
    for n in 1..=5 {
        let counts = browsers.iter().map(|b| tally.send(b.get("/count")));
        for answer in join_all(counts).await {
            assert_eq!(answer.text(), format!("n={n}"));
        }
    }
    for browser in browsers {
        tally.check(browser.get("/read").await.text(), "n=5");
    }
}

#[actix_web::test]
async fn an_app_with_more_workers_than_connections_serves_everybody() {
    let tally = Tally::of_this_test();
    for connections in [1, 2] {
        let redis = TestRedis::start().await;
        let app = app_of_four_workers(&redis.pool_of(connections));
        count_five_times(&tally, &app).await;
        assert_eq!(redis.client_count(), connections);
        let all_ever = 1 + u64::try_from(connections).unwrap();
        assert_eq!(redis.connections_made(), all_ever);
    }
}

#[actix_web::test]
async fn an_app_whose_connections_are_all_taken_goes_on_with_the_first_that_is_given_back() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let pool = redis.pool_of(2);
    let (held, _held_on) = (pool.get().await.unwrap(), pool.get().await.unwrap());
    let app = app_of_four_workers(&pool);
    let give_back = async {
        eventually("all workers wait in line", || pool.status().waiting == 4).await;
        drop(held);
    };
    join(count_five_times(&tally, &app), give_back).await;
    assert_eq!(redis.client_count(), 2);
}

#[actix_web::test]
async fn an_application_may_take_and_give_back_what_is_left_of_the_pool_all_the_time() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let pool = redis.pool_of(5);
    let app = app_of_four_workers(&pool);
    let is_over = Cell::new(false);
    let visits = async {
        count_five_times(&tally, &app).await;
        is_over.set(true);
    };
    let mut times = 0;
    let application = async {
        while !is_over.get() {
            times += u32::from(pool.get().await.is_ok());
        }
    };
    join(visits, application).await;
    assert!(times > 0);
    assert!(redis.client_count() <= 5);
    report(format!(
        "320 requests, while 1 of 5 connections was taken {times} times"
    ));
}

#[actix_web::test]
async fn requests_go_on_when_the_application_has_taken_the_place_of_a_lost_connection() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let pool = redis.pool_of(1);
    let store = RedisSessionStore::builder(pool.clone()).deadline(PATIENT);
    let store = store.build();
    store.ping().await.unwrap();
    let application = async {
        let taken = pool.get().await.unwrap();
        eventually("the store waits in line", || pool.status().waiting == 1).await;
        drop(taken);
    };
    let requests = async {
        eventually("the application waits in line", || {
            pool.status().waiting == 1
        })
        .await;
        redis.kill_clients();
        join_all((0..20).map(|_| tally.send(store.ping()))).await
    };
    for answered in join(requests, application).await.0 {
        answered.unwrap();
    }
    assert_eq!(redis.client_count(), 1);
}

#[actix_web::test]
async fn what_the_store_does_not_use_of_a_pool_is_free_for_the_application() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let pool = redis.pool_of(2);
    let store = RedisSessionStore::new(pool.clone());
    join_all((0..50).map(|_| tally.send(store.ping()))).await;
    let _free = pool.get().await.unwrap();
    tally.send(store.ping()).await.unwrap();
    assert_eq!(redis.client_count(), 2);
}

#[actix_web::test]
async fn requests_wait_until_the_application_gives_a_connection_back() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let pool = redis.pool_of(2);
    let store = RedisSessionStore::builder(pool.clone())
        .deadline(PATIENT)
        .build();
    let (held, _held_on) = (pool.get().await.unwrap(), pool.get().await.unwrap());

    let requests = join_all((0..20).map(|_| tally.send(store.ping())));
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
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let pool = redis.pool_of(1);
    let store = RedisSessionStore::builder(pool.clone())
        .deadline(Duration::from_millis(100))
        .build();
    let held = pool.get().await.unwrap();
    let error = tally.send(store.ping()).await.unwrap_err();
    assert!(error.to_string().contains("no connection free"), "{error}");
    assert_matches!(error, Error::Unavailable { .. });
    drop(held);
    tally.send(store.ping()).await.unwrap();
}

#[actix_web::test]
async fn a_shared_connection_is_replaced_when_the_thread_that_drives_it_ends() {
    let tally = Tally::of_this_test();
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
        tally.send(store.ping()).await.unwrap();
        assert_eq!(redis.client_count(), 1);
        used_here_too.wait().await;
    };
    join(driver, shared).await;

    tally.send(store.ping()).await.unwrap();
    eventually("one connection", || redis.client_count() == 1).await;
    assert_eq!(pool.status().size, 1);
}

/// A thread is in line for it, so who has had it for long shares that of the other from now on.
#[actix_web::test]
async fn an_old_connection_is_replaced_within_the_size_of_the_pool() {
    const AGE: Duration = Duration::from_secs(60 * 60);
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let pool = redis.pool_of(1);
    let options = RedisSessionStore::builder(pool.clone()).max_connection_age(AGE);
    let store = options.deadline(PATIENT).build();
    store.ping().await.unwrap();
    let made = redis.connections_made();
    let is_over = Arc::new(Barrier::new(2));
    let (theirs, their_barrier) = (store.clone(), Arc::clone(&is_over));
    let other = on_a_worker(move || async move {
        theirs.ping().await.unwrap();
        their_barrier.wait().await;
    });
    let replaced = async {
        eventually("it is in line", || pool.status().waiting == 1).await;
        travel(AGE).await;
        tally.send(store.ping()).await.unwrap();
        eventually("it has a new one", || redis.connections_made() == made + 1).await;
        eventually("the old one is closed", || redis.client_count() == 1).await;
        tally.send(store.ping()).await.unwrap();
        is_over.wait().await;
    };
    join(other, replaced).await;
    assert_eq!(redis.connections_made(), made + 1);
}

#[actix_web::test]
async fn threads_may_come_and_go() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let store = RedisSessionStore::new(redis.pool_of(1));
    for _ in 0..5 {
        tally.send(ping_on_a_worker(&store)).await.unwrap();
        tally.send(store.ping()).await.unwrap();
        tally.send(ping_on_a_worker(&store)).await.unwrap();
    }
    eventually("one connection", || redis.client_count() <= 1).await;
}

/// As when other applications have taken all that Redis has for clients.
#[actix_web::test]
async fn a_thread_that_redis_has_no_room_for_shares_a_connection() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let store = redis.store();
    store.ping().await.unwrap();
    // This one, and ours for questions.
    redis.run::<()>("CONFIG SET maxclients 2");
    for _ in 0..2 {
        tally.send(ping_on_a_worker(&store)).await.unwrap();
    }
    assert_eq!(redis.client_count(), 1);
}

/// As when the first of the Sentinels hangs, and each thread has to wait for its turn.
#[actix_web::test]
async fn a_thread_whose_connect_takes_long_shares_a_connection_meanwhile() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let others_get_through = Rc::new(Cell::new(true));
    let get_through = Rc::clone(&others_get_through);
    let proxy = Proxy::before(&redis, move |command| match command.name() {
        "CLIENT" if !get_through.get() => Fate::Silence,
        _ => Fate::Forward,
    })
    .await;
    let store = proxy.store_with(|options| options.deadline(Duration::from_secs(4)));
    store.ping().await.unwrap();
    others_get_through.set(false);
    tally.send(ping_on_a_worker(&store)).await.unwrap();
    assert_eq!(proxy.seen("PING").len(), 2);
}

/// The databases that hold keys.
fn databases(redis: &TestRedis) -> Vec<String> {
    let info: InfoDict = redis.run("INFO keyspace");
    let mut databases: Vec<_> = info.keys().map(String::from).collect();
    databases.retain(|name| name.starts_with("db"));
    databases.sort();
    databases
}

/// The application takes the pool's only connection, selects a database for itself, and gives it
/// back.
async fn leave_in_database_3(pool: &Pool) {
    let mut taken = pool.get().await.unwrap();
    cmd("SELECT").arg(3).exec_async(&mut taken).await.unwrap();
}

#[actix_web::test]
async fn a_connection_that_the_application_left_in_another_database_does_not_move_sessions() {
    for (in_url, database) in [("", "db0"), ("/0", "db0"), ("/2", "db2")] {
        let redis = TestRedis::start().await;
        let pool = pool_of(1, &format!("{}{in_url}", redis.url()));
        leave_in_database_3(&pool).await;
        let made = redis.connections_made();
        let store = RedisSessionStore::new(pool.clone());
        let key = store.save(state("n", "1"), &HOUR).await.unwrap();
        assert_eq!(databases(&redis), [database]);
        assert_eq!(redis.connections_made(), made, "it is the same connection");
        assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "1")));
    }
}

#[actix_web::test]
async fn a_redis_user_who_may_not_select_a_database_needs_none() {
    let redis = TestRedis::start().await;
    redis.run::<()>(&format!(
        "ACL SETUSER shop on >ladder ~session:* {COMMANDS} -select"
    ));
    let store = RedisSessionStore::new(pool_of(1, &redis.url_as("shop:ladder@")));
    store.check().await.unwrap();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "1")));
    assert_eq!(databases(&redis), ["db0"]);
    assert_eq!(redis.connections_made(), 2, "one of them asks this");
}
