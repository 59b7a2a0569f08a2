use std::{
    cell::Cell,
    collections::BTreeSet,
    time::{Duration, Instant},
};

use actix_session::storage::SessionStore;
use actix_session_redis::{AtLimit, Error, RedisSessionStore, RedisSessionStoreBuilder};
use actix_web::cookie::time;
use futures_util::future::{join, join_all};

use crate::{
    refusals::COMMANDS,
    support::{
        app::TestApp,
        eventually,
        log::Log,
        redis::{TestRedis, pool_at},
        scope::in_a_request,
        sessions::{Typed, assert_works, copy, hash_of, long_key, session_key, state},
        tally::Tally,
        travel,
    },
};

/// The errors of all that a store does, also of what would fail for another reason, or could do
/// without Redis: with a TTL that is none, no session key, and a user where there are none.
async fn errors_of_all(store: &RedisSessionStore) -> Vec<Error> {
    let (key, n, ttl) = (long_key("any"), || state("n", "1"), time::Duration::ZERO);
    let updated = store.update(copy(&key), n(), &ttl).await;
    let handle = hash_of(&key)["session:".len()..].parse().unwrap();
    let sessions = store.sessions_of("Ada");
    vec![
        store.load(&key).await.unwrap_err().typed(),
        store.load(&session_key("any")).await.unwrap_err().typed(),
        store.save(n(), &ttl).await.unwrap_err().typed(),
        updated.unwrap_err().typed(),
        store.update_ttl(&key, &ttl).await.unwrap_err().typed(),
        store.delete(&key).await.unwrap_err().typed(),
        store.modify(&key, |_| ()).await.unwrap_err(),
        store.ping().await.unwrap_err(),
        store.check().await.unwrap_err(),
        sessions.list().await.unwrap_err(),
        sessions.count().await.unwrap_err(),
        sessions.end(&handle).await.unwrap_err(),
        sessions.end_all().await.unwrap_err(),
        sessions.begin_login().await.unwrap_err(),
    ]
}

/// All that the store does fails with a sentence about this option, whatever else is wrong, and
/// Redis is not asked.
async fn assert_invalid(
    redis: &TestRedis,
    option: &str,
    set: impl Fn(RedisSessionStoreBuilder) -> RedisSessionStoreBuilder,
) {
    let log = Log::of_this_thread();
    // No state is small enough.
    let set = |options: RedisSessionStoreBuilder| set(options).max_state_bytes(0);
    let store = redis.store_with(set);
    let said = log.lines();
    let is_told = |line: &String| line.contains("ERROR") && line.contains(option);
    assert_eq!(
        said.iter().filter(|line| is_told(line)).count(),
        1,
        "{said:?}"
    );
    // Public pages that go on in an outage do not go on without this.
    let anonymous = redis.store_with(|options| set(options).anonymous_during_outage(true));
    let made = redis.connections_made();
    let mut errors = errors_of_all(&store).await;
    errors.extend(in_a_request(async move { errors_of_all(&anonymous).await }).await);
    assert_eq!(errors.len(), 28);
    for error in errors {
        let sentence = error.to_string();
        assert!(sentence.starts_with(&format!("{option}: ")), "{sentence}");
        assert!(!sentence.contains('\n'), "{sentence}");
        assert_matches!(error, Error::InvalidOption { option: o, .. } if o == option);
    }
    assert_eq!(redis.connections_made(), made);
    TestApp::on(store)
        .browser()
        .get("/count")
        .await
        .assert_empty_500();
}

#[actix_web::test]
async fn what_the_layout_of_the_built_in_store_cannot_do_is_invalid() {
    let redis = TestRedis::start().await;
    let layout = "built_in_layout";
    assert_invalid(&redis, layout, |it| it.built_in_layout("").counter("n")).await;
    assert_invalid(&redis, layout, |it| {
        it.merge_field("n", |_, _, ours| ours.clone())
            .built_in_layout("")
    })
    .await;
    assert_invalid(&redis, layout, |it| {
        it.built_in_layout("").adopt_built_in_sessions("")
    })
    .await;
    type Set = fn(RedisSessionStoreBuilder) -> RedisSessionStoreBuilder;
    const DAY: Duration = Duration::from_secs(86_400);
    let of_users: [Set; 5] = [
        |it| it.user_field("user"),
        |it| it.user_field("user").label_field("device"),
        |it| it.user_field("user").session_limit(3, AtLimit::Refuse),
        |it| it.absolute_lifetime(DAY),
        |it| it.lifetimes(DAY..=DAY),
    ];
    for set in of_users {
        assert_invalid(&redis, layout, |it| set(it).built_in_layout("")).await;
    }
}

