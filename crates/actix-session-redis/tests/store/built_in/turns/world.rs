use std::collections::{BTreeMap, BTreeSet};

use actix_session_redis::deadpool_redis::redis::{self, Value, from_redis_value};

use crate::support::{
    redis::TestRedis,
    sessions::{State, hash_of, session_key},
};

/// What Redis holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct World {
    /// Sessions as this store lays them out, by their Redis keys.
    pub(super) ours: BTreeMap<String, Ours>,
    /// Sessions as the built-in store lays them out, copies of ours among them, by their session keys.
    pub(super) theirs: BTreeMap<String, State>,
    /// Keys that never expire.
    pub(super) eternal: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ours {
    pub(super) state: State,
    /// The session key of its copy.
    pub(super) copy: Option<String>,
}

/// All keys, with their TTL and what they hold, in one reply.
const ALL: &str = "
    local all = {}
    for _, key in ipairs(redis.call('KEYS', '*')) do
        local type, held = redis.call('TYPE', key).ok, {}
        if type == 'hash' then
            held = redis.call('HGETALL', key)
        elseif type == 'string' then
            held = {redis.call('GET', key)}
        end
        all[#all + 1] = {key, redis.call('PTTL', key), held}
    end
    return all";

impl World {
    pub(super) fn of(redis: &TestRedis) -> Self {
        let mut world = Self::default();
        let all: Vec<Value> = redis.query(redis::cmd("EVAL").arg(ALL).arg(0));
        for key in all {
            let (key, pttl, held) = from_redis_value(key).unwrap();
            world.add(key, pttl, held);
        }
        world
    }

    fn add(&mut self, key: String, pttl: i64, held: Vec<Vec<u8>>) {
        if pttl < 0 {
            self.eternal.insert(key.clone());
        }
        if !key.starts_with("session:") {
            let state = serde_json::from_slice(&held[0]).unwrap();
            self.theirs.insert(key, state);
        } else if !key.contains('{') {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let pairs: BTreeMap<_, _> = held.chunks(2).map(|pair| (&*pair[0], &*pair[1])).collect();
            let fields = pairs
                .iter()
                .filter(|(field, _)| !field.starts_with(b"\xFF"));
            let state = fields
                .map(|(field, value)| (text(field), text(value)))
                .collect();
            let copy = pairs.get(&b"\xFFcopy"[..]).map(|key| text(key));
            if pairs.contains_key(&b"\xFFborn"[..]) {
                self.ours.insert(key, Ours { state, copy });
            }
        }
    }

    /// The state of a session as this store has it, if that is another one than there.
    pub(super) fn ours(&self, key: &str) -> Option<&State> {
        let ours = self.ours.get(&hash_of(&session_key(key)));
        ours.map(|ours| &ours.state)
    }

    pub(super) fn theirs(&self, key: &str) -> Option<&State> {
        self.theirs.get(key)
    }
}
