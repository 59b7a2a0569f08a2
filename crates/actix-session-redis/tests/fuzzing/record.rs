//! What Redis replies when one session is read, written or ended, and what is made of that.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use actix_web::cookie::time;
use deadpool_redis::redis::Value;

use super::{
    COPIED, JSON,
    input::{Input, text},
    reply::{any, wire_bytes},
    stores::{Held, Kind, Store, check, keyspace},
    within,
};
use crate::{
    client::Failure,
    session::{
        BuiltInNames, MergeRules, Policy, Snapshot, State, Terms,
        changes::{Changes, Other},
        details::{BORN, Details, LABEL},
        entry::Owner,
        layout::{
            asked::Written,
            built_in,
            fields::{OwnFields, parse},
        },
        state::{load_field, size, was_cleared},
        tombstone::Ended,
        ttl::LONGEST,
    },
    users::UserSession,
};

const NAMES: &[&[u8]] = &[
    BORN,
    b"\xFFuser",
    b"\xFFttl",
    b"\xFFlifetime",
    LABEL,
    b"\xFFcopy",
    b"\xFF",
    b"user",
    b"label",
    b"cart",
    b"n",
    b"",
];

/// The reply to `HGETALL`.
pub(super) fn hash_fields(data: &[u8]) {
    let mut input = Input::new(data);
    let store = Store::any(&mut input);
    let (reply, expected) = match input.choice(8) {
        0 => (any(&mut input, 6), Expected::Anything),
        _ => hash(&mut input, &store),
    };
    let seal = store.seal();
    let parsed = within(COPIED, wire_bytes(&reply), || parse(reply, &seal));
    if let Some(parsed) = expected.compare(parsed) {
        live_on(data, &store, parsed);
    }
}

/// The replies to `HMGET` for what is noted of a session, and the same in a hash.
pub(super) fn own_fields(data: &[u8]) {
    let mut input = Input::new(data);
    let store = Store::any(&mut input);
    let mut values = Vec::new();
    let mut fails = false;
    while !input.is_empty() {
        let name = input.pick(&[
            BORN,
            Details::names()[0],
            Details::names()[1],
            Details::names()[2],
            LABEL,
        ]);
        let held = held(&mut input, &store, name);
        fails |= matches!(name, BORN | LABEL) && store.model(&held).is_err();
        values.push((name, Some(held.bytes)));
    }
    let came = values
        .iter()
        .map(|(_, value)| 6 + value.as_ref().map_or(0, Vec::len));
    let came = came.sum();
    let seal = store.seal();
    let details = within(COPIED, came, || OwnFields::details(values, &seal));
    match details {
        Ok(Some(details)) => with_details(&store, &details, data.len() as i64),
        Ok(None) => {}
        Err(failure) => {
            assert!(fails, "{failure:?}");
            check(&failure);
        }
    }
    let owner = text(data);
    if let Some(owner) = within(COPIED, owner.len(), || Owner::parse(owner)) {
        assert_eq!(owner.to_string(), text(data));
        assert_eq!(Owner::parse(text(data)), Some(owner));
    }
}

/// What `write.lua` returns, when others have changed the same.
pub(super) fn conflict(data: &[u8]) {
    let mut input = Input::new(data);
    let store = Store::any(&mut input);
    let [base, ours] = [(); 2].map(|()| state(&mut input));
    let reply = match input.choice(4) {
        0 => any(&mut input, 6),
        _ => {
            let mut others = Vec::new();
            while !input.is_empty() {
                let name = input.pick(NAMES);
                let value = match input.choice(4) {
                    0 => Value::Nil,
                    _ => Value::BulkString(held(&mut input, &store, name).bytes),
                };
                others.push(Value::Array(vec![Value::BulkString(name.to_vec()), value]));
            }
            Value::Array(others)
        }
    };
    let came = wire_bytes(&reply);
    let seal = store.seal();
    let others = match within(COPIED, came, || Written::parse(reply, &seal)) {
        Ok(Written::Conflict(others)) => others,
        Ok(Written::Done | Written::Gone) => return,
        Err(failure) => return check(&failure),
    };
    let rules = rules();
    within(JSON, 3 * (data.len() + came), || {
        let mut changes = rules.changes(&base, &ours);
        let met = rules.resolve_conflicts(&mut changes, &base, &ours, others);
        met.expect("the rule does not panic");
    });
}

