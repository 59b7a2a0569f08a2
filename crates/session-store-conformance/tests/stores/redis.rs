//! What the suite may do to a Redis server.

use deadpool_redis::redis::{Cmd, FromRedisValue, Value, cmd};
use session_store_conformance::Garbage;
use testbed::Server;

/// Puts it in the place of a key, for as long as that would have lived.
pub(crate) fn overwrite(server: &Server, key: &str, garbage: Garbage<'_>) -> bool {
    let ttl: i64 = ask(server, cmd("PTTL").arg(key));
    assert!(ttl > 0, "no session is at {key}");
    ask::<()>(server, cmd("DEL").arg(key));
    match garbage {
        Garbage::Bytes(bytes) => ask::<()>(server, cmd("SET").arg(key).arg(bytes)),
        Garbage::OtherKind(bytes) => ask::<()>(server, cmd("RPUSH").arg(key).arg(bytes)),
    }
    ask::<()>(server, cmd("PEXPIRE").arg(key).arg(ttl));
    true
}

/// Every key with its value.
pub(crate) fn contents(server: &Server) -> Vec<u8> {
    let mut contents = Vec::new();
    for key in ask::<Vec<Vec<u8>>>(server, cmd("KEYS").arg("*")) {
        let kind: String = ask(server, cmd("TYPE").arg(&key));
        let value: Value = match &*kind {
            "none" => continue,
            "string" => ask(server, cmd("GET").arg(&key)),
            "hash" => ask(server, cmd("HGETALL").arg(&key)),
            "list" => ask(server, cmd("LRANGE").arg(&key).arg(0).arg(-1)),
            other => panic!("a {other}"),
        };
        contents.extend(key);
        append(&mut contents, &value);
    }
    contents
}

fn append(contents: &mut Vec<u8>, value: &Value) {
    match value {
        Value::BulkString(bytes) => contents.extend(bytes),
        Value::Array(parts) => parts.iter().for_each(|part| append(contents, part)),
        // It has expired meanwhile.
        Value::Nil => {}
        other => panic!("{other:?}"),
    }
}

fn ask<T: FromRedisValue>(server: &Server, command: &Cmd) -> T {
    server.try_query(command).unwrap()
}
