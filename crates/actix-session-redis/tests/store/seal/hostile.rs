use std::time::Duration;

use actix_session::storage::{SessionKey, SessionStore as _};
use actix_session_redis::{AtLimit, Error, RedisSessionStore, SessionId};

use super::{A, B, builder, fields, load_error, put, ring};
use crate::support::{
    app::{Setup, TestApp},
    redis::{TestRedis, pool_at},
    rights,
    sessions::{HOUR, hash_of, session_key, state, tombstone_of},
};

fn store(redis: &TestRedis) -> RedisSessionStore {
    let options = builder(redis).user_field("user").label_field("user");
    options
        .seal(ring(&[A]))
        .deadline(Duration::from_secs(20))
        .build()
}

async fn of_ada(store: &RedisSessionStore) -> SessionKey {
    store.save(state("user", "\"Ada\""), &HOUR).await.unwrap()
}

/// Puts a tombstone there that somebody else has left.
fn put_tombstone(redis: &TestRedis, of: &SessionKey, successor: &str) {
    let tombstone = tombstone_of(of);
    redis.put(
        &tombstone,
        ["0123456789abcdef", successor].concat().as_bytes(),
    );
    redis.run::<i64>(&format!("EXPIRE {tombstone} 300"));
}

#[actix_web::test]
async fn tombstones_that_tell_of_each_other_keep_nobody_busy() {
    let redis = TestRedis::start().await;
    let store = store(&redis);
    let [one, other, lone] = [
        of_ada(&store).await,
        of_ada(&store).await,
        of_ada(&store).await,
    ];
    for (from, to) in [(&one, &other), (&other, &one), (&lone, &lone)] {
        redis.run::<i64>(&format!("DEL {}", hash_of(from)));
        put_tombstone(&redis, from, SessionId::of(to).as_ref());
    }
    let before = redis.command_count("evalsha");
    for key in [&one, &other, &lone] {
        store.delete(key).await.unwrap();
    }
    assert_eq!(store.sessions_of("Ada").end_all().await.unwrap(), 0);
    let scripts = redis.command_count("evalsha") - before;
    assert!(scripts < 30, "{scripts}");
}

/// An end that takes until the deadline would count as an outage, if nobody else asks meanwhile.
#[actix_web::test]
async fn thousands_of_tombstones_that_tell_of_the_next_are_no_outage() {
    let redis = TestRedis::start().await;
    let options = builder(&redis).deadline(Duration::from_millis(200));
    let store = options.seal(ring(&[A])).build();
    let key = |n: u32| session_key(&format!("{n:0>64}"));
    for n in 0..5000 {
        put_tombstone(&redis, &key(n), SessionId::of(&key(n + 1)).as_ref());
    }
    let deleted = store.delete(&key(0)).await.unwrap_err();
    let error = deleted.downcast_ref::<Error>();
    assert!(matches!(error, Some(Error::Contended { .. })), "{error:?}");
    assert_eq!(store.load(&key(9999)).await.unwrap(), None);
}

#[actix_web::test]
async fn a_session_with_a_tombstone_that_somebody_else_has_put_there_is_ended_all_the_same() {
    let redis = TestRedis::start().await;
    let store = store(&redis);
    let (setup, nobody) = (Setup::consistent(), "A".repeat(43));
    let app = TestApp::with(store.clone(), &setup);
    for successor in ["", "junk", &nobody, "no text at all"] {
        let put_there = |key: &SessionKey| match successor {
            "no text at all" => {
                let _: i64 = redis.run(&format!("RPUSH {} junk", tombstone_of(key)));
            }
            _ => put_tombstone(&redis, key, successor),
        };
        let key = of_ada(&store).await;
        put_there(&key);
        store.sessions_of("Ada").end_all().await.unwrap();
        assert_eq!(store.load(&key).await.unwrap(), None, "{successor:?}");

        let key = of_ada(&store).await;
        put_there(&key);
        let ended = store.sessions_of("Ada").end(&SessionId::of(&key)).await;
        // As of every tombstone, it is what has taken its place that counts.
        assert!(ended.unwrap() || ["junk", &nobody].contains(&successor));
        assert_eq!(store.load(&key).await.unwrap(), None, "{successor:?}");

        let key = of_ada(&store).await;
        put_there(&key);
        let browser = app.browser_with_cookie(setup.signed_cookie(key.as_ref()));
        assert_eq!(browser.get("/purge").await.status, 200);
        assert_eq!(store.load(&key).await.unwrap(), None, "{successor:?}");
    }
    // Of others, it ends nothing.
    let of_bob = store.save(state("user", "\"Bob\""), &HOUR).await.unwrap();
    put_tombstone(&redis, &of_bob, "");
    let handle = SessionId::of(&of_bob);
    assert!(!store.sessions_of("Ada").end(&handle).await.unwrap());
    assert!(store.load(&of_bob).await.unwrap().is_some());
}

