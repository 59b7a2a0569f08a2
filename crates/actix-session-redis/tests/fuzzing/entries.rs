//! What the scripts return that ask the index of a user's sessions.

use std::collections::HashSet;

use deadpool_redis::redis::{Cmd, Value};

use super::{
    COPIED,
    input::Input,
    reply::{any, double, wire_bytes},
    stores::check,
    within,
};
use crate::session::{
    Seals, User,
    entry::{Entries, Owner, Reply},
    index::{add_entries, parse},
};

/// What `entries.lua` and `end_all.lua` return, of each of a user's names, and what `enter.lua` does.
pub(super) fn index_entries(data: &[u8]) {
    let mut input = Input::new(data);
    let enters = input.choice(4) == 0;
    let mut replies = Vec::new();
    let names = 1 + input.choice(3);
    for _ in 0..names {
        let reply = match input.choice(4) {
            0 => any(&mut input, 6),
            _ => reply(&mut input, enters && replies.is_empty()),
        };
        let came = wire_bytes(&reply);
        let parsed = within(COPIED, came, || match enters && replies.is_empty() {
            true => parse(reply).map(|(entered, until, all)| {
                look_at_owner(entered, until);
                (entered, all)
            }),
            false => parse::<Reply>(reply),
        });
        match parsed {
            Ok(reply) => replies.push((reply, came)),
            Err(failure) => return check(&failure),
        }
    }
    let came = replies.iter().map(|(_, came)| came).sum();
    let replies = replies.into_iter().map(|(reply, _)| reply);
    let entries = within(COPIED, came, || Entries::of(replies));
    let ids: HashSet<_> = entries.all.iter().map(|entry| &entry.id).collect();
    assert_eq!(ids.len(), entries.all.len(), "each is there once");
    for entry in &entries.all {
        let _ = entries.is_pending(entry);
        assert_eq!(entry.id.as_ref().parse().as_ref(), Ok(&entry.id));
    }
    if names > 1 {
        assert!(entries.all.is_sorted_by_key(|entry| entry.entered));
    }
    let mut command = Cmd::new();
    add_entries(&mut command, &entries.all);
    let user = User::of("1", &Seals::default());
    let login = entries.login(user.clone());
    assert!(login.since(&user).is_some());
}

fn reply(input: &mut Input<'_>, enters: bool) -> Value {
    let mut reply = vec![Value::Int(input.number())];
    if enters {
        reply.push(Value::Int(input.number()));
    }
    let is_resp3 = input.choice(2) == 0;
    let mut entries = Vec::new();
    for _ in 0..input.byte() {
        if input.is_empty() {
            break;
        }
        let id = match input.choice(4) {
            0 => input.bytes().to_vec(),
            _ => {
                let letter = b'a' + input.byte() % 26;
                [&[letter][..], &[b'x'; 42]].concat()
            }
        };
        let pair = [Value::BulkString(id), double(input)];
        match is_resp3 {
            true => entries.push(Value::Array(pair.into())),
            false => entries.extend(pair),
        }
    }
    reply.push(Value::Array(entries));
    Value::Array(reply)
}

fn look_at_owner(entered: i64, until: i64) {
    let owner = Owner::new(User::of("1", &Seals::default()).id, entered, until);
    let _ = (owner.is_entered_for(i64::MAX), owner.latest_write());
    let text = owner.to_string();
    if let Some(again) = Owner::parse(&text) {
        assert_eq!(again.to_string(), text);
    }
}
