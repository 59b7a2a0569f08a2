//! How sessions end, and stay ended, as far as the store alone decides it.

use actix_session::storage::SessionStore as _;
use anyhow::{Context as _, ensure};

use super::{MIDDLEWARE, TRAIT_AND_ASVS, checks};
use crate::{
    harness::Harness,
    support::{
        HOUR, State, copy, delete, ensure_holds, ensure_is_gone, is_stored, mark, save, state,
    },
};

const ASVS: &str = "ASVS 7.4.1";

checks! {
    Lifecycle, Must, MIDDLEWARE => a_renewal_moves_the_state_to_a_new_key;
    Lifecycle, Must, TRAIT_AND_ASVS => update_ttl_does_not_bring_back_what_was_deleted;
    Lifecycle, Must, TRAIT_AND_ASVS => an_update_does_not_bring_back_a_key_that_was_deleted;
    Lifecycle, Should, ASVS => an_update_of_what_was_deleted_makes_no_session;
    Lifecycle, Should, ASVS => a_deleted_state_is_in_the_storage_no_more;
}

fn filled() -> State {
    state([("user", "1")])
}

/// As the middleware does it.
async fn a_renewal_moves_the_state_to_a_new_key<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let store = harness.store();
    let old = save(&store, &filled(), HOUR).await?;
    delete(&store, &old).await?;
    let new = save(&store, &filled(), HOUR).await?;
    ensure!(old != new, "the key is the same");
    ensure_holds(&store, &new, &filled()).await?;
    ensure_is_gone(&store, &old)
        .await
        .context("under the old key")
}

async fn update_ttl_does_not_bring_back_what_was_deleted<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    let store = harness.store();
    let session_key = save(&store, &filled(), HOUR).await?;
    delete(&store, &session_key).await?;
    let _ = store.update_ttl(&session_key, &HOUR).await;
    ensure_is_gone(&store, &session_key).await
}

async fn an_update_does_not_bring_back_a_key_that_was_deleted<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    let store = harness.store();
    let session_key = save(&store, &filled(), HOUR).await?;
    delete(&store, &session_key).await?;
    let _ = store.update(copy(&session_key), filled(), &HOUR).await;
    ensure_is_gone(&store, &session_key).await
}

/// The trait leaves it open. A request that has loaded the session before its end calls this, and what it
/// writes is all that the session held, the login with it.
async fn an_update_of_what_was_deleted_makes_no_session<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    let store = harness.store();
    let session_key = save(&store, &filled(), HOUR).await?;
    delete(&store, &session_key).await?;
    match store.update(session_key, filled(), &HOUR).await {
        Ok(updated) => ensure_is_gone(&store, &updated).await,
        Err(_) => Ok(()),
    }
}

/// "For reference tokens or stateful sessions, this means invalidating the session data at the application
/// backend."
async fn a_deleted_state_is_in_the_storage_no_more<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let store = harness.store();
    let mark = mark();
    let marked = state([("text", &format!("\"{mark}\""))]);
    let session_key = save(&store, &marked, HOUR).await?;
    delete(&store, &session_key).await?;
    let is_there = is_stored(harness, &mark).await?;
    ensure!(!is_there, "the state is in the storage after a delete");
    Ok(())
}
