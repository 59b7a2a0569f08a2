use std::time::{Duration, Instant};

use actix_session::storage::SessionStore;
use futures_util::future::{join, join_all};

use crate::support::{
    app::{Setup, TestApp},
    eventually, eventually_async, is_back,
    log::Log,
    on_a_worker,
    redis::{TestRedis, pool_at},
    report, sealing,
    sessions::{HOUR, copy, hash_of, long_key, state},
    travel,
};

const ENDED: &str = "a session operation ended";

#[actix_web::test]
async fn each_operation_says_what_came_of_it_after_how_many_tries_and_how_long() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let log = Log::of_this_thread();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    store.load(&key).await.unwrap();
    store
        .update(copy(&key), state("n", "2"), &HOUR)
        .await
        .unwrap();
    store.update_ttl(&key, &HOUR).await.unwrap();
    store.delete(&key).await.unwrap();
    store.load(&key).await.unwrap();
    store.ping().await.unwrap();

    let mut ended = log.lines();
    ended.retain(|line| line.contains(ENDED));
    for (line, (operation, outcome)) in ended.iter().zip([
        ("save", "ok"),
        ("load", "ok"),
        ("update", "ok"),
        ("update_ttl", "ok"),
        ("delete", "ok"),
        ("load", "missing"),
        ("ping", "ok"),
    ]) {
        let (_, fields) = line.split_once(ENDED).unwrap();
        let expected = format!(" operation=\"{operation}\" outcome=\"{outcome}\" tries=1 waited=");
        let waited = fields.strip_prefix(&expected).expect(line);
        assert!(
            (0.0..2000.0).contains(&waited.parse::<f64>().unwrap()),
            "{line}"
        );
        assert!(line.contains("DEBUG session_operation{"), "{line}");
    }
    assert_eq!(ended.len(), 7);
}

#[actix_web::test]
async fn a_request_that_hangs_up_has_abandoned_its_operation() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    store.ping().await.unwrap();
    redis.pause();
    let log = Log::of_this_thread();
    let hang_up = tokio::time::timeout(Duration::from_millis(50), store.ping());
    hang_up.await.unwrap_err();
    assert!(log.only(ENDED).contains(r#"outcome="abandoned" tries=1"#));
}

#[actix_web::test]
async fn one_warning_for_a_lost_connection_however_many_requests_saw_it() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    store.ping().await.unwrap();
    let log = Log::of_this_thread();
    redis.kill_clients();
    join_all((0..50).map(async |_| store.ping().await.unwrap())).await;
    assert!(log.only("lost a Redis connection").contains(" WARN "));
}

#[actix_web::test]
async fn one_warning_a_second_for_the_connections_that_are_tried_while_redis_is_a_replica() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(|options| options.deadline(Duration::from_secs(20)));
    store.ping().await.unwrap();
    let log = Log::of_this_thread();
    redis.run::<()>("REPLICAOF 127.0.0.1 1");
    let failover = async {
        let given_up = || log.count("a Redis connection was given up") >= 3;
        eventually("it tries other connections", given_up).await;
        redis.run::<()>("REPLICAOF NO ONE");
    };
    let (saved, ()) = join(store.save(state("n", "1"), &HOUR), failover).await;
    saved.unwrap();
    // One a second, however many there are.
    let warned = log.count("lost a Redis connection");
    assert!((1..=2).contains(&warned), "{warned} warnings");
    assert!(
        log.lines()
            .iter()
            .all(|it| !it.contains(" WARN ") || it.contains("READONLY"))
    );
}

#[actix_web::test]
async fn an_outage_begins_and_ends_with_one_warning_however_many_requests_saw_it() {
    let redis = TestRedis::not_started();
    let store = redis.store_with(|options| options.deadline(Duration::from_millis(200)));
    let log = Log::of_this_thread();
    for _ in 0..2 {
        for ping in join_all((0..20).map(|_| store.ping())).await {
            ping.unwrap_err();
        }
    }
    assert!(log.only("Redis is unavailable").contains(" WARN "));
    redis.start_again().await;
    is_back(&store).await;
    join_all((0..20).map(async |_| store.ping().await.unwrap())).await;
    assert!(log.only("Redis is available again").contains(" WARN "));
}

#[actix_web::test]
async fn the_end_of_an_outage_is_told_even_if_the_thread_that_found_it_has_ended() {
    let redis = TestRedis::not_started();
    let store = redis.store_with(|options| options.deadline(Duration::from_millis(200)));
    let log = Log::of_this_thread();
    let other = store.clone();
    on_a_worker(async move || other.ping().await.unwrap_err()).await;
    redis.start_again().await;
    is_back(&store).await;
    assert_eq!(log.count("Redis is available again"), 1);
}

/// The right password, and some of what Redis may have against a request.
const SHOP: &str = "ACL SETUSER shop reset on >sesame ~session:* +@all";

/// How many lines operators may find in their log, however many requests were refused.
const A_FEW: usize = 12;

