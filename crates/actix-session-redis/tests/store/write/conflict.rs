use std::{
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use actix_session::storage::{SessionKey, SessionStore};
use actix_session_redis::Error;

use futures_util::future::join;

use super::{assert_n, change, count_up, counting_n};
use crate::support::{
    eventually, on_a_worker,
    proxy::{Command, Fate, Proxy},
    redis::TestRedis,
    sessions::{HOUR, State, Typed, copy, hash_of, state},
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
async fn what_is_no_session_any_more_is_left_alone() {
    for declared in [false, true] {
        let redis = Rc::new(TestRedis::start().await);
        let store = redis.store_with(|options| match declared {
            true => counting_n(options),
            false => options,
        });
        let key = store.save(state("n", "1"), &HOUR).await.unwrap();
        let (server, same) = (Rc::clone(&redis), hash_of(&key));
        let changed = change(&store, &key, async move |state| {
            state.insert("n".to_owned(), "2".to_owned());
            server.run::<()>(&format!("DEL {same}"));
            server.run::<()>(&format!("RPUSH {same} a b"));
        });
        assert_eq!(changed.await.unwrap(), key);
        let left: Vec<String> = redis.run(&format!("LRANGE {} 0 -1", hash_of(&key)));
        assert_eq!(left, ["a", "b"]);
    }
}

#[actix_web::test]
async fn a_counter_that_is_spelled_in_another_way_is_added_to() {
    for (theirs, sum) in [("-0", "5"), ("-7", "-2")] {
        let both = merged(&state("n", "0"), state("n", theirs), state("n", "5")).await;
        assert_eq!(both, state("n", sum), "{theirs}");
    }
}

#[actix_web::test]
async fn a_counted_write_that_redis_refuses_for_now_waits() {
    let redis = Rc::new(TestRedis::start().await);
    let store = redis.store_with(counting_n);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    redis.run::<()>("CONFIG SET min-replicas-to-write 1");
    let enough_replicas = async {
        let told = || redis.error_count("NOREPLICAS") > 0;
        eventually("it is told that there are too few replicas", told).await;
        redis.run::<()>("CONFIG SET min-replicas-to-write 0");
    };
    join(count_up(&store, &key), enough_replicas).await;
    assert_n(&store, &key, "2").await;
}

async fn others_change_m_before_each_script(redis: &Rc<TestRedis>, key: &SessionKey) -> Proxy {
    let (server, session, mut n) = (Rc::clone(redis), hash_of(key), 1);
    let change = move |command: &Command| {
        if command.is_script() {
            n += 1;
            server.put_in_session(&session, &[(b"m", n.to_string().as_bytes())]);
        }
        Fate::Forward
    };
    Proxy::before(redis, change).await
}

#[actix_web::test]
async fn a_change_that_others_keep_getting_ahead_of_fails_at_the_deadline() {
    let redis = Rc::new(TestRedis::start().await);
    let key = redis.store().save(state("m", "1"), &HOUR).await.unwrap();
    let proxy = others_change_m_before_each_script(&redis, &key).await;
    let store = proxy.store_with(|options| {
        let options = options.merge_field("m", |_, _, ours| ours.clone());
        options.deadline(Duration::from_millis(200))
    });
    let changed = change(&store, &key, async |state| {
        drop(state.insert("m".into(), "0".into()))
    });
    let error = changed.await.unwrap_err().typed();
    assert_matches!(error, Error::Contended { tries: 2.. });
    assert_eq!(redis.keys(), [hash_of(&key)]);
}

/// Its thread is blocked: by the function of the application, in the middle of a write.
#[actix_web::test]
async fn whoever_waits_in_vain_for_another_writer_is_no_outage() {
    let redis = Rc::new(TestRedis::start().await);
    let base = [("held", "0"), ("m", "1")].map(|(field, json)| (field.into(), json.into()));
    let key = redis.store().save(base.into(), &HOUR).await.unwrap();
    let proxy = others_change_m_before_each_script(&redis, &key).await;
    let is_held = Arc::new(AtomicBool::new(false));
    let (release, released) = mpsc::channel::<()>();
    let (holds, released) = (Arc::clone(&is_held), Mutex::new(released));
    let store = proxy.store_with(|options| {
        let options = options.merge_field("m", |_, _, ours| ours.clone());
        let options = options.merge_field("held", move |_, _, ours| {
            holds.store(true, SeqCst);
            let _ = released.lock().unwrap().recv();
            ours.clone()
        });
        options.deadline(Duration::from_secs(1))
    });
    let (theirs, their_key) = (store.clone(), copy(&key));
    let holder = on_a_worker(move || async move {
        let (other, same) = (theirs.clone(), copy(&their_key));
        let changed = change(&theirs, &their_key, async move |state| {
            let set = async |state: &mut State| drop(state.insert("held".into(), "1".into()));
            change(&other, &same, set).await.unwrap();
            state.insert("held".into(), "2".into());
        });
        let _ = changed.await;
    });
    let others = async {
        eventually("it is held", || is_held.load(SeqCst)).await;
        let changed = change(&store, &key, async |state| {
            drop(state.insert("m".into(), "0".into()))
        });
        let error = changed.await.unwrap_err().typed();
        assert_matches!(error, Error::Contended { tries: 2.. });
        assert!(store.load(&key).await.is_ok());
        drop(release);
    };
    join(holder, others).await;
}
