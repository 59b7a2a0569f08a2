//! What Redis may reply, or whoever answers in its place.

use deadpool_redis::redis::{Cmd, PushKind, Value, VerbatimFormat, parse_redis_value};

use super::{COPIED, input::Input, within};
use crate::client::Failure;

/// Any reply, nested no deeper than this.
pub(super) fn any(input: &mut Input<'_>, depth: usize) -> Value {
    let kinds = if depth == 0 { 10 } else { 16 };
    match input.choice(kinds) {
        0..4 => Value::BulkString(input.bytes().to_vec()),
        4 => Value::Nil,
        5 => Value::Int(input.number()),
        6 => Value::Okay,
        7 => Value::SimpleString(input.text().to_owned()),
        8 => double(input),
        9 => match input.choice(3) {
            0 => Value::Boolean(input.byte() > 127),
            1 => Value::VerbatimString {
                format: VerbatimFormat::Text,
                text: input.text().to_owned(),
            },
            _ => parse_redis_value(b"-ERR no\r\n").expect("an error is a reply"),
        },
        10 | 11 => Value::Array(many(input, depth)),
        12 | 13 => {
            let pairs = many(input, depth).into_iter();
            Value::Map(pairs.map(|key| (key, any(input, depth - 1))).collect())
        }
        14 => Value::Set(many(input, depth)),
        _ => match input.choice(2) {
            0 => Value::Push {
                kind: PushKind::Message,
                data: many(input, depth),
            },
            _ => Value::Attribute {
                data: Box::new(any(input, depth - 1)),
                attributes: vec![(any(input, depth - 1), any(input, depth - 1))],
            },
        },
    }
}

fn many(input: &mut Input<'_>, depth: usize) -> Vec<Value> {
    let count = input.choice(8);
    (0..count).map(|_| any(input, depth - 1)).collect()
}

/// As servers of RESP3 have them, or as texts.
pub(super) fn double(input: &mut Input<'_>) -> Value {
    let double = match input.choice(8) {
        0 => f64::NAN,
        1 => f64::INFINITY,
        2 => f64::NEG_INFINITY,
        3 => f64::MAX,
        4 => -0.5,
        5 => f64::from_bits(input.number() as u64),
        _ => input.number() as f64,
    };
    match input.choice(4) {
        0 => Value::BulkString(double.to_string().into_bytes()),
        _ => Value::Double(double),
    }
}

/// How many bytes it has on the wire, at least.
pub(super) fn wire_bytes(reply: &Value) -> usize {
    let all = |replies: &[Value]| 4 + replies.iter().map(wire_bytes).sum::<usize>();
    let pairs = |pairs: &[(Value, Value)]| {
        let both = |(key, value): &(Value, Value)| wire_bytes(key) + wire_bytes(value);
        4 + pairs.iter().map(both).sum::<usize>()
    };
    match reply {
        Value::BulkString(bytes) => 6 + bytes.len(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => 3 + text.len(),
        Value::Array(replies) | Value::Set(replies) => all(replies),
        Value::Push { data, .. } => all(data),
        Value::Map(map) => pairs(map),
        Value::Attribute { data, attributes } => wire_bytes(data) + pairs(attributes),
        _ => 4,
    }
}

/// An error reply is reduced to its code, since the text repeats what was asked.
pub(super) fn error_reply(data: &[u8]) {
    const SECRET: &str = "aVerySecretSessionKey";

    let mut input = Input::new(data);
    let in_cluster = input.choice(2) == 1;
    let line = input.bytes().split(|byte| b"\r\n".contains(byte)).next();
    // What is before the first blank is the code.
    let reply = [
        b"-",
        line.unwrap_or_default(),
        b" ",
        SECRET.as_bytes(),
        b"\r\n",
    ]
    .concat();
    let Ok(reply) = parse_redis_value(&reply) else {
        return;
    };
    let Err(error) = reply.extract_error() else {
        return;
    };
    let mut command = Cmd::new();
    command.arg("HSET").arg(SECRET);
    for failure in [
        within(COPIED, data.len(), || {
            Failure::of_command(error.clone(), &command, in_cluster)
        }),
        within(COPIED, data.len(), || Failure::of_connect(error)),
    ] {
        let _ = failure.is_answer();
        let shown = match &failure {
            Failure::Transient(fault) => format!("{fault} {fault:?}"),
            Failure::Permanent(error) => format!("{error} {error:?}"),
        };
        assert!(!shown.contains(SECRET), "{shown}");
    }
}
