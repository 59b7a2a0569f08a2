//! What every application does with its sessions.

use actix_session::storage::{SessionStore as _, generate_session_key};
use actix_web::cookie::time::Duration;
use anyhow::{Context as _, ensure};

use super::{MIDDLEWARE, TRAIT, checks};
use crate::{
    browser::Browser,
    harness::Harness,
    support::{HOUR, State, copy, delete, ensure_holds, ensure_is_gone, save, state, update},
};

checks! {
    Workflow, Must, TRAIT => a_saved_state_is_loaded_unchanged;
    Workflow, Must, TRAIT => a_field_may_have_any_name;
    Workflow, Must, TRAIT => an_empty_state_is_a_session;
    Workflow, Must, TRAIT => a_large_state_is_stored_whole_or_refused;
    Workflow, Must, TRAIT => every_worker_finds_the_session;
    Workflow, Must, TRAIT => an_update_replaces_the_whole_state;
    Workflow, Must, TRAIT => an_update_leaves_one_session_behind;
    Workflow, Must, TRAIT => an_update_concerns_no_other_session;
    Workflow, Must, TRAIT => a_deleted_session_is_gone;
    Workflow, Must, TRAIT => a_delete_concerns_no_other_session;
    Workflow, Must, MIDDLEWARE => a_delete_of_what_is_not_there_succeeds;
    Workflow, Must, MIDDLEWARE => a_visitor_finds_what_the_last_request_has_left;
}

/// JSON of every kind, as actix-session writes it or an application does.
const VALUES: [&str; 14] = [
    "null",
    "true",
    "-0.0",
    "18446744073709551615",
    "1e-7",
    r#""""#,
    r#""text""#,
    r#""\"quoted\\ \u0000 \ud83e\udd80\"""#,
    "\"\u{e9}\u{4e2d}\u{1f980}\u{202e}\u{feff}\"",
    "[]",
    "{}",
    r#"[[[{"a":[]}]]]"#,
    r#"{"b":1,"a":{"b":1},"a":2}"#,
    " { \"spaces\" : [ 1 , 2 ] }\r\n",
];

const NAMES: [&str; 14] = [
    "",
    " ",
    "name",
    "NAME",
    "with spaces\tand\r\nlines",
    "\0",
    "\"quoted\\\"",
    "\u{e9}",
    // The same to the eye, not to anybody else.
    "e\u{301}",
    "\u{ff}\u{feff}",
    "a.b[0]['c']/d:e;f=g%20",
    "__proto__",
    "_id",
    "{name}*?$1",
];

async fn a_saved_state_is_loaded_unchanged<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let store = harness.store();
    let all = VALUES.iter().enumerate();
    let all = all.map(|(number, json)| (format!("field {number}"), (*json).to_owned()));
    let all = State::from_iter(all);
    let session_key = save(&store, &all, HOUR).await?;
    ensure_holds(&store, &session_key, &all).await?;
    let session_key = update(&store, &session_key, &all, HOUR).await?;
    ensure_holds(&store, &session_key, &all).await
}

async fn a_field_may_have_any_name<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let store = harness.store();
    let long = "long".repeat(256);
    let names = NAMES.iter().copied().chain([&*long]).enumerate();
    let all = State::from_iter(names.map(|(number, name)| (name.to_owned(), number.to_string())));
    let session_key = save(&store, &all, HOUR).await?;
    ensure_holds(&store, &session_key, &all).await
}

/// `clear` leaves one, and so does `renew` without a field.
async fn an_empty_state_is_a_session<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let store = harness.store();
    let saved = save(&store, &State::new(), HOUR).await?;
    ensure_holds(&store, &saved, &State::new()).await?;
    let session_key = save(&store, &state([("n", "1")]), HOUR).await?;
    let cleared = update(&store, &session_key, &State::new(), HOUR).await?;
    ensure_holds(&store, &cleared, &State::new()).await
}

