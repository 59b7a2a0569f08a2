use std::{rc::Rc, time::Duration};

use actix_session::storage::SessionStore;
use actix_session_redis::Error;

use super::{change, counting_n};
use crate::support::{
    proxy::{Fate, Proxy},
    redis::TestRedis,
    sessions::{HOUR, State, Typed, copy, marker_of, state, state_of},
};

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

#[actix_web::test]
async fn a_conflict_with_what_is_no_session_state_is_won() {
    type Spoil = fn(&TestRedis, &str);
    let spoil: [(&str, Spoil); 7] = [
        ("nothing", |redis, key| redis.put(key, b"")),
        ("text", |redis, key| redis.put(key, b"no session state")),
        ("bytes", |redis, key| redis.put(key, &[0xff; 1_000])),
        ("number", |redis, key| redis.put(key, br#"{"n":1}"#)),
        ("no text", |redis, key| redis.put(key, b"{\"x\":\"\xff\"}")),
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
