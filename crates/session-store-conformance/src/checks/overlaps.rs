//! Requests of one browser that overlap, through the session middleware.

use anyhow::{Context as _, ensure};

use super::checks;
use crate::{browser::Browser, harness::Harness};

const ASVS: &str = "ASVS 15.4.2";

checks! {
    Races, Should, ASVS => requests_that_overlap_keep_the_fields_of_each_other;
    Races, Should, ASVS => a_request_that_overlaps_does_not_bring_back_a_field;
}

async fn requests_that_overlap_keep_the_fields_of_each_other<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    let browser = Browser::start(harness).await?;
    browser.put("first", 1).await?;
    let other_tab = browser.clone();
    let quick = async move { other_tab.put("quick", 1).await };
    let slow = browser.request_during_which(quick, |session| Ok(session.insert("slow", 1)?));
    slow.await?;
    let found = browser.look().await?;
    for name in ["first", "quick", "slow"] {
        found
            .get(name)
            .with_context(|| format!("what was put in {name} is lost"))?;
    }
    Ok(())
}

async fn a_request_that_overlaps_does_not_bring_back_a_field<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    let browser = Browser::start(harness).await?;
    browser.put("right", 1).await?;
    browser.put("first", 1).await?;
    let other_tab = browser.clone();
    let quick = async move {
        let removed = other_tab
            .request(async |session| session.remove("right"))
            .await?;
        removed.context("it was not there").map(drop)
    };
    let slow = browser.request_during_which(quick, |session| Ok(session.insert("slow", 1)?));
    slow.await?;
    let found = browser.look().await?;
    ensure!(
        !found.contains_key("right"),
        "a field that was removed is there again"
    );
    Ok(())
}