/// What `end.lua` returns, and `built_in_end.lua`: the tombstone of somebody else, or the last state.
pub(super) fn end_reply(data: &[u8]) {
    let mut input = Input::new(data);
    let store = Store::any(&mut input);
    let prefix = || "theirs:".to_owned();
    let names = match input.choice(3) {
        0 => BuiltInNames::Ignored,
        1 => BuiltInNames::Adopted { prefix: prefix() },
        _ => BuiltInNames::Used { prefix: prefix() },
    };
    let is_used = matches!(names, BuiltInNames::Used { .. });
    let keyspace = keyspace(names, store.is_on());
    let (reply, expected) = match input.choice(6) {
        0 => (any(&mut input, 6), Expected::Anything),
        1 => (
            Value::BulkString(input.bytes().to_vec()),
            Expected::Anything,
        ),
        2 => (
            Value::Array(vec![Value::BulkString(input.bytes().to_vec())]),
            Expected::Anything,
        ),
        _ if is_used => (Value::Int(input.number()), Expected::Anything),
        _ => hash(&mut input, &store),
    };
    let told = match &reply {
        Value::BulkString(told) => told.clone(),
        _ => Vec::new(),
    };
    let times = if is_used { JSON } else { COPIED };
    let seal = store.seal();
    let ended = within(times, wire_bytes(&reply), || {
        Ended::parse(reply, &keyspace, &seal)
    });
    match ended {
        Ok(Ended::BySomebodyElse(Some(names))) => {
            assert_eq!(keyspace.encode_successor(&names).as_bytes(), told);
            assert_eq!(names.id.as_ref().len(), 43);
        }
        Ok(Ended::ByUs(Some(_))) => assert!(!matches!(expected, Expected::Failure)),
        Ok(Ended::ByUsUnread(error)) => {
            assert!(!matches!(expected, Expected::Session(..)), "{error}");
            check(&Failure::Permanent(error));
        }
        Ok(Ended::ByUs(None) | Ended::BySomebodyElse(None) | Ended::NotTheirs) => {}
        Err(failure) => check(&failure),
    }
}

/// A session of the store built into actix-session.
pub(super) fn built_in(data: &[u8]) {
    match within(JSON, data.len(), || built_in::decode(data)) {
        Ok(state) => {
            let written = built_in::encode(&state);
            assert_eq!(built_in::decode(&written).ok(), Some(state));
        }
        Err(error) => check(&Failure::Permanent(error)),
    }
}

/// What is to come of a reply.
enum Expected {
    Anything,
    Failure,
    /// With this state, if there is one.
    Session(Option<HashMap<String, String>>),
}

impl Expected {
    fn compare(self, parsed: Result<Option<Snapshot>, Failure>) -> Option<Snapshot> {
        match (self, &parsed) {
            (Self::Session(state), Ok(parsed)) => {
                assert_eq!(parsed.as_ref().map(|it| &it.state), state.as_ref());
            }
            (Self::Session(..), Err(failure)) => panic!("not parsed: {failure:?}"),
            (Self::Failure, Ok(_)) => panic!("nobody can have written that"),
            (_, Err(failure)) => check(failure),
            (Self::Anything, Ok(_)) => {}
        }
        parsed.ok().flatten()
    }
}

/// The fields of a session, with now and then one that is none.
fn hash(input: &mut Input<'_>, store: &Store) -> (Value, Expected) {
    let is_map = input.choice(2) == 0;
    let (mut pairs, mut state) = (Vec::new(), HashMap::new());
    let (mut is_born, mut born_fails, mut fails, mut may_fail) = (false, false, false, false);
    while !input.is_empty() {
        let name = match input.choice(16) {
            number if number < NAMES.len() => NAMES[number].to_vec(),
            12 => [b"\xFF", input.bytes()].concat(),
            13 => {
                fails = true;
                pairs.push((any(input, 2), any(input, 0)));
                // A pair of two texts is one after all.
                may_fail = true;
                continue;
            }
            _ => input.bytes().to_vec(),
        };
        let held = held(input, store, &name);
        let read = store.model(&held).ok();
        match (&*name, read.map(String::from_utf8)) {
            (BORN, read) => {
                is_born = true;
                born_fails = read.is_none();
            }
            // Without one that opens, it has none; but another connection is asked first.
            (LABEL, None) => may_fail = true,
            ([0xFF, ..], _) => {}
            (name, Some(Ok(json))) if str::from_utf8(name).is_ok() => {
                state.insert(text(name).to_owned(), json);
            }
            _ => fails = true,
        }
        pairs.push((Value::BulkString(name), Value::BulkString(held.bytes)));
    }
    let fails = fails || born_fails;
    let expected = match (may_fail, fails) {
        (true, _) => Expected::Anything,
        // It is no session, whatever it holds.
        (_, true) if !is_born => Expected::Anything,
        (_, true) => Expected::Failure,
        _ => Expected::Session(is_born.then_some(state)),
    };
    let reply = match is_map {
        true => Value::Map(pairs),
        false => Value::Array(
            pairs
                .into_iter()
                .flat_map(|(name, value)| [name, value])
                .collect(),
        ),
    };
    (reply, expected)
}

