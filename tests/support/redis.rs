use deadpool_redis::redis::{Client, Commands as _, Connection};

use crate::Stack;

/// The Redis of the stack, to see what it holds.
pub fn redis(stack: &Stack) -> Connection {
    Client::open(stack.redis_url())
        .unwrap()
        .get_connection()
        .unwrap()
}

/// The Redis keys of the sessions that are alive; what is kept beside a session has braces.
pub fn sessions(redis: &mut Connection) -> Vec<String> {
    let keys: Vec<String> = redis.keys("session:*").unwrap();
    keys.into_iter().filter(|key| !key.contains('{')).collect()
}