/// Visitors come for two seconds while Redis refuses what they need, and until it no longer does.
async fn assert_few_lines(path: &str, code: &str, refuse: &str, relent: &str) {
    const VISITORS: usize = 8;
    let redis = TestRedis::start().await;
    redis.run::<()>(SHOP);
    let setup = Setup::consistent();
    let keys = join_all((0..VISITORS).map(async |_| {
        let saved = redis.store().save(state("n", "1"), &HOUR).await;
        setup.signed_cookie(saved.unwrap().as_ref())
    }));
    let cookies = keys.await;
    redis.run::<()>("CONFIG RESETSTAT");
    redis.run::<()>(refuse);

    let log = Log::of_operators();
    let pool = pool_at(&redis.url_as("shop:sesame@"));
    let app = TestApp::with(sealing::options(pool).build(), &setup);
    let begun = Instant::now();
    let visits = join_all(cookies.iter().map(async |cookie| {
        let browser = app.browser_with_cookie(cookie);
        let mut refused = 0;
        while begun.elapsed() < Duration::from_secs(2) {
            assert!(browser.get(path).await.status >= 500);
            refused += 1;
        }
        refused
    }));
    let refused: usize = visits.await.iter().sum();
    let said = log.lines();
    report(format!(
        "{refused} requests refused with {code}, {} lines at INFO or above; the first: {}",
        said.len(),
        said.first().map_or("none", String::as_str),
    ));
    let commands = redis.refused_commands();
    redis.run::<()>(relent);
    eventually_async("Redis accepts it again", async || {
        let browser = app.browser_with_cookie(&cookies[0]);
        browser.get(path).await.status == 200
    })
    .await;

    assert!(refused > A_FEW, "it is no load: {refused}");
    assert!(said.len() <= A_FEW, "{} lines", said.len());
    let first = said.first().expect("it is said");
    assert!(first.contains(" ERROR ") && first.contains(code), "{first}");
    let names_it = |command: &String| first.contains(&command.to_uppercase());
    assert!(commands.keys().any(names_it), "{commands:?} in {first}");
    eventually("its end is told", || log.count(" INFO ") == 1).await;
    assert!(log.lines().len() <= A_FEW, "{:#?}", log.lines());
}

#[actix_web::test]
async fn a_wrong_password_is_a_few_lines_however_many_requests_need_it() {
    let refuse = "ACL SETUSER shop resetpass >another";
    assert_few_lines("/read", "WRONGPASS", refuse, SHOP).await;
}

#[actix_web::test]
async fn a_missing_permission_is_a_few_lines_however_many_requests_need_it() {
    let refuse = "ACL SETUSER shop -@read";
    assert_few_lines("/read", "NOPERM", refuse, SHOP).await;
}

#[actix_web::test]
async fn a_full_redis_is_a_few_lines_however_many_requests_write() {
    let refuse = "CONFIG SET maxmemory 1";
    assert_few_lines("/count", "OOM", refuse, "CONFIG SET maxmemory 0").await;
}

/// How many others it says that there were.
fn others(line: &str) -> u64 {
    let (_, others) = line.split_once(" others=").expect(line);
    others.split(' ').next().unwrap().parse().unwrap()
}

#[actix_web::test]
async fn a_refusal_that_lasts_is_told_once_and_then_every_ten_seconds_with_a_count() {
    const FAILED: &str = "a session operation failed";
    let redis = TestRedis::start().await;
    let store = redis.store();
    let save = async || store.save(state("n", "1"), &HOUR).await;
    save().await.unwrap();
    redis.run::<()>("CONFIG SET maxmemory 1");
    let log = Log::of_operators();
    for _ in 0..5 {
        save().await.unwrap_err();
    }
    let first = log.only(FAILED);
    assert!(first.contains(" ERROR "), "{first}");
    assert!(first.contains("EVAL") && first.contains("OOM"), "{first}");
    assert_eq!(others(&first), 0);

    travel(Duration::from_secs(9)).await;
    save().await.unwrap_err();
    assert_eq!(log.count(FAILED), 1);
    for n in 2..4 {
        travel(Duration::from_secs(10)).await;
        for _ in 0..6 {
            save().await.unwrap_err();
        }
        assert_eq!(log.count(FAILED), n);
        assert_eq!(others(log.lines().last().unwrap()), 5);
    }

    redis.run::<()>("CONFIG SET maxmemory 0");
    for _ in 0..2 {
        save().await.unwrap();
    }
    let over = log.only(" INFO ");
    assert!(over.contains("operation=\"save\""), "{over}");
    assert_eq!(others(&over), 5);
    assert_eq!(log.lines().len(), 4);
}

/// What works meanwhile ends nothing, and hides nothing.
#[actix_web::test]
async fn a_refusal_of_one_operation_is_not_over_when_another_succeeds() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    redis.run::<()>("CONFIG SET maxmemory 1");
    let log = Log::of_operators();
    for _ in 0..3 {
        store.save(state("n", "1"), &HOUR).await.unwrap_err();
        store.load(&key).await.unwrap();
    }
    assert_eq!(log.lines().len(), 1, "{:#?}", log.lines());
    // Another operation that is refused is told as well.
    store
        .update(copy(&key), state("n", "2"), &HOUR)
        .await
        .unwrap_err();
    assert_eq!(log.count(" ERROR "), 2, "{:#?}", log.lines());
}

