use std::{collections::HashMap, fmt, time::Instant};

use actix_session::storage::{SessionKey, SessionStore, generate_session_key};
use actix_web::{
    cookie::time::Duration,
    rt::{spawn, time::sleep},
};
use anyhow::{Context as _, bail, ensure};

use crate::harness::Harness;

/// Field name to JSON text.
pub(crate) type State = HashMap<String, String>;

/// Longer than any check takes.
pub(crate) const HOUR: Duration = Duration::hours(1);

pub(crate) fn state<const N: usize>(fields: [(&str, &str); N]) -> State {
    State::from(fields.map(|(name, json)| (name.to_owned(), json.to_owned())))
}

/// A session key that the store has not given to anybody, or another one's copy.
pub(crate) fn key(text: impl Into<String>) -> SessionKey {
    text.into().try_into().expect("it is short enough")
}

pub(crate) fn copy(session_key: &SessionKey) -> SessionKey {
    key(session_key.as_ref())
}

/// The reason why nobody knows.
#[derive(Debug)]
pub(crate) struct NotChecked(pub(crate) &'static str);

impl fmt::Display for NotChecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NotChecked {}

/// A text that is nowhere else in the storage.
pub(crate) fn mark() -> String {
    generate_session_key().into()
}

/// Whether a text is anywhere in the storage.
pub(crate) async fn is_stored<H: Harness>(harness: &H, text: &str) -> anyhow::Result<bool> {
    let contents = harness.contents().await;
    let contents = contents.context(NotChecked("the harness does not show what is stored"))?;
    let mut parts = contents.windows(text.len());
    Ok(parts.any(|part| part == text.as_bytes()))
}

// What a store is asked, and has to answer.

pub(crate) async fn save(
    store: &impl SessionStore,
    state: &State,
    ttl: Duration,
) -> anyhow::Result<SessionKey> {
    let saved = store.save(state.clone(), &ttl).await;
    saved.context("save fails")
}

/// Its state, or none.
pub(crate) async fn load(
    store: &impl SessionStore,
    session_key: &SessionKey,
) -> anyhow::Result<Option<State>> {
    store.load(session_key).await.context("load fails")
}

pub(crate) async fn update(
    store: &impl SessionStore,
    session_key: &SessionKey,
    state: &State,
    ttl: Duration,
) -> anyhow::Result<SessionKey> {
    let updated = store.update(copy(session_key), state.clone(), &ttl).await;
    updated.context("update fails")
}

pub(crate) async fn delete(
    store: &impl SessionStore,
    session_key: &SessionKey,
) -> anyhow::Result<()> {
    store.delete(session_key).await.context("delete fails")
}

pub(crate) async fn ensure_holds(
    store: &impl SessionStore,
    session_key: &SessionKey,
    state: &State,
) -> anyhow::Result<()> {
    match load(store, session_key).await? {
        None => bail!("the session is not there"),
        Some(found) => ensure!(
            found == *state,
            "{} was stored, {} is loaded",
            Short(state),
            Short(&found)
        ),
    }
    Ok(())
}

pub(crate) async fn ensure_is_gone(
    store: &impl SessionStore,
    session_key: &SessionKey,
) -> anyhow::Result<()> {
    match load(store, session_key).await? {
        None => Ok(()),
        Some(found) => bail!("a session with {} is there", Short(&found)),
    }
}

/// A state without what would fill the screen.
pub(crate) struct Short<'a>(pub(crate) &'a State);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields: Vec<_> = self.0.iter().collect();
        fields.sort();
        let text = format!("{fields:?}");
        let short: String = text.chars().take(200).collect();
        f.write_str(&short)?;
        if short.len() < text.len() {
            write!(f, "… ({} bytes)", text.len())?;
        }
        Ok(())
    }
}

/// Runs all of them at the same time, in tasks of their own.
pub(crate) async fn at_once<T: 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = anyhow::Result<T>> + 'static>,
) -> anyhow::Result<Vec<T>> {
    let tasks: Vec<_> = tasks.into_iter().map(spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.context("a task")??);
    }
    Ok(results)
}

// Time.

/// Does something to sessions that live for the TTL which it is given, and says how long that was. Begins anew
/// with a longer one if the machine was so slow that they may have ended meanwhile.
pub(crate) async fn before_it_ends<H: Harness, T>(
    harness: &H,
    act: impl AsyncFn(&H::Store, Duration) -> anyhow::Result<T>,
) -> anyhow::Result<(T, Duration)> {
    let store = harness.store();
    let mut ttl = harness.shortest_ttl();
    for _ in 0..6 {
        let begun = Instant::now();
        let done = act(&store, ttl).await;
        if begun.elapsed() < ttl / 2 {
            return Ok((done?, ttl));
        }
        ttl *= 2;
    }
    bail!(NotChecked("the machine is too slow"))
}

/// Waits until a session is gone that has got its TTL just now. Fails if it is there when twice that has passed.
pub(crate) async fn wait_for_end(
    store: &impl SessionStore,
    session_key: &SessionKey,
    ttl: Duration,
) -> anyhow::Result<()> {
    let limit = Instant::now() + 2 * ttl;
    let pause: Duration = ttl / 50;
    loop {
        let asked = Instant::now();
        if load(store, session_key).await?.is_none() {
            return Ok(());
        }
        ensure!(
            asked < limit,
            "the session is there when twice its TTL has passed"
        );
        sleep(pause.unsigned_abs()).await;
    }
}

/// Waits until whatever has got this TTL until now must be gone, by the end of another session, so that it is the
/// store's clock which counts.
pub(crate) async fn wait_for_end_of_others(
    store: &impl SessionStore,
    ttl: Duration,
) -> anyhow::Result<()> {
    let witness = save(store, &state([("witness", "1")]), ttl).await?;
    let ended = wait_for_end(store, &witness, ttl).await;
    ended.map_err(|_| NotChecked("sessions do not end by themselves").into())
}