#[actix_web::test]
async fn a_deadline_below_a_millisecond_is_invalid() {
    let redis = TestRedis::start().await;
    for deadline in [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_micros(999),
    ] {
        assert_invalid(&redis, "deadline", |options| options.deadline(deadline)).await;
    }
}

#[actix_web::test]
async fn a_deadline_of_any_length_works() {
    let redis = TestRedis::start().await;
    for deadline in [Duration::from_secs(1), Duration::MAX] {
        assert_works(&redis.store_with(|options| options.deadline(deadline))).await;
    }
    // It may be too short for an answer.
    let shortest = redis.store_with(|options| options.deadline(Duration::from_millis(1)));
    match shortest.ping().await {
        Ok(()) | Err(Error::Unavailable { .. }) => {}
        Err(other) => panic!("{other:?}"),
    }
}

#[actix_web::test]
async fn a_client_name_that_redis_would_not_take_is_invalid() {
    let redis = TestRedis::start().await;
    for name in ["my shop", "shop\n", "shop\r\nQUIT", "\0", "\x7f", "Lädchen"] {
        assert_invalid(&redis, "client_name", |options| options.client_name(name)).await;
    }
}

#[actix_web::test]
async fn a_connection_age_below_a_second_is_invalid() {
    let redis = TestRedis::start().await;
    for age in [Duration::ZERO, Duration::from_millis(999)] {
        assert_invalid(&redis, "max_connection_age", |options| {
            options.max_connection_age(age)
        })
        .await;
    }
}

/// The names of these connections, one for each.
fn names(client_list: &str) -> Vec<&str> {
    let words = client_list.split_whitespace();
    words
        .filter_map(|word| word.strip_prefix("name="))
        .collect()
}

fn names_at(redis: &TestRedis) -> Vec<String> {
    let clients: String = redis.run("CLIENT LIST TYPE normal");
    let mut names: Vec<_> = names(&clients).into_iter().map(str::to_owned).collect();
    names.sort();
    names
}

#[actix_web::test]
async fn the_client_name_shows_in_the_client_list() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(|options| options.client_name("shop"));
    store.ping().await.unwrap();
    assert_eq!(names_at(&redis), ["", "shop"], "one of them asks this");
    // As a connection that takes the place of another does.
    redis.kill_clients();
    store.ping().await.unwrap();
    eventually("it has it, too", || names_at(&redis) == ["", "shop"]).await;
}

#[actix_web::test]
async fn a_store_without_a_client_name_gives_none() {
    let redis = TestRedis::start().await;
    let nameless = redis.store();
    assert_works(&nameless).await;
    // That is how Redis is told to forget one.
    let empty = redis.store_with(|options| options.client_name(""));
    assert_works(&empty).await;
    assert_eq!(names_at(&redis), [""; 3]);
}

#[actix_web::test]
async fn a_redis_user_who_may_not_set_a_client_name_goes_without() {
    let redis = TestRedis::start().await;
    redis.run::<()>(&format!(
        "ACL SETUSER shop on >ladder ~session:* {COMMANDS}"
    ));
    let pool = pool_at(&redis.url_as("shop:ladder@"));
    let store = RedisSessionStore::builder(pool).client_name("shop").build();
    store.check().await.unwrap();
    assert_works(&store).await;
    assert_eq!(names_at(&redis), ["", ""]);
}

#[cfg(feature = "sentinel")]
#[actix_web::test]
async fn the_client_name_shows_on_the_master_that_sentinels_name() {
    let redis = testbed::Sentinels::start();
    let pool = crate::sentinel::pool(&redis);
    let store = RedisSessionStore::builder(pool).client_name("shop").build();
    store.ping().await.unwrap();
    let clients: String = redis.master().run("CLIENT LIST TYPE normal");
    assert!(names(&clients).contains(&"shop"), "{clients}");
}

