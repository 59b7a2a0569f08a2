//! Logins and logouts, through the session middleware.

use actix_session::Session;
use anyhow::ensure;

use super::checks;
use crate::{
    browser::{Browser, USER},
    harness::Harness,
};

checks! {
    Lifecycle, Must, "`SessionMiddleware`; ASVS 7.2.4" => a_login_ends_the_session_from_before;
    Lifecycle, Must, "`SessionMiddleware`; ASVS 7.4.1" => a_logout_ends_the_session;
    Lifecycle, Should, "ASVS 7.4.1" => a_request_that_changes_and_outlasts_a_logout_does_not_undo_it;
    Lifecycle, Should, "ASVS 7.4.1" => a_request_that_renews_and_outlasts_a_logout_does_not_undo_it;
    Lifecycle, Should, "ASVS 7.2.4" => a_request_that_outlasts_a_login_does_not_undo_it;
}

/// Somebody with a session, who is not logged in.
async fn visitor<H: Harness>(harness: &H) -> anyhow::Result<Browser> {
    let browser = Browser::start(harness).await?;
    browser.put("basket", 1).await?;
    Ok(browser)
}

async fn member<H: Harness>(harness: &H) -> anyhow::Result<Browser> {
    let browser = visitor(harness).await?;
    browser.log_in().await?;
    ensure!(is_logged_in(&browser).await?, "a login does not last");
    Ok(browser)
}

async fn is_logged_in(browser: &Browser) -> anyhow::Result<bool> {
    Ok(browser.look().await?.contains_key(USER))
}

async fn a_login_ends_the_session_from_before<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let browser = visitor(harness).await?;
    let thief = browser.with_stolen_cookie();
    browser.log_in().await?;
    let found = browser.look().await?;
    ensure!(found.contains_key(USER), "the login is lost");
    ensure!(
        found.contains_key("basket"),
        "what was in the session is lost"
    );
    ensure!(
        browser.session_key()? != thief.session_key()?,
        "the session key is the same"
    );
    ensure!(
        thief.look().await?.is_empty(),
        "the old cookie still leads to a session"
    );
    Ok(())
}

async fn a_logout_ends_the_session<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let browser = member(harness).await?;
    let thief = browser.with_stolen_cookie();
    browser.log_out().await?;
    ensure!(browser.cookie().is_none(), "the browser still has a cookie");
    ensure!(
        browser.look().await?.is_empty(),
        "the browser still has a session"
    );
    ensure!(
        thief.look().await?.is_empty(),
        "a copy of the cookie still leads to the session"
    );
    Ok(())
}

/// A logout in one tab, while the request of another tab is under way.
async fn outlasts_a_logout<H: Harness>(
    harness: &H,
    act: impl FnOnce(&Session) -> anyhow::Result<()> + 'static,
) -> anyhow::Result<()> {
    let browser = member(harness).await?;
    let other_tab = browser.clone();
    let logout = async move { other_tab.log_out().await };
    // It may fail.
    let _ = browser.request_during_which(logout, act).await;
    ensure!(
        !is_logged_in(&browser).await?,
        "the browser is logged in after a logout"
    );
    Ok(())
}

async fn a_request_that_changes_and_outlasts_a_logout_does_not_undo_it<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    outlasts_a_logout(harness, |session| Ok(session.insert("basket", 2)?)).await
}

/// The middleware deletes and saves, so this takes more than a store.
async fn a_request_that_renews_and_outlasts_a_logout_does_not_undo_it<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    outlasts_a_logout(harness, |session| {
        session.renew();
        Ok(())
    })
    .await
}

/// Its response comes last, and a cookie of the old session would take the place of the new one's.
async fn a_request_that_outlasts_a_login_does_not_undo_it<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    let browser = visitor(harness).await?;
    let other_tab = browser.clone();
    let login = async move { other_tab.log_in().await };
    let _ = browser
        .request_during_which(login, |session| Ok(session.insert("basket", 2)?))
        .await;
    ensure!(
        is_logged_in(&browser).await?,
        "the browser is logged out after a login"
    );
    Ok(())
}
