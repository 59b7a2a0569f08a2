use std::time::{Duration, Instant};

use deadpool_redis::redis::{Client, Commands as _, Connection};
use demo::{Stack, StackOptions};

use crate::browser::Browser;

pub(crate) const DEMO: &str = env!("CARGO_BIN_EXE_demo-under-test");

/// Three instances behind nginx, on a Redis of their own.
pub(crate) fn start() -> Stack {
    start_with(|options| options)
}

pub(crate) fn start_with(options: impl FnOnce(StackOptions) -> StackOptions) -> Stack {
    Stack::start(options(StackOptions::new(DEMO))).unwrap()
}

pub(crate) fn browser(stack: &Stack) -> Browser {
    Browser::new(&stack.url())
}

/// The Redis of the stack, to see what it holds.
pub(crate) fn redis(stack: &Stack) -> Connection {
    Client::open(stack.redis_url())
        .unwrap()
        .get_connection()
        .unwrap()
}

/// The Redis keys of the sessions that are alive; what is kept beside a session has braces.
pub(crate) fn sessions(redis: &mut Connection) -> Vec<String> {
    let keys: Vec<String> = redis.keys("session:*").unwrap();
    keys.into_iter().filter(|key| !key.contains('{')).collect()
}

/// Asks again and again for something that only time brings about.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < patience, "never happened: {what}");
    }
}