async fn a_large_state_is_stored_whole_or_refused<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let store = harness.store();
    for kibibytes in [1, 4, 16, 64, 256] {
        let text = format!("\"{}\"", "x".repeat(kibibytes * 1024));
        let large = state([("text", &text), ("n", "1")]);
        if let Ok(session_key) = store.save(large.clone(), &HOUR).await {
            ensure_holds(&store, &session_key, &large).await?;
            delete(&store, &session_key).await?;
        }
        let small = state([("n", "0")]);
        let session_key = save(&store, &small, HOUR).await?;
        match store.update(copy(&session_key), large.clone(), &HOUR).await {
            Ok(updated) => {
                ensure_holds(&store, &updated, &large).await?;
                delete(&store, &updated).await?;
            }
            Err(_) => {
                let refused = ensure_holds(&store, &session_key, &small).await;
                refused.context("an update was refused")?;
            }
        }
    }
    Ok(())
}

/// Each has a store that the application's factory has made.
async fn every_worker_finds_the_session<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let [one, another, third] = [harness.store(), harness.store(), harness.store()];
    let (first, second) = (state([("n", "1")]), state([("n", "2")]));
    let session_key = save(&one, &first, HOUR).await?;
    ensure_holds(&another, &session_key, &first).await?;
    let session_key = update(&another, &session_key, &second, HOUR).await?;
    ensure_holds(&third, &session_key, &second).await
}

async fn an_update_replaces_the_whole_state<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let store = harness.store();
    let before = state([("stays", "1"), ("changes", "1"), ("goes", "1")]);
    let after = state([("stays", "1"), ("changes", "[2]"), ("comes", "3")]);
    let session_key = save(&store, &before, HOUR).await?;
    let session_key = update(&store, &session_key, &after, HOUR).await?;
    ensure_holds(&store, &session_key, &after).await
}

/// The trait lets it return another key. Then the one from before is no session any more.
async fn an_update_leaves_one_session_behind<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let store = harness.store();
    let (before, after) = (state([("n", "1")]), state([("n", "2")]));
    let session_key = save(&store, &before, HOUR).await?;
    let updated = update(&store, &session_key, &after, HOUR).await?;
    ensure_holds(&store, &updated, &after).await?;
    if updated != session_key {
        let old = ensure_is_gone(&store, &session_key).await;
        old.context("the key has become another one, and under the old one")?;
    }
    Ok(())
}

async fn an_update_concerns_no_other_session<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let store = harness.store();
    let (mine, yours) = (state([("whose", "1")]), state([("whose", "2")]));
    let my_key = save(&store, &mine, HOUR).await?;
    let your_key = save(&store, &yours, HOUR).await?;
    let after = state([("whose", "3")]);
    update(&store, &my_key, &after, Duration::hours(2)).await?;
    ensure_holds(&store, &your_key, &yours).await
}

async fn a_deleted_session_is_gone<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let store = harness.store();
    let session_key = save(&store, &state([("n", "1")]), HOUR).await?;
    delete(&store, &session_key).await?;
    ensure_is_gone(&store, &session_key).await?;
    ensure_is_gone(&harness.store(), &session_key).await
}

async fn a_delete_concerns_no_other_session<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let store = harness.store();
    let (mine, yours) = (state([("whose", "1")]), state([("whose", "2")]));
    let my_key = save(&store, &mine, HOUR).await?;
    let your_key = save(&store, &yours, HOUR).await?;
    delete(&store, &my_key).await?;
    ensure_holds(&store, &your_key, &yours).await
}

/// Two requests may log out at once, and none of them is wrong.
async fn a_delete_of_what_is_not_there_succeeds<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let store = harness.store();
    let session_key = save(&store, &state([("n", "1")]), HOUR).await?;
    delete(&store, &session_key).await?;
    delete(&store, &session_key)
        .await
        .context("the second time")?;
    let unknown = generate_session_key();
    delete(&store, &unknown).await.context("of an unknown key")
}

async fn a_visitor_finds_what_the_last_request_has_left<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    let browser = Browser::start(harness).await?;
    ensure!(
        browser.look().await?.is_empty(),
        "a new visitor has a session"
    );
    ensure!(
        browser.cookie().is_none(),
        "a visitor without a session has a cookie"
    );
    for n in 1..=3 {
        browser.put("n", n).await?;
        let found = browser.look().await?;
        ensure!(
            found == state([("n", &n.to_string())]),
            "{n} was put, {found:?} is found"
        );
    }
    browser.request(async |session| session.clear()).await?;
    ensure!(browser.look().await?.is_empty(), "the session was cleared");
    Ok(())
}
