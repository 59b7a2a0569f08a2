//! What reaches the store at the same time.

use std::collections::HashSet;

use actix_session::storage::{SessionKey, SessionStore};
use anyhow::{Context as _, ensure};

use super::{TRAIT, checks};
use crate::{
    harness::Harness,
    support::{
        HOUR, Short, State, at_once, copy, delete, ensure_holds, ensure_is_gone, load, save, state,
        update,
    },
};

checks! {
    Races, Must, TRAIT => sessions_that_begin_at_once_are_distinct;
    Races, Must, TRAIT => updates_at_once_leave_the_state_of_one_of_them;
    Races, Must, TRAIT => a_session_that_is_being_written_is_read_whole;
    Races, Must, "`SessionStore`; ASVS 15.4.2" => an_update_that_meets_a_delete_does_not_undo_it;
    Races, Must, "`SessionStore`; ASVS 15.4.2" => update_ttl_that_meets_a_delete_does_not_undo_it;
}

const WRITERS: usize = 32;

async fn sessions_that_begin_at_once_are_distinct<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let begun = (0..WRITERS).map(|number| {
        let store = harness.store();
        async move {
            let own = state([("number", &number.to_string())]);
            Ok((save(&store, &own, HOUR).await?, own))
        }
    });
    let begun = at_once(begun).await?;
    let distinct: HashSet<_> = begun.iter().map(|(key, _)| key.as_ref()).collect();
    ensure!(
        distinct.len() == WRITERS,
        "{WRITERS} sessions have {} keys",
        distinct.len()
    );
    for (session_key, own) in &begun {
        ensure_holds(&harness.store(), session_key, own).await?;
    }
    Ok(())
}

/// What one writer writes: its number in every field, and some fields that only it has.
fn whole(writer: usize) -> State {
    let common = (0..8).map(|field| format!("common {field}"));
    let own = (0..4).map(|field| format!("{writer}'s {field}"));
    common
        .chain(own)
        .map(|name| (name, writer.to_string()))
        .collect()
}

fn ensure_is_whole(found: &State) -> anyhow::Result<()> {
    let writer = found.get("common 0").and_then(|number| number.parse().ok());
    let is_whole = writer.is_some_and(|writer| *found == whole(writer));
    ensure!(is_whole, "nobody has written {}", Short(found));
    Ok(())
}

async fn updates_at_once_leave_the_state_of_one_of_them<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    for _ in 0..4 {
        let session_key = save(&harness.store(), &whole(0), HOUR).await?;
        let updates = (0..WRITERS).map(|writer| {
            let (store, session_key) = (harness.store(), copy(&session_key));
            async move { update(&store, &session_key, &whole(writer), HOUR).await }
        });
        for session_key in at_once(updates).await? {
            // If an update gives another key, the one from before may be gone.
            if let Some(found) = load(&harness.store(), &session_key).await? {
                ensure_is_whole(&found)?;
            }
        }
    }
    Ok(())
}

async fn a_session_that_is_being_written_is_read_whole<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    let session_key = save(&harness.store(), &whole(0), HOUR).await?;
    let tasks = (0..WRITERS).map(|number| {
        let (store, mut session_key) = (harness.store(), copy(&session_key));
        async move {
            if number % 2 == 0 {
                session_key = update(&store, &session_key, &whole(number), HOUR).await?;
            }
            let found = load(&store, &session_key).await?;
            ensure_is_whole(&found.context("it is not there")?)
        }
    });
    at_once(tasks).await.map(drop)
}

/// Under its own key. (Whether it is there under another one, a check of the lifecycle says.)
async fn an_update_that_meets_a_delete_does_not_undo_it<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    meets_a_delete(harness, async |store: H::Store, session_key: SessionKey| {
        let _ = store.update(session_key, whole(1), &HOUR).await;
    })
    .await
}

async fn update_ttl_that_meets_a_delete_does_not_undo_it<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    meets_a_delete(harness, async |store: H::Store, session_key: SessionKey| {
        let _ = store.update_ttl(&session_key, &HOUR).await;
    })
    .await
}

async fn meets_a_delete<H: Harness>(
    harness: &H,
    act: impl AsyncFnOnce(H::Store, SessionKey) + Copy + 'static,
) -> anyhow::Result<()> {
    for round in 0..WRITERS {
        let session_key = save(&harness.store(), &whole(0), HOUR).await?;
        // Each of them is the first one, in turn.
        let tasks = (0..4).map(|number| {
            let (store, session_key) = (harness.store(), copy(&session_key));
            async move {
                if number == round % 4 {
                    return delete(&store, &session_key).await;
                }
                act(store, session_key).await;
                Ok(())
            }
        });
        at_once(tasks).await?;
        ensure_is_gone(&harness.store(), &session_key).await?;
    }
    Ok(())
}
