use demo::Instances;
pub(crate) use support::{Stack, redis, sessions};
use testbed::StackOptions;

use crate::browser::Browser;

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
