use deadpool_redis::redis::{Commands as _, Connection};
use demo::Instances;
use testbed::{Browser, StackOptions};

/// The demo as `demo up` starts it.
pub(crate) type Stack = testbed::Stack<Instances>;

pub(crate) const DEMO: &str = env!("CARGO_BIN_EXE_demo-under-test");

/// Three instances behind nginx, on a Redis of their own.
pub(crate) fn start() -> Stack {
    start_with(|_| ())
}

pub(crate) fn start_with(change: impl FnOnce(&mut StackOptions<Instances>)) -> Stack {
    let mut options = StackOptions::new(Instances::of(DEMO));
    change(&mut options);
    Stack::start(options).unwrap()
}

pub(crate) fn browser(stack: &Stack) -> Browser {
    Browser::new(&stack.url())
}

/// The Redis keys of the sessions that are alive; what is kept beside a session has braces.
pub(crate) fn sessions(redis: &mut Connection) -> Vec<String> {
    let keys: Vec<String> = redis.keys("session:*").unwrap();
    keys.into_iter().filter(|key| !key.contains('{')).collect()
}
