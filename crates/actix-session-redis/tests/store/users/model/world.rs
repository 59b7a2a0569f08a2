use std::collections::{BTreeMap, BTreeSet};

use actix_session_redis::deadpool_redis::redis::{self, Value, from_redis_value};

use testbed::Server;

use super::{
    lane::MONTH,
    plan::{USERS, User},
};
use crate::support::sealing;

/// What Redis holds.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) sessions: BTreeMap<String, Held>,
    pub(super) indexes: BTreeMap<User, Index>,
    /// Of which sessions there are tombstones.
    pub(super) tombstones: BTreeSet<String>,
    /// Keys that never expire.
    pub(super) eternal: Vec<String>,
    /// In milliseconds since 1970, when this was seen.
    now: i64,
}

/// A session.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// What its state holds for the user. It is opened when somebody asks for it: a session that is
    /// there before its request is answered has a key that nobody knows yet.
    user: Option<Vec<u8>>,
    /// By our own field.
    pub(super) owner: Option<User>,
    /// When it ends.
    pub(super) ends: i64,
}

impl Held {
    /// By its state. Nobody's, if nobody has come to know its key: a renewal has been undone, or a login
    /// was void. [`World::check_index`] makes sure that none of these is left in the end.
    fn user(&self, id: &str) -> Option<User> {
        let session = format!("session:{id}");
        let json = sealing::open(&session, b"user", self.user.as_ref()?)?;
        Some(serde_json::from_slice(&json).unwrap())
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    pub(super) entered: BTreeMap<String, i64>,
    pub(super) until: BTreeMap<String, i64>,
    /// When the keys end.
    pub(super) ends: Vec<i64>,
}

/// All keys, with their TTL and what they hold, in one reply.
const ALL: &str = "
    local time = redis.call('TIME')
    local all = {time[1] * 1000 + math.floor(time[2] / 1000)}
    for _, key in ipairs(redis.call('KEYS', '*')) do
        local type, held = redis.call('TYPE', key).ok, {}
        if type == 'hash' then
            held = redis.call('HGETALL', key)
        elseif type == 'zset' then
            held = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
        end
        all[#all + 1] = {key, redis.call('PTTL', key), held}
    end
    return all";

impl World {
    pub(super) fn of<'a>(servers: impl IntoIterator<Item = &'a Server>) -> Self {
        let mut world = Self::default();
        for server in servers {
            let all = redis::cmd("EVAL").arg(ALL).arg(0).take();
            let mut all = server.try_query::<Vec<Value>>(&all).unwrap().into_iter();
            world.now = from_redis_value(all.next().unwrap()).unwrap();
            for key in all {
                let (key, pttl, held) = from_redis_value(key).unwrap();
                world.add(key, pttl, held);
            }
        }
        world
    }

    fn add(&mut self, key: String, pttl: i64, held: Vec<Vec<u8>>) {
        if pttl < 0 {
            self.eternal.push(key.clone());
        }
        let ends = self.now + pttl;
        let name = key.strip_prefix("session:").unwrap();
        let pairs: BTreeMap<_, _> = held.chunks(2).map(|pair| (&*pair[0], &*pair[1])).collect();
        if let Some(tombstone) = name.strip_prefix("ended:{session:") {
            self.tombstones
                .insert(tombstone[..tombstone.len() - 1].to_owned());
        } else if let Some((which, user)) = name.split_once(":{") {
            let user = USERS
                .into_iter()
                .find(|it| name_of(*it) == user[..user.len() - 1]);
            let Some(user) = user else { return };
            let half: fn(&mut Index) -> &mut BTreeMap<String, i64> = match which {
                "user" => |index| &mut index.entered,
                "user-until" => |index| &mut index.until,
                _ => return,
            };
            let scores = pairs
                .into_iter()
                .map(|(id, score)| (text(id), text(score).parse::<f64>().unwrap() as i64));
            let index = self.indexes.entry(user).or_default();
            *half(index) = scores.collect();
            index.ends.push(ends);
        } else if pairs.contains_key(&b"\xFFborn"[..]) {
            let user = pairs.get(&b"user"[..]).map(|value| value.to_vec());
            let owner = pairs.get(&b"\xFFuser"[..]).map(|mark| text(mark));
            let owner =
                owner.and_then(|mark| USERS.into_iter().find(|it| mark.starts_with(&name_of(*it))));
            self.sessions
                .insert(name.to_owned(), Held { user, owner, ends });
        }
    }

    pub(super) fn is_entered(&self, id: &str, user: User) -> bool {
        let index = self.indexes.get(&user);
        index.is_some_and(|it| it.entered.contains_key(id) && it.until.contains_key(id))
    }

    /// Every session that names a user says so itself, and is in that user's index.
    pub(super) fn check_index(&self, is_exempt: impl Fn(&str) -> bool) -> Result<(), String> {
        for (id, held) in &self.sessions {
            if is_exempt(id) {
                continue;
            }
            let user = held.user(id);
            let is_known = held.user.is_none() || user.is_some();
            ensure!(is_known, "nobody knows the session key of {id}");
            ensure!(
                user == held.owner,
                "{id} is of {user:?} by its state, and of {:?} by our field",
                held.owner
            );
            let Some(user) = user else { continue };
            ensure!(
                self.is_entered(id, user),
                "{id} is not in the index of {user:?}"
            );
        }
        Ok(())
    }

    /// Every key expires, and no session outlives its entry.
    pub(super) fn check_keys(&self) -> Result<(), String> {
        let eternal = &self.eternal;
        ensure!(eternal.is_empty(), "{eternal:?} never expire");
        for (user, index) in &self.indexes {
            ensure!(
                index.entered.keys().eq(index.until.keys()),
                "the halves of the index of {user:?} differ"
            );
            let longest = self.now + 2 * MONTH.as_millis() as i64 + 120_000;
            let all = index.until.values().chain(&index.ends);
            ensure!(
                all.clone().all(|until| *until <= longest),
                "the index of {user:?} is for longer than its sessions live"
            );
            for (id, until) in &index.until {
                let Some(held) = self.sessions.get(id) else {
                    continue;
                };
                if held.owner == Some(*user) {
                    ensure!(held.ends <= *until, "{id} outlives its entry");
                    let outlives = index.ends.iter().any(|ends| *ends < held.ends);
                    ensure!(!outlives, "{id} outlives the index of {user:?}");
                }
            }
        }
        Ok(())
    }

    /// The ids of those whose state names this user.
    pub(super) fn sessions_of(&self, user: User) -> BTreeSet<String> {
        let theirs = self
            .sessions
            .iter()
            .filter(|(id, held)| held.user(id) == Some(user));
        theirs.map(|(id, _)| id.clone()).collect()
    }
}

fn text(bytes: &[u8]) -> String {
    str::from_utf8(bytes).unwrap().to_owned()
}

/// The Redis key of the index.
pub(super) fn index_of(user: User) -> String {
    format!("session:user:{{{}}}", name_of(user))
}

/// What the user is called in Redis.
fn name_of(user: User) -> String {
    sealing::user_id(&serde_json::to_string(&user).unwrap())
}
