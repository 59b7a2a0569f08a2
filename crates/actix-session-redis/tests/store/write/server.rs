use std::rc::Rc;

use actix_session::storage::SessionStore;
use futures_util::future::join_all;

use super::{assert_n, count_up, count_up_after, count_up_twice_at_once, counting_n};
use crate::support::{
    proxy::{Fate, Proxy},
    redis::TestRedis,
    sessions::{HOUR, state},
};

#[actix_web::test]
async fn it_works_whenever_the_scripts_of_the_server_are_flushed() {
    for flushes in 0..5 {
        let redis = Rc::new(TestRedis::start().await);
        let (server, mut left) = (Rc::clone(&redis), flushes);
        let proxy = Proxy::before(&redis, move |command| {
            if command.is_script() && left > 0 {
                left -= 1;
                server.run::<()>("SCRIPT FLUSH");
            }
            Fate::Forward
        })
        .await;
        let store = proxy.store_with(counting_n);
        let key = store.save(state("n", "1"), &HOUR).await.unwrap();
        count_up_twice_at_once(&store, &key).await;
        assert_n(&store, &key, "3").await;
    }
}

#[actix_web::test]
async fn it_works_for_parallel_requests_of_which_none_finds_the_script() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(counting_n);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    for _ in 0..3 {
        redis.run::<()>("SCRIPT FLUSH");
        join_all((0..10).map(|_| count_up_twice_at_once(&store, &key))).await;
    }
    assert_n(&store, &key, "61").await;
}

#[actix_web::test]
async fn it_works_on_a_server_that_was_restarted_while_the_request_ran() {
    let redis = Rc::new(TestRedis::start_with(&["--appendonly", "yes"]).await);
    let store = redis.store_with(counting_n);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    count_up(&store, &key).await;

    let server = Rc::clone(&redis);
    count_up_after(&store, &key, async move {
        server.stop();
        server.start_again().await;
    })
    .await;
    assert_n(&store, &key, "3").await;
}
