//! The stores of these tests, and what all of them stand on.

/// Counters and merge functions, which Redis does not see.
mod counters;
/// What a store does not accept that was written by somebody else.
mod forged;
/// What whoever writes to Redis cannot do to requests.
mod hostile;
/// What makes a key ring, and what does not.
mod key_ring;
/// Replies that got out of step: nobody sees what is somebody else's.
mod out_of_step;
/// Nothing that sessions hold can be read in Redis.
mod readers;
/// Keys are changed, and nobody is logged out.
mod rotation;
/// The sessions of a user, whose name depends on a key.
mod users;

use std::collections::BTreeMap;

use actix_session::storage::{SessionKey, SessionStore as _};
use actix_session_redis::{Error, KeyRing, RedisSessionStore, RedisSessionStoreBuilder};

use crate::support::{
    redis::TestRedis,
    sessions::{Typed, hash_of},
};

const A: [u8; 32] = [b'a'; 32];
const B: [u8; 32] = [b'b'; 32];
const C: [u8; 32] = [b'c'; 32];

fn ring(keys: &[[u8; 32]]) -> KeyRing {
    KeyRing::new(keys).unwrap()
}

/// Never more than that, whatever the other tests are run with.
fn builder(redis: &TestRedis) -> RedisSessionStoreBuilder {
    RedisSessionStore::builder(redis.pool())
}

fn sealed(redis: &TestRedis, keys: &[[u8; 32]]) -> RedisSessionStore {
    builder(redis).seal(ring(keys)).build()
}

/// What Redis holds of a session.
type Fields = BTreeMap<Vec<u8>, Vec<u8>>;

fn fields(redis: &TestRedis, key: &SessionKey) -> Fields {
    redis.run(&format!("HGETALL {}", hash_of(key)))
}

fn put(redis: &TestRedis, key: &SessionKey, field: &[u8], value: &[u8]) {
    redis.put_fields(&hash_of(key), &[(field, value)]);
}

async fn load_error(store: &RedisSessionStore, key: &SessionKey) -> Error {
    let loaded = store.load(key).await;
    loaded.map_err(Typed::typed).expect_err("it does not open")
}

/// The id of the key that a value is sealed with.
fn key_id(value: &[u8]) -> String {
    assert_eq!(value[0], 0xF9, "{value:?} is sealed");
    value[1..5]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// As `Debug` shows them.
fn ids(keys: &[[u8; 32]]) -> Vec<String> {
    let shown = format!("{:?}", ring(keys));
    let (_, ids) = shown.split_once('[').unwrap();
    let (ids, _) = ids.split_once(']').unwrap();
    ids.split(", ").map(str::to_owned).collect()
}

/// With which keys what Redis holds of a session is sealed: all values, and our own fields that are.
fn sealed_with(redis: &TestRedis, key: &SessionKey) -> Vec<String> {
    let mut ids: Vec<_> = fields(redis, key)
        .into_iter()
        .filter(|(field, _)| {
            !field.starts_with(b"\xFF") || [&b"\xFFborn"[..], b"\xFFlabel"].contains(&&**field)
        })
        .map(|(_, value)| key_id(&value))
        .collect();
    ids.sort();
    ids.dedup();
    ids
}

/// Lets Redis do to a session what the store never would.
fn copy_session(redis: &TestRedis, from: &SessionKey, to: &SessionKey) {
    let (from, to) = (hash_of(from), hash_of(to));
    assert_eq!(redis.run::<i64>(&format!("COPY {from} {to} REPLACE")), 1);
}
