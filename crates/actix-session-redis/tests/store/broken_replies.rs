//! Fifty sessions are in use at once on one connection when something happens to it.

use std::time::Duration;

use actix_session::storage::{SessionKey, SessionStore};
use actix_session_redis::RedisSessionStore;
use futures_util::future::{join, join_all};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::{
    eventually,
    proxy::{Command, Fate, Proxy},
    redis::TestRedis,
    sessions::{HOUR, State, copy, state},
    tally::Tally,
};

/// How often it happens, and how long the requests wait at most.
struct Trial {
    /// To which of the commands it happens.
    struck: &'static [usize],
    deadline: Duration,
}

/// Whoever is told that the connection is broken loses no time.
const BREAKS: Trial = Trial {
    struck: &[20, 70, 120],
    deadline: PATIENT,
};

/// Whoever is told nothing waits for three eighths of the deadline: time for an answer, even from the
/// busiest machine.
const FALLS_SILENT: Trial = Trial {
    struck: &[20],
    deadline: Duration::from_secs(8),
};

const PATIENT: Duration = Duration::from_secs(60);

/// How often each visitor reads the session and changes it.
const ROUNDS: usize = 3;

/// What no other session ever holds.
fn marker(visitor: usize, round: usize) -> State {
    state("marker", &format!("\"visitor {visitor}, round {round}\""))
}

async fn fifty_sessions(redis: &TestRedis) -> Vec<SessionKey> {
    let store = redis.store();
    let saves = (0..50).map(|visitor| store.save(marker(visitor, 0), &HOUR));
    let saved = join_all(saves).await;
    let keys: Vec<_> = saved.into_iter().map(Result::unwrap).collect();
    // Redis learns the script, so that each change is one command from now on.
    let same = store.update(copy(&keys[0]), marker(0, 0), &HOUR).await;
    same.unwrap();
    keys
}

/// No request fails, and each is answered with its own session.
async fn use_at_once(tally: &Tally, store: &RedisSessionStore, sessions: &[SessionKey]) {
    let visits = sessions.iter().enumerate().map(async |(visitor, key)| {
        for round in 0..ROUNDS {
            let loaded = tally.send(store.load(key)).await.unwrap();
            assert_eq!(loaded, Some(marker(visitor, round)));
            let changed = marker(visitor, round + 1);
            let update = store.update(copy(key), changed, &HOUR);
            assert_eq!(tally.send(update).await.unwrap(), *key);
        }
    });
    join_all(visits).await;
}

/// Redis holds what each visitor has left there.
async fn assert_all_is_stored(tally: &Tally, redis: &TestRedis, sessions: &[SessionKey]) {
    let store = redis.store();
    for (visitor, key) in sessions.iter().enumerate() {
        let stored = store.load(key).await.unwrap();
        tally.check(stored, Some(marker(visitor, ROUNDS)));
    }
}

/// Nobody notices, and a connection is replaced each time that it breaks.
async fn assert_is_survived(
    tally: &Tally,
    Trial { struck, deadline }: Trial,
    concerns: impl Fn(&Command) -> bool + 'static,
    fault: impl Fn() -> Fate + 'static,
) {
    let redis = TestRedis::start().await;
    let sessions = fifty_sessions(&redis).await;
    let mut count = 0;
    let proxy = Proxy::before(&redis, move |command| {
        count += usize::from(concerns(command));
        if concerns(command) && struck.contains(&count) {
            return fault();
        }
        Fate::Forward
    })
    .await;
    let store = proxy.store_with(|options| options.deadline(deadline));
    let before = redis.connections_made();
    use_at_once(tally, &store, &sessions).await;
    let made = redis.connections_made() - before;
    assert_eq!(made, 1 + struck.len() as u64);
    eventually("one connection is left", || redis.client_count() == 1).await;
    assert_all_is_stored(tally, &redis, &sessions).await;
}

fn any_for_a_session(command: &Command) -> bool {
    read(command) || command.is_script()
}

fn read(command: &Command) -> bool {
    command.name() == "HGETALL"
}

#[actix_web::test]
async fn a_connection_that_falls_silent_is_replaced() {
    let tally = Tally::of_this_test();
    assert_is_survived(&tally, FALLS_SILENT, any_for_a_session, || Fate::Silence).await;
}

#[actix_web::test]
async fn a_connection_that_is_closed_is_replaced() {
    let tally = Tally::of_this_test();
    assert_is_survived(&tally, BREAKS, any_for_a_session, || Fate::LoseReply).await;
}

