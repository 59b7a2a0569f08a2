use demo::{Stack, StackOptions};
pub(crate) use support::{eventually, redis, sessions};

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