#[actix_web::test]
async fn lost_connections_are_one_warning_a_second_that_counts_the_others() {
    const LOST: u64 = 20;
    let redis = TestRedis::start().await;
    let store = redis.store();
    store.ping().await.unwrap();
    let log = Log::of_this_thread();
    let begun = Instant::now();
    let lose_one = async || {
        redis.kill_clients();
        store.ping().await.unwrap();
    };
    for _ in 1..LOST {
        lose_one().await;
    }
    let seconds = 1 + begun.elapsed().as_secs();
    let warned = || log.count("lost a Redis connection") as u64;
    assert!((1..=seconds).contains(&warned()), "{:#?}", log.lines());

    travel(Duration::from_secs(1)).await;
    let before = warned();
    lose_one().await;
    assert_eq!(warned(), before + 1);
    let mut lines = log.lines();
    lines.retain(|line| line.contains("lost a Redis connection"));
    assert!(lines.iter().all(|line| line.contains(" WARN ")));
    let told: u64 = lines.iter().map(|line| 1 + others(line)).sum();
    assert_eq!(told, LOST);
    assert_eq!(log.count("a Redis connection was given up"), LOST as usize);
}

#[actix_web::test]
async fn each_connection_that_is_made_is_one_line_for_those_who_debug() {
    const MADE: &str = "made a Redis connection";
    let redis = TestRedis::start().await;
    let (log, before) = (Log::of_this_thread(), redis.connections_made());
    let stores = [redis.store(), redis.store()];
    for _ in 0..3 {
        for store in &stores {
            join_all((0..10).map(async |_| store.ping().await.unwrap())).await;
        }
        redis.kill_clients();
    }
    assert_eq!(redis.connections_made() - before, 6);
    assert_eq!(log.count(MADE), 6);
    let mut lines = log.lines();
    lines.retain(|line| line.contains(MADE));
    assert!(
        lines.iter().all(|line| line.contains("DEBUG")),
        "{lines:#?}"
    );
}

#[actix_web::test]
async fn nothing_in_the_log_is_a_secret() {
    let redis = TestRedis::start().await;
    redis.run::<()>("ACL SETUSER demo on >sesame ~session:* +@all");
    let log = Log::of_this_thread();
    let store = sealing::options(pool_at(&redis.url_as("demo:sesame@")))
        .deadline(Duration::from_millis(200))
        .max_state_bytes(100)
        .build();
    let secret = || state("n", "\"hidden\"");
    let key = store.save(secret(), &HOUR).await.unwrap();
    store.load(&key).await.unwrap();
    let unreadable = long_key("unreadable");
    redis.put(&hash_of(&unreadable), b"hidden");
    assert_eq!(store.load(&unreadable).await.unwrap(), None);
    store.update(copy(&key), secret(), &HOUR).await.unwrap();
    let large = state("n", &format!("\"hidden{}\"", "x".repeat(100)));
    store.update(copy(&key), large, &HOUR).await.unwrap_err();
    redis.run::<()>("ACL SETUSER demo -hset");
    store.save(secret(), &HOUR).await.unwrap_err();
    redis.run::<()>("ACL SETUSER demo +hset");
    store.delete(&key).await.unwrap();
    store.update(copy(&key), secret(), &HOUR).await.unwrap();
    redis.kill();
    store.load(&key).await.unwrap_err();
    store.load(&long_key("any")).await.unwrap_err();

    let lines = log.lines().join("\n");
    for outcome in [
        "ok",
        "unreadable",
        "too_large",
        "refused",
        "ended",
        "unavailable",
    ] {
        let outcome = format!("outcome=\"{outcome}\"");
        assert!(lines.contains(&outcome), "{outcome} in {lines}");
    }
    for secret in [key.as_ref(), unreadable.as_ref(), "hidden", "sesame"] {
        assert!(!lines.contains(secret), "{secret} in {lines}");
    }
}

#[actix_web::test]
async fn each_operation_that_is_no_longer_refused_is_told() {
    let redis = TestRedis::start().await;
    redis.run::<()>("ACL SETUSER demo on >sesame ~session:* +@all");
    let log = Log::of_this_thread();
    let store = sealing::options(pool_at(&redis.url_as("demo:sesame@")))
        .user_field("user")
        .build();
    redis.run::<()>("ACL SETUSER demo -evalsha -eval");
    assert!(store.sessions_of("Ada").list().await.is_err());
    assert!(store.sessions_of("Ada").begin_login().await.is_err());
    redis.run::<()>("ACL SETUSER demo +evalsha +eval");
    assert!(store.sessions_of("Ada").list().await.is_ok());
    assert!(store.sessions_of("Ada").begin_login().await.is_ok());
    let lines = log.lines();
    let told = lines.iter().filter(|it| it.contains("no longer refuses"));
    assert_eq!(told.count(), 2, "{lines:#?}");
}