/// The value of a field; of ours, one that says something more often than not.
fn held(input: &mut Input<'_>, store: &Store, name: &[u8]) -> Held {
    let plain = match name {
        b"\xFFuser" if input.choice(2) == 0 => {
            let user = ["x"; 43].concat();
            format!("{user} {} {}", input.number(), input.number())
        }
        b"\xFFttl" | b"\xFFlifetime" if input.choice(2) == 0 => input.number().to_string(),
        _ => {
            let kind = match name {
                [0xFF, ..] => Kind::Note,
                _ => Kind::Value,
            };
            return store.held(input, kind, name);
        }
    };
    Held::plain(plain)
}

fn state(input: &mut Input<'_>) -> State {
    let mut state = State::new();
    for _ in 0..input.choice(6) {
        let (name, json) = (text(input.pick(NAMES)), input.text());
        load_field(&mut state, name.as_bytes(), json.into()).expect("both are texts");
    }
    state
}

fn rules() -> MergeRules {
    let mut rules = MergeRules::default();
    rules.counter("n".to_owned());
    let merge = |_: Option<&_>, theirs: Option<&serde_json::Value>, ours: &_| {
        theirs.unwrap_or(ours).clone()
    };
    rules.field("cart".to_owned(), std::sync::Arc::new(merge));
    rules
}

/// What a request makes of a session that was read.
fn live_on(data: &[u8], store: &Store, snapshot: Snapshot) {
    let Some(last) = data.last() else { return };
    let number = i64::from(*last);
    with_details(store, &snapshot.details, number);
    let snapshot = snapshot.with_ttl(number);
    let _ = snapshot.is_fresh(i64::MAX);
    let Snapshot {
        state,
        details,
        stored,
        ..
    } = &snapshot;
    let policy = policy(store);
    within(JSON, 3 * size(state), || {
        let ttl = time::Duration::HOUR;
        let _ = policy.user(state);
        let details = policy.details(details, state, Terms::only(&ttl));
        if let Some((details, ttl_ms)) = details.expect("an hour is a TTL") {
            assert!(ttl_ms > 0);
            assert!(details.label.is_none_or(|label| label.len() <= 256));
        }
    });
    let mut changed = state.clone();
    changed.retain(|name, _| name.len() % 2 == 0);
    changed.insert("n".to_owned(), "3".to_owned());
    let _ = was_cleared(state, &changed);
    within(JSON, 4 * (size(state) + data.len()), || {
        Changes::exactly(state, &changed).expect(stored, state);
        MergeRules::default()
            .changes(state, &changed)
            .expect(stored, state);
        let merged = rules().merge(&changed, state, &State::new());
        merged.expect("the rule does not panic");
        let others = state.iter().map(|(field, json)| Other {
            field: field.clone(),
            json: Some(json.clone()),
            stored: Some(json.clone().into_bytes()),
        });
        let mut changes = rules().changes(state, &changed);
        let met = rules().resolve_conflicts(&mut changes, state, &changed, others.collect());
        met.expect("the rule does not panic");
    });
}

fn with_details(store: &Store, details: &Details, number: i64) {
    let policy = policy(store);
    let _ = (
        details.lifetime(),
        policy.left_ms(details),
        details.born_now(),
    );
    if let Some(owner) = &details.owner {
        for ttl_ms in [number, i64::MIN, i64::MAX] {
            let _ = owner.is_entered_for(ttl_ms);
        }
        let _ = owner.latest_write();
        assert_eq!(Owner::parse(&owner.to_string()).as_ref(), Some(owner));
    }
    let now = SystemTime::now();
    for ttl_left_ms in [number, i64::MIN, i64::MAX] {
        let (id, details) = (store.names.id.clone(), details.clone());
        let listed = UserSession::new(id, details, ttl_left_ms, now);
        assert!(listed.began() <= now && listed.last_seen() <= now);
        assert!(listed.ends() >= now);
    }
    // What is written is what was read.
    let mut again = Details::default();
    for (name, value) in Details::default().changes(details) {
        again.read(name, value.unwrap_or_default().as_bytes());
    }
    again.born_ms = details.born_ms;
    again.is_stale = details.is_stale;
    again.owner_text.clone_from(&details.owner_text);
    assert_eq!(again, *details);
}

fn policy(store: &Store) -> Policy {
    Policy {
        absolute_lifetime: Some(LONGEST),
        lifetimes: Some(Duration::from_secs(1)..=LONGEST),
        user_field: Some("user".to_owned()),
        label_field: Some("label".to_owned()),
        limit: None,
        seals: store.seals.clone(),
    }
}
