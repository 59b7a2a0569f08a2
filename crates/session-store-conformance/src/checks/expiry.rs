//! How long sessions live, by the store's clock.

use std::time::Instant;

use actix_session::storage::SessionStore;
use actix_web::cookie::time::Duration;
use anyhow::{Context as _, bail, ensure};

use super::{TRAIT, TRAIT_AND_ASVS, checks};
use crate::{
    harness::Harness,
    support::{
        HOUR, NotChecked, State, before_it_ends, copy, ensure_holds, ensure_is_gone, save, state,
        update, wait_for_end, wait_for_end_of_others,
    },
};

checks! {
    Expiry, Must, TRAIT => a_session_ends_when_its_ttl_has_passed;
    Expiry, Must, TRAIT => a_session_does_not_end_before;
    Expiry, Must, TRAIT => a_session_may_live_for_400_days;
    Expiry, Must, TRAIT => a_ttl_of_nothing_makes_no_session_that_lives_on;
    Expiry, Must, TRAIT => an_update_prolongs_a_session;
    Expiry, Must, TRAIT => an_update_shortens_a_session;
    Expiry, Must, TRAIT => update_ttl_prolongs_a_session_and_leaves_its_state;
    Expiry, Must, TRAIT => update_ttl_shortens_a_session;
    Expiry, Must, TRAIT_AND_ASVS => update_ttl_does_not_bring_back_what_has_expired;
    Expiry, Must, TRAIT_AND_ASVS => an_update_does_not_bring_back_a_key_that_has_expired;
    Expiry, Should, "ASVS 7.4.1" => an_update_of_what_has_expired_makes_no_session;
}

fn filled() -> State {
    state([("n", "1"), ("text", "\"kept\"")])
}

async fn a_session_ends_when_its_ttl_has_passed<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let (store, ttl) = (harness.store(), harness.shortest_ttl());
    let session_key = save(&store, &filled(), ttl).await?;
    wait_for_end(&store, &session_key, ttl).await
}

async fn a_session_does_not_end_before<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let (store, ttl) = (harness.store(), 2 * harness.shortest_ttl());
    let begun = Instant::now();
    let session_key = save(&store, &filled(), ttl).await?;
    if wait_for_end(&store, &session_key, ttl).await.is_err() {
        bail!(NotChecked("sessions do not end by themselves"));
    }
    let lived = begun.elapsed();
    // Clocks may tick in steps.
    ensure!(
        lived > ttl * 0.9,
        "a session with a TTL of {ttl} has ended after {lived:?}"
    );
    Ok(())
}

/// The longest that browsers keep a cookie, by RFC 6265bis.
async fn a_session_may_live_for_400_days<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let store = harness.store();
    let session_key = save(&store, &filled(), Duration::days(400)).await?;
    let session_key = update(&store, &session_key, &filled(), Duration::days(400)).await?;
    let prolonged = store.update_ttl(&session_key, &Duration::days(400)).await;
    prolonged.context("update_ttl fails")?;
    ensure_holds(&store, &session_key, &filled()).await
}

/// It may be refused. In some storages, no TTL means for ever.
async fn a_ttl_of_nothing_makes_no_session_that_lives_on<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    let store = harness.store();
    let mut keys = Vec::new();
    for ttl in [Duration::ZERO, Duration::seconds(-1)] {
        keys.extend(store.save(filled(), &ttl).await.ok());
        let session_key = save(&store, &filled(), harness.shortest_ttl()).await?;
        let updated = store.update(copy(&session_key), filled(), &ttl).await;
        keys.push(updated.unwrap_or(session_key));
        let session_key = save(&store, &filled(), harness.shortest_ttl()).await?;
        let _ = store.update_ttl(&session_key, &ttl).await;
        keys.push(session_key);
    }
    let ttl = harness.shortest_ttl();
    for session_key in keys {
        wait_for_end(&store, &session_key, ttl).await?;
    }
    Ok(())
}

async fn an_update_prolongs_a_session<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let (session_key, ttl) = before_it_ends(harness, async |store, ttl| {
        let session_key = save(store, &filled(), ttl).await?;
        update(store, &session_key, &filled(), HOUR).await
    })
    .await?;
    let store = harness.store();
    wait_for_end_of_others(&store, ttl).await?;
    ensure_holds(&store, &session_key, &filled()).await
}

async fn an_update_shortens_a_session<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let (store, ttl) = (harness.store(), harness.shortest_ttl());
    let session_key = save(&store, &filled(), HOUR).await?;
    let session_key = update(&store, &session_key, &filled(), ttl).await?;
    wait_for_end(&store, &session_key, ttl).await
}

async fn update_ttl_prolongs_a_session_and_leaves_its_state<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    let (session_key, ttl) = before_it_ends(harness, async |store, ttl| {
        let session_key = save(store, &filled(), ttl).await?;
        let prolonged = store.update_ttl(&session_key, &HOUR).await;
        prolonged.context("update_ttl fails")?;
        Ok(session_key)
    })
    .await?;
    let store = harness.store();
    wait_for_end_of_others(&store, ttl).await?;
    ensure_holds(&store, &session_key, &filled()).await
}

async fn update_ttl_shortens_a_session<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let (store, ttl) = (harness.store(), harness.shortest_ttl());
    let session_key = save(&store, &filled(), HOUR).await?;
    let shortened = store.update_ttl(&session_key, &ttl).await;
    shortened.context("update_ttl fails")?;
    wait_for_end(&store, &session_key, ttl).await
}

/// One that has expired a moment ago.
async fn expired<H: Harness>(harness: &H) -> anyhow::Result<actix_session::storage::SessionKey> {
    let (store, ttl) = (harness.store(), harness.shortest_ttl());
    let session_key = save(&store, &filled(), ttl).await?;
    let ended = wait_for_end(&store, &session_key, ttl).await;
    ended.map_err(|_| NotChecked("sessions do not end by themselves"))?;
    Ok(session_key)
}

async fn update_ttl_does_not_bring_back_what_has_expired<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    let session_key = expired(harness).await?;
    let store = harness.store();
    let _ = store.update_ttl(&session_key, &HOUR).await;
    ensure_is_gone(&store, &session_key).await
}

async fn an_update_does_not_bring_back_a_key_that_has_expired<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    let session_key = expired(harness).await?;
    let store = harness.store();
    let _ = store.update(copy(&session_key), filled(), &HOUR).await;
    ensure_is_gone(&store, &session_key).await
}

/// The trait leaves it open. A request that has loaded the session before it expired calls this, and what it
/// writes is all that the session held, for another TTL.
async fn an_update_of_what_has_expired_makes_no_session<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    let session_key = expired(harness).await?;
    let store = harness.store();
    match store.update(session_key, filled(), &HOUR).await {
        Ok(updated) => ensure_is_gone(&store, &updated).await,
        Err(_) => Ok(()),
    }
}