#[actix_web::test]
async fn a_connection_that_is_reset_is_replaced() {
    let tally = Tally::of_this_test();
    assert_is_survived(&tally, BREAKS, any_for_a_session, || Fate::Reset).await;
}

#[actix_web::test]
async fn a_connection_that_breaks_in_the_middle_of_a_reply_is_replaced() {
    let tally = Tally::of_this_test();
    assert_is_survived(&tally, BREAKS, any_for_a_session, || Fate::CutReply).await;
}

/// Chance, and what is not Redis at all.
fn garbage() -> Vec<Vec<u8>> {
    let random = (0..8).map(|seed| {
        let mut bytes = vec![0; 64];
        StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
        bytes
    });
    let http = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    let tls_alert = vec![21, 3, 1, 0, 2, 2, 70];
    let not_utf8 = b"+\xff\r\n".to_vec();
    let bottomless = b"*1\r\n".repeat(1_000);
    random
        .chain([http, tls_alert, not_utf8, bottomless])
        .collect()
}

#[actix_web::test]
async fn a_connection_that_brings_garbage_is_replaced() {
    let tally = Tally::of_this_test();
    for garbage in garbage() {
        let brings_it = move || Fate::Reply(garbage.clone());
        assert_is_survived(&tally, BREAKS, any_for_a_session, brings_it).await;
    }
}

#[actix_web::test]
async fn a_connection_that_announces_more_than_ever_comes_is_replaced() {
    let tally = Tally::of_this_test();
    let bytes = || Fate::Reply(b"$9223372036854775807\r\n".to_vec());
    let replies = || Fate::Reply(b"*9223372036854775807\r\n".to_vec());
    join(
        assert_is_survived(&tally, FALLS_SILENT, any_for_a_session, bytes),
        assert_is_survived(&tally, FALLS_SILENT, any_for_a_session, replies),
    )
    .await;
}

#[actix_web::test]
async fn a_connection_that_brings_a_reply_of_the_wrong_type_is_replaced() {
    let tally = Tally::of_this_test();
    assert_is_survived(&tally, BREAKS, read, || Fate::Reply(b":7\r\n".to_vec())).await;
    let text = || Fate::Reply(b"+yes\r\n".to_vec());
    assert_is_survived(&tally, BREAKS, Command::is_script, text).await;
}

/// All commands take their time, and none is sent twice, on one connection.
async fn assert_is_waited_for(fate: impl FnMut(&Command) -> Fate + 'static, deadline: Duration) {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let sessions = fifty_sessions(&redis).await;
    let proxy = Proxy::before(&redis, fate).await;
    let store = proxy.store_with(|options| options.deadline(deadline));
    let before = redis.connections_made();
    use_at_once(&tally, &store, &sessions).await;
    assert_eq!(redis.connections_made(), before + 1);
    for command in ["HGETALL", "EVALSHA"] {
        assert_eq!(proxy.seen(command).len(), 50 * ROUNDS);
    }
    assert_all_is_stored(&tally, &redis, &sessions).await;
}

#[actix_web::test]
async fn an_answer_that_takes_200_milliseconds_is_waited_for() {
    let latency = Duration::from_millis(200);
    let default = Duration::from_secs(2);
    assert_is_waited_for(move |_| Fate::Latency(latency), default).await;
}

#[actix_web::test]
async fn an_answer_that_comes_byte_by_byte_is_waited_for() {
    let mut count = 0;
    let every_tenth = move |_: &Command| {
        count += 1;
        if count % 10 == 0 {
            Fate::Dribble
        } else {
            Fate::Forward
        }
    };
    assert_is_waited_for(every_tenth, PATIENT).await;
}

/// Replies have no names: an additional one is nobody's only as long as nobody waits for another.
#[actix_web::test]
async fn a_reply_that_nobody_has_asked_for_is_nobodys() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let sessions = fifty_sessions(&redis).await;
    let mut first = true;
    let proxy = Proxy::before(&redis, move |command| {
        if read(command) && std::mem::take(&mut first) {
            let another = b"*2\r\n$5\r\n\xFFborn\r\n$1\r\n0\r\n";
            return Fate::Reply([b"*0\r\n", &another[..]].concat());
        }
        Fate::Forward
    })
    .await;
    let store = proxy.store();
    let loaded = tally.send(store.load(&sessions[0])).await;
    assert_eq!(loaded.unwrap(), None);
    use_at_once(&tally, &store, &sessions).await;
    assert_all_is_stored(&tally, &redis, &sessions).await;
}
