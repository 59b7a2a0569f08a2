pub(crate) mod app;
pub(crate) mod browser;
pub(crate) mod line;
pub(crate) mod log;
pub(crate) mod orders;
pub(crate) mod proxy;
pub(crate) mod redis;
pub(crate) mod rights;
pub(crate) mod routes;
pub(crate) mod scope;
pub(crate) mod sealing;
pub(crate) mod servers;
pub(crate) mod sessions;
pub(crate) mod tally;
pub(crate) mod visit;

use std::{
    fmt::Display,
    io::Write,
    time::{Duration, Instant},
};

use actix_session_redis::RedisSessionStore;
use actix_web::rt::System;
use tokio::sync::oneshot;

/// Fails with the value's `Debug` unless it matches the pattern.
macro_rules! assert_matches {
    ($value:expr, $($pattern:tt)+) => {
        match $value {
            $($pattern)+ => {}
            other => panic!("{other:?} is not {}", stringify!($($pattern)+)),
        }
    };
}

/// Waits for a fact that only time or another process brings about.
pub(crate) async fn eventually(fact: &str, mut holds: impl FnMut() -> bool) {
    eventually_async(fact, async || holds()).await;
}

/// The same of a fact that takes a wait to find out.
pub(crate) async fn eventually_async(fact: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {fact}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until the store has noticed that Redis is back: no request pays for looking.
pub(crate) async fn is_back(store: &RedisSessionStore) {
    eventually_async("Redis is back", async || store.ping().await.is_ok()).await;
}

/// Lets so much time pass for all that this thread does, at once.
pub(crate) async fn travel(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Shows what was counted, whether or not the test fails: this way is not captured.
pub(crate) fn report(figures: impl Display) {
    let _ = writeln!(std::io::stderr(), "{figures}");
}

/// Does the work on a thread with a runtime of its own, as a worker of actix does. The runtime has
/// ended when the result is there.
pub(crate) async fn on_a_worker<F: Future>(work: impl FnOnce() -> F + Send + 'static) -> F::Output
where
    F::Output: Send + 'static,
{
    let (done, result) = oneshot::channel();
    std::thread::spawn(move || {
        let output = System::new().block_on(work());
        let _ = done.send(output);
    });
    result.await.expect("the worker did not panic")
}
