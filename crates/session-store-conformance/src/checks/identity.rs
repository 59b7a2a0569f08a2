//! Session keys: who has one has the session, and nobody else.

use std::collections::HashSet;

use actix_session::storage::{SessionKey, SessionStore as _, generate_session_key};
use anyhow::{Context as _, bail, ensure};

use super::{MIDDLEWARE, TRAIT, checks};
use crate::{
    harness::Harness,
    support::{HOUR, Short, copy, ensure_holds, ensure_is_gone, is_stored, key, load, save, state},
};

checks! {
    Workflow, Must, TRAIT => every_session_has_a_key_of_its_own;
    Workflow, Should, "OWASP, *Session ID Entropy*; ASVS 7.2.3" => session_keys_can_have_64_bits_of_entropy;
    Workflow, Must, MIDDLEWARE => a_key_that_was_given_to_nobody_is_no_session;
    Workflow, Must, TRAIT => a_key_that_is_almost_right_is_no_session;
    Workflow, Must, TRAIT => a_hostile_key_is_no_session_and_changes_none;
    Workflow, Must, "`SessionStore`; OWASP, *Session ID Generation and Verification*" => a_key_that_a_visitor_has_chosen_is_not_taken;
    Workflow, Should, "OWASP, *Built-in Session Management Implementations*" => the_storage_does_not_hold_what_a_cookie_holds;
}

/// How many keys are looked at: enough to see most of an alphabet of 64 at each place.
const SAMPLES: usize = 128;

async fn keys<H: Harness>(harness: &H) -> anyhow::Result<Vec<SessionKey>> {
    let store = harness.store();
    let same = state([("n", "1")]);
    let mut keys = Vec::new();
    for _ in 0..SAMPLES {
        keys.push(save(&store, &same, HOUR).await?);
    }
    Ok(keys)
}

async fn every_session_has_a_key_of_its_own<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let keys = keys(harness).await?;
    let distinct: HashSet<_> = keys.iter().map(AsRef::as_ref).collect();
    let (distinct, all) = (distinct.len(), keys.len());
    ensure!(distinct == all, "{all} sessions have {distinct} keys");
    Ok(())
}

/// What cannot be seen from outside is whether they come from a good generator. What can: how many characters
/// occur at each place, and that is the most that the place can be worth.
async fn session_keys_can_have_64_bits_of_entropy<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let keys = keys(harness).await?;
    let longest = keys.iter().map(|key| key.as_ref().len()).max();
    let places = (0..longest.unwrap_or_default()).map(|place| {
        let bytes = keys.iter().map(|key| key.as_ref().as_bytes().get(place));
        let distinct: HashSet<_> = bytes.collect();
        u32::try_from(distinct.len()).map_or(8.0, |distinct| f64::from(distinct).log2())
    });
    let bits: f64 = places.sum();
    ensure!(
        bits >= 64.0,
        "{bits:.0} bits at most, by what differs between {SAMPLES} keys"
    );
    Ok(())
}

/// An error would be an answer with 500 to a visitor with an old cookie, or would make the key one to be used.
async fn a_key_that_was_given_to_nobody_is_no_session<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    let store = harness.store();
    for _ in 0..3 {
        ensure_is_gone(&store, &generate_session_key()).await?;
    }
    Ok(())
}

/// For a storage that compares without case, or without spaces at the end.
async fn a_key_that_is_almost_right_is_no_session<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let store = harness.store();
    let right = save(&store, &state([("n", "1")]), HOUR).await?;
    let text = right.as_ref();
    let shorter: String = text.chars().take(text.chars().count() - 1).collect();
    let near = [
        text.to_lowercase(),
        text.to_uppercase(),
        format!("{text} "),
        format!("{text}\n"),
        format!("{text}\0"),
        format!(" {text}"),
        format!("{text}/"),
        format!("{text}*"),
        format!("{text}{text}"),
        shorter,
    ];
    for near in near.into_iter().filter(|near| near != text) {
        if let Ok(Some(found)) = store.load(&key(near.as_str())).await {
            bail!(
                "{near:?} leads to {}, the session of {text:?}",
                Short(&found)
            );
        }
    }
    Ok(())
}

fn hostile_keys() -> Vec<String> {
    let short = [
        "",
        " ",
        "*",
        "?",
        "[a-z]*",
        "%",
        "_",
        ".",
        "..",
        "/",
        "../../etc/passwd",
        "a/b",
        "a:b",
        "{a}b",
        "\0",
        "\r\n",
        "x\r\nFLUSHALL\r\n",
        "$-1\r\n",
        "' OR '1'='1",
        "\"; DROP TABLE sessions; --",
        "{\"$ne\":null}",
        "{{7*7}}",
        "${jndi:x}",
        "\u{202e}\u{feff}\u{1f980}",
    ];
    let short = short.into_iter().map(str::to_owned);
    let long = ["x", "*", "/", "\u{1f980}"];
    let long = long.into_iter().map(|text| text.repeat(4064 / text.len()));
    short.chain(long).collect()
}

/// A cookie is signed, but an application may have keys from elsewhere, and cookie keys leak.
async fn a_hostile_key_is_no_session_and_changes_none<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    let store = harness.store();
    let untouched = state([("whose", "1")]);
    let mine = save(&store, &untouched, HOUR).await?;
    for text in hostile_keys() {
        let hostile = key(text.as_str());
        if let Ok(Some(found)) = store.load(&hostile).await {
            bail!("{text:?} leads to {}", Short(&found));
        }
        let _ = store.update_ttl(&hostile, &HOUR).await;
        let _ = store
            .update(copy(&hostile), state([("n", "1")]), &HOUR)
            .await;
        if let Ok(Some(_)) = store.load(&hostile).await {
            bail!("an update begins a session under {text:?}");
        }
        let _ = store.delete(&hostile).await;
        ensure_holds(&store, &mine, &untouched)
            .await
            .context(text)?;
    }
    Ok(())
}

/// Session fixation: whoever plants a cookie with a key that is not in use must not come to know the session.
async fn a_key_that_a_visitor_has_chosen_is_not_taken<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    let store = harness.store();
    let chosen = generate_session_key();
    let written = state([("n", "1")]);
    let _ = store.update_ttl(&chosen, &HOUR).await;
    // It may be refused, or stored under a key that the store has chosen.
    let _ = store.update(key(chosen.as_ref()), written, &HOUR).await;
    match load(&store, &chosen).await {
        Ok(Some(_)) => bail!("there is a session under the key that was chosen"),
        _ => Ok(()),
    }
}

/// Who reads the storage, or a copy of it, could take over every session.
async fn the_storage_does_not_hold_what_a_cookie_holds<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    let session_key = save(&harness.store(), &state([("n", "1")]), HOUR).await?;
    let is_there = is_stored(harness, session_key.as_ref()).await?;
    ensure!(!is_there, "a session key is in the storage");
    Ok(())
}