/// In `how_often` requests.
async fn connections_of<T>(
    redis: &TestRedis,
    how_often: usize,
    request: impl AsyncFn() -> T,
) -> u64 {
    let before = redis.connections_made();
    for _ in 0..how_often {
        request().await;
    }
    redis.connections_made() - before
}

#[actix_web::test]
async fn a_session_that_does_not_open_costs_one_connection_however_often_it_is_asked_for() {
    let redis = TestRedis::start().await;
    let store = store(&redis);
    let [one, other, third] = [
        of_ada(&store).await,
        of_ada(&store).await,
        of_ada(&store).await,
    ];
    let (before, moved) = (fields(&redis, &one), fields(&redis, &third));
    put(&redis, &one, b"user", &moved[&b"user"[..]]);
    let asked = connections_of(&redis, 20, async || load_error(&store, &one).await);
    assert_eq!(asked.await, 1);
    // Such a session opens, only without its label.
    put(&redis, &other, b"\xFFlabel", &moved[&b"\xFFlabel"[..]]);
    let asked = connections_of(&redis, 20, async || store.load(&other).await.unwrap());
    assert_eq!(asked.await, 1);
    // When it is mended, nothing of that is left.
    put(&redis, &one, b"user", &before[&b"user"[..]]);
    assert!(store.load(&one).await.unwrap().is_some());
}

#[actix_web::test]
async fn many_sessions_that_do_not_open_are_listed_and_make_room_at_the_cost_of_one_connection() {
    let redis = TestRedis::start().await;
    let store = store(&redis);
    let first = of_ada(&store).await;
    let label = fields(&redis, &first)[&b"\xFFlabel"[..]].clone();
    for _ in 0..60 {
        let key = of_ada(&store).await;
        put(&redis, &key, b"\xFFlabel", &label);
    }
    let list = async || store.sessions_of("Ada").list().await.unwrap().len();
    assert_eq!(connections_of(&redis, 1, list).await, 1);
    let options = builder(&redis).user_field("user");
    let limited = options
        .session_limit(61, AtLimit::EndOldest)
        .seal(ring(&[A]))
        .deadline(Duration::from_secs(20))
        .build();
    of_ada(&limited).await;
    assert_eq!(store.load(&first).await.unwrap(), None);
    assert_eq!(store.sessions_of("Ada").list().await.unwrap().len(), 61);
}

#[actix_web::test]
async fn a_lifetime_that_redis_cannot_add_to_the_time_leaves_no_session_that_never_ends() {
    let redis = TestRedis::start().await;
    let store = store(&redis);
    let setup = Setup::consistent();
    let app = TestApp::with(store.clone(), &setup);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    put(&redis, &key, b"\xFFlifetime", b"9223372036854775807");
    let browser = app.browser_with_cookie(setup.signed_cookie(key.as_ref()));
    for path in ["/read", "/count", "/renew", "/renew"] {
        assert_eq!(browser.get(path).await.status, 200, "{path}");
    }
    for key in redis.keys() {
        assert!((1..=3_600_000).contains(&redis.pttl(&key)), "{key}");
    }
}

/// That is in the documentation, too: where it ends, sealing does not help.
#[actix_web::test]
async fn while_clear_text_is_accepted_sealed_sessions_are_made_to_say_anything() {
    let redis = TestRedis::start().await;
    let key = store(&redis).save(state("admin", "false"), &HOUR).await;
    let key = key.unwrap();
    put(&redis, &key, b"admin", b"true");
    let error = load_error(&store(&redis), &key).await;
    assert!(matches!(error, Error::Unsealed));
    let migrating = builder(&redis).seal(ring(&[A])).accept_unsealed(true);
    let only_reading = builder(&redis).seal(ring(&[A]).only_reads());
    for options in [migrating, only_reading] {
        let loaded = options.build().load(&key).await.unwrap();
        assert_eq!(loaded, Some(state("admin", "true")));
    }
}

/// So is that: to the seal, these are one application.
#[actix_web::test]
async fn stores_with_the_same_keys_and_prefix_open_each_others_sessions_wherever_they_are() {
    let redis = TestRedis::start().await;
    let key = store(&redis).save(state("admin", "true"), &HOUR).await;
    let key = key.unwrap();
    let hash = hash_of(&key);
    assert_eq!(redis.run::<i64>(&format!("COPY {hash} {hash} DB 1")), 1);
    redis.run::<()>(&rights::grant(&rights::needed_if(
        "the URL names a database",
    )));
    let at = |keys: &[[u8; 32]]| {
        let pool = pool_at(&format!("{}/1", redis.store_url()));
        RedisSessionStore::builder(pool).seal(ring(keys)).build()
    };
    let same = at(&[A]).load(&key).await.unwrap();
    assert_eq!(same, Some(state("admin", "true")));
    let error = load_error(&at(&[B]), &key).await;
    assert!(matches!(error, Error::UnknownSealKey { .. }));
}
