use std::{rc::Rc, time::Duration};

use actix_session::storage::{SessionKey, SessionStore, UpdateError};
use actix_session_redis::{Error, RedisSessionStore, RedisSessionStoreBuilder};
use futures_util::{FutureExt, future::join_all};

use crate::support::{
    proxy::{Fate, Proxy},
    redis::TestRedis,
    scope::in_a_request,
    sessions::{HOUR, State, Typed, copy, marker_of, session_key, state, state_of},
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

// A server that does not know the script.

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

// How it compares.

/// A stored state of exactly so many bytes.
fn body_of(length: usize, n: u8) -> Vec<u8> {
    let around = format!(r#"{{"n":"{n}","pad":""}}"#).len();
    format!(r#"{{"n":"{n}","pad":"{}"}}"#, "7".repeat(length - around)).into()
}

#[actix_web::test]
async fn a_base_of_any_length_is_recognised_as_unchanged_and_as_changed() {
    for length in [18, 4_095, 4_096, 4_097, 4_098, 100_000] {
        let redis = Rc::new(TestRedis::start().await);
        let proxy = Proxy::watching(&redis).await;
        let store = proxy.store_with(counting_n);
        let key = session_key("session");
        redis.put(&state_of(&key), &body_of(length, 1));
        count_up_twice_at_once(&store, &key).await; // The server learns the scripts.

        redis.put(&state_of(&key), &body_of(length, 1));
        let scripts = proxy.seen("EVALSHA").len();
        count_up(&store, &key).await;
        assert_n(&store, &key, "2").await;
        assert_eq!(proxy.seen("EVALSHA").len(), scripts + 1, "{length} bytes");

        let (server, same) = (Rc::clone(&redis), copy(&key));
        count_up_after(&store, &key, async move {
            server.put(&state_of(&same), &body_of(length, 5));
        })
        .await;
        assert_n(&store, &key, "6").await;
        assert_eq!(proxy.seen("EVALSHA").len(), scripts + 3, "{length} bytes");
    }
}

#[actix_web::test]
async fn a_large_base_does_not_travel_back() {
    let redis = TestRedis::start().await;
    let proxy = Proxy::watching(&redis).await;
    let store = proxy.store_with(counting_n);
    for length in [5_000, 100_000] {
        let saved = serde_json::from_slice(&body_of(length, 1)).unwrap();
        let key = store.save(saved, &HOUR).await.unwrap();
        // The first time, what is loaded was saved, and then, merged by Redis.
        for _ in 0..2 {
            assert_eq!(states_sent(&proxy, &store, &key, length).await, 1);
            count_up_twice_at_once(&store, &key).await;
        }
    }
}

#[actix_web::test]
async fn a_large_base_that_another_store_has_written_travels_back_once() {
    let redis = TestRedis::start().await;
    let proxy = Proxy::watching(&redis).await;
    let store = proxy.store_with(counting_n);
    let key = session_key("session");
    redis.put(&state_of(&key), &body_of(100_000, 1));
    assert_eq!(states_sent(&proxy, &store, &key, 100_000).await, 2);
    assert_eq!(states_sent(&proxy, &store, &key, 100_000).await, 1);
}

/// How many states of this length a write sends.
async fn states_sent(
    proxy: &Proxy,
    store: &RedisSessionStore,
    key: &SessionKey,
    length: usize,
) -> usize {
    count_up(store, key).await;
    proxy.seen("EVALSHA").last().unwrap().size / length
}

// How it merges.

/// What becomes of a session when one request sets `theirs` while another one sets `ours`.
async fn merged(base: &State, theirs: State, ours: State) -> State {
    let redis = TestRedis::start().await;
    let store = redis.store_with(counting_n);
    let key = store.save(base.clone(), &HOUR).await.unwrap();
    let (other, same) = (store.clone(), copy(&key));
    let changed = change(&store, &key, async move |state| {
        state.extend(ours);
        let changed = change(&other, &same, async |state| state.extend(theirs));
        changed.await.unwrap();
    });
    changed.await.unwrap();
    store.load(&key).await.unwrap().unwrap()
}

#[actix_web::test]
async fn texts_of_any_kind_survive_a_merge() {
    let odd: State = [
        ("", r#""""#),
        ("1", "null"),
        ("v", r#"{"state":[{}, [], 1e400, 0.1]}"#),
        ("안녕 \u{1f600}", "\"\u{1f600} \\ud83d\\ude00 \\u0000\""),
        ("\0\n\t\"\\/\u{7f}\u{2028}", "\"\0\n/\\/<script>\u{ffff}\""),
        ("number", "123456789012345678901234567890.0"),
        ("not JSON", "}{"),
    ]
    .map(|(field, value)| (field.to_owned(), value.to_owned()))
    .into();
    let both = merged(&odd, state("theirs", "1"), state("ours", "2")).await;
    let mut expected = odd.clone();
    expected.extend(state("theirs", "1"));
    expected.extend(state("ours", "2"));
    assert_eq!(both, expected);
    assert_eq!(
        merged(&state("n", "1"), state("x", "0"), odd.clone())
            .await
            .len(),
        9
    );
}

#[actix_web::test]
async fn a_counter_is_exact_however_large() {
    for base in [
        0,
        999_999_999_999_999,
        1 << 53,
        i64::MAX - 10,
        i64::MIN + 10,
    ] {
        let [base, theirs, ours, sum] = [0, -3, 5, 2].map(|n| state("n", &(base + n).to_string()));
        assert_eq!(merged(&base, theirs, ours).await, sum);
    }
    let changes = [i64::MIN, i64::MAX].map(|n| state("n", &n.to_string()));
    let [theirs, ours] = changes;
    assert_eq!(merged(&state("x", "0"), theirs, ours).await["n"], "-1");
}

#[actix_web::test]
async fn a_sum_that_is_no_json_integer_any_more_goes_to_the_later_writer() {
    let largest = state("n", &u64::MAX.to_string());
    assert_eq!(
        merged(&state("n", "0"), largest, state("n", "7")).await,
        state("n", "7")
    );
}

// A reply that is lost.

/// Loses the reply to the script when it runs for the n-th time, and lets something happen before
/// the next time.
async fn proxy_losing(
    redis: &TestRedis,
    n: usize,
    meanwhile: impl Future<Output = ()> + 'static,
) -> Proxy {
    let mut runs = 0;
    let mut meanwhile = Some(meanwhile.boxed_local());
    Proxy::before(redis, move |command| {
        runs += usize::from(command.is_script());
        match meanwhile.take_if(|_| runs > n) {
            Some(event) => Fate::ForwardAfter(event),
            None if command.is_script() && runs == n => Fate::LoseReply,
            None => Fate::Forward,
        }
    })
    .await
}

/// Redis that knows the scripts, and a session that has counted to 3.
async fn counted_to_3() -> (TestRedis, RedisSessionStore, SessionKey) {
    let redis = TestRedis::start().await;
    let store = redis.store_with(counting_n);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    count_up_twice_at_once(&store, &key).await;
    (redis, store, key)
}

#[actix_web::test]
async fn a_counter_is_not_counted_twice_when_the_reply_is_lost() {
    let (redis, store, key) = counted_to_3().await;
    let proxy = proxy_losing(&redis, 1, async {}).await;
    count_up(&proxy.store_with(counting_n), &key).await;
    assert_n(&store, &key, "4").await;
    assert_eq!(proxy.seen("EVALSHA").len(), 2);
}

#[actix_web::test]
async fn a_counter_is_not_counted_twice_when_others_count_before_the_retry() {
    let (redis, store, key) = counted_to_3().await;
    let (other, same) = (store.clone(), copy(&key));
    let proxy = proxy_losing(&redis, 1, async move { count_up(&other, &same).await }).await;
    count_up(&proxy.store_with(counting_n), &key).await;
    assert_n(&store, &key, "5").await;
}

#[actix_web::test]
async fn a_counter_is_not_counted_twice_when_the_reply_to_a_merged_write_is_lost() {
    let (redis, store, key) = counted_to_3().await;
    let (other, same) = (store.clone(), copy(&key));
    let proxy = proxy_losing(&redis, 2, async move { count_up(&other, &same).await }).await;
    let (other, same) = (store.clone(), copy(&key));
    let conflict = async move { count_up(&other, &same).await };
    count_up_after(&proxy.store_with(counting_n), &key, conflict).await;
    assert_n(&store, &key, "6").await;
}

#[actix_web::test]
async fn a_merge_function_is_not_applied_twice_when_the_reply_is_lost() {
    let appending = |options: RedisSessionStoreBuilder| {
        options.merge_field("log", |_, theirs, ours| {
            format!("{}{ours}", theirs.unwrap()).into()
        })
    };
    let redis = TestRedis::start().await;
    let store = redis.store_with(appending);
    let key = store.save(state("log", "0"), &HOUR).await.unwrap();
    let write = async |store: &RedisSessionStore, key: &SessionKey, log: &'static str| {
        let written = change(store, key, async |state| {
            drop(state.insert("log".into(), log.into()))
        });
        written.await.unwrap();
    };
    let (other, same) = (store.clone(), copy(&key));
    let meanwhile = async move { write(&other, &same, "2").await };
    // The first time, the server does not know the script.
    let proxy = proxy_losing(&redis, 2, meanwhile).await;
    write(&proxy.store_with(appending), &key, "1").await;
    assert_eq!(store.load(&key).await.unwrap(), Some(state("log", "2")));
}

#[actix_web::test]
async fn an_end_between_a_lost_reply_and_the_retry_is_an_end() {
    let (redis, store, key) = counted_to_3().await;
    let (other, same) = (store.clone(), copy(&key));
    let end = async move { other.delete(&same).await.unwrap() };
    let proxy = proxy_losing(&redis, 1, end).await;
    count_up(&proxy.store_with(counting_n), &key).await;
    assert_eq!(redis.sessions(), [""; 0]);
    assert_eq!(store.load(&key).await.unwrap(), None);
}

// What it leaves behind.

#[actix_web::test]
async fn the_receipt_of_a_declared_field_expires_a_minute_after_the_deadline() {
    let redis = TestRedis::start().await;
    let deadline = Duration::from_secs(60);
    let store = redis.store_with(|options| options.counter("n").deadline(deadline));
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    count_up(&store, &key).await;
    let receipts = redis.receipts();
    assert_eq!(receipts.len(), 1);
    assert!(receipts[0].starts_with(&format!("session:written:{{{}}}:", state_of(&key))));
    assert!((60_001..=120_000).contains(&redis.pttl(&receipts[0])));
}

#[actix_web::test]
async fn a_field_that_is_not_declared_leaves_no_receipt() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(|options| options.counter("other"));
    let mut session = state("n", "1");
    session.extend(state("other", "1"));
    let key = store.save(session, &HOUR).await.unwrap();
    count_up(&store, &key).await;
    assert_eq!(redis.keys(), [state_of(&key)]);
}

// What it may find.

#[actix_web::test]
async fn a_conflict_with_what_is_no_session_state_is_won() {
    type Spoil = fn(&TestRedis, &str);
    let spoil: [(&str, Spoil); 5] = [
        ("text", |redis, key| redis.put(key, b"no session state")),
        ("bytes", |redis, key| redis.put(key, &[0xff; 1_000])),
        ("number", |redis, key| redis.put(key, br#"{"n":1}"#)),
        ("list", |redis, key| redis.put(key, b"[]")),
        ("other type", |redis, key| {
            redis.run::<()>(&format!("DEL {key}"));
            redis.run::<()>(&format!("RPUSH {key} a b"));
        }),
    ];
    let mut before = state("n", "1");
    before.extend(state("name", "\"Ada\""));
    let mut after = before.clone();
    after.extend(state("n", "2"));
    let mut lost = Vec::new();
    for (what, spoil) in spoil {
        let redis = Rc::new(TestRedis::start().await);
        let store = redis.store();
        let key = store.save(before.clone(), &HOUR).await.unwrap();
        let (server, same) = (Rc::clone(&redis), copy(&key));
        let changed = change(&store, &key, async move |state| {
            state.insert("n".to_owned(), "2".to_owned());
            spoil(&server, &state_of(&same));
        });
        let changed = changed.await;
        let stored = store.load(&key).await.ok().flatten();
        if changed.is_err() || stored.as_ref() != Some(&after) {
            lost.push((what, changed, stored));
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}

#[actix_web::test]
async fn a_change_that_others_keep_getting_ahead_of_fails_at_the_deadline() {
    let redis = Rc::new(TestRedis::start().await);
    let key = redis.store().save(state("n", "1"), &HOUR).await.unwrap();
    let (server, same, mut n) = (Rc::clone(&redis), state_of(&key), 1);
    let proxy = Proxy::before(&redis, move |command| {
        if command.is_script() {
            n += 1;
            server.put(&same, format!(r#"{{"n":"{n}"}}"#).as_bytes());
        }
        Fate::Forward
    })
    .await;
    let store = proxy.store_with(|options| {
        let options = options.merge_field("m", |_, _, ours| ours.clone());
        options.deadline(Duration::from_millis(200))
    });
    let changed = change(&store, &key, async |state| {
        drop(state.insert("m".into(), "1".into()))
    });
    let error = changed.await.unwrap_err().typed();
    assert_matches!(error, Error::Contended { tries: 2.. });
    assert!(redis.value(&marker_of(&key)).is_none());
}