#[cfg(feature = "cluster")]
#[actix_web::test]
async fn the_client_name_shows_on_every_master_of_a_cluster() {
    let redis = testbed::Cluster::start();
    let store = crate::cluster::options(&redis).client_name("shop").build();
    store.ping().await.unwrap();
    for master in redis.masters() {
        let clients: String = master.run("CLIENT LIST TYPE normal");
        assert!(names(&clients).contains(&"shop"), "{clients}");
    }
}

/// The connections of stores, by the number that Redis gives to each, which it uses only once.
fn connections(redis: &TestRedis) -> BTreeSet<u64> {
    let clients: String = redis.run("CLIENT LIST TYPE normal");
    let ours = redis.run::<u64>("CLIENT ID");
    let ids = clients.lines().map(|line| {
        let id = line.split(' ').next().unwrap();
        id.strip_prefix("id=").unwrap().parse().unwrap()
    });
    ids.filter(|&id| id != ours).collect()
}

#[actix_web::test]
async fn a_connection_that_is_old_enough_is_replaced_and_not_before() {
    const AGE: Duration = Duration::from_secs(60 * 60);
    let redis = TestRedis::start().await;
    let store = redis.store_with(|options| options.max_connection_age(AGE));
    store.ping().await.unwrap();
    let first = connections(&redis);
    // Up to a tenth is cut.
    travel(AGE * 8 / 10).await;
    store.ping().await.unwrap();
    assert_eq!(connections(&redis), first);
    travel(AGE * 2 / 10).await;
    store.ping().await.unwrap();
    eventually("the old one is closed", || redis.client_count() == 1).await;
    assert!(connections(&redis).is_disjoint(&first));
}

#[actix_web::test]
async fn by_default_a_connection_stays_until_it_breaks() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    store.ping().await.unwrap();
    let first = connections(&redis);
    travel(Duration::from_secs(30 * 24 * 60 * 60)).await;
    store.ping().await.unwrap();
    assert_eq!(connections(&redis), first);
}

#[actix_web::test]
async fn connections_that_were_made_together_do_not_end_together() {
    const AGE: Duration = Duration::from_secs(60 * 60);
    let redis = TestRedis::start().await;
    let stores: Vec<_> = (0..16)
        .map(|_| redis.store_with(|options| options.max_connection_age(AGE)))
        .collect();
    for store in &stores {
        store.ping().await.unwrap();
    }
    let before = redis.connections_made();
    travel(AGE * 19 / 20).await;
    for store in &stores {
        store.ping().await.unwrap();
    }
    let replaced = redis.connections_made() - before;
    assert!((1..16).contains(&replaced), "{replaced} of 16");
}

/// Longer than any clock counts.
#[actix_web::test]
async fn a_connection_may_grow_as_old_as_there_is_time() {
    let redis = TestRedis::start().await;
    for age in [Duration::MAX, Duration::from_secs(u64::MAX / 2)] {
        assert_works(&redis.store_with(|options| options.max_connection_age(age))).await;
    }
}

#[actix_web::test]
async fn no_request_fails_while_old_connections_are_replaced() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let store = redis.store_with(|options| options.max_connection_age(Duration::from_secs(1)));
    let app = TestApp::on(store);
    let is_over = Cell::new(false);
    let visits = join_all((0..8).map(async |_| {
        let browser = app.browser();
        let mut n = 0;
        while !is_over.get() {
            n += 1;
            let counted = tally.send(browser.get("/count")).await;
            assert_eq!(counted.text(), format!("n={n}"));
        }
        tally.check(browser.get("/read").await.text(), format!("n={n}"));
    }));
    let begun = Instant::now();
    let replacements = async {
        eventually("the connection is replaced three times", || {
            redis.connections_made() >= 1 + 1 + 3
        })
        .await;
        is_over.set(true);
    };
    join(visits, replacements).await;
    assert!(begun.elapsed() > Duration::from_secs(2));
    eventually("one connection is left", || redis.client_count() == 1).await;
}
