use actix_session::config::{CookieContentSecurity, TtlExtensionPolicy};
use actix_web::cookie::time::Duration;

use crate::support::{
    app::{Setup, TestApp},
    eventually,
    redis::TestRedis,
    sessions::HOUR,
};

/// Every combination of cookie security and TTL policy, with and without `ConsistentSessions`.
fn all_setups() -> impl Iterator<Item = Setup> {
    use {CookieContentSecurity::*, TtlExtensionPolicy::*};
    let setups = [Setup::default(), Setup::consistent()].into_iter();
    let setups = setups.flat_map(|setup| {
        [Signed, Private].map(|cookies| Setup {
            cookies,
            ..setup.clone()
        })
    });
    setups.flat_map(|setup| {
        [OnStateChanges, OnEveryRequest].map(|policy| Setup {
            policy,
            ..setup.clone()
        })
    })
}

/// Redis and an app for each of them in turn.
async fn all_apps() -> Vec<(TestRedis, TestApp)> {
    let mut apps = Vec::new();
    for setup in all_setups() {
        let redis = TestRedis::start().await;
        let app = TestApp::with(redis.store(), &setup);
        apps.push((redis, app));
    }
    apps
}

#[actix_web::test]
async fn a_session_is_created_read_and_changed() {
    for (redis, app) in all_apps().await {
        let browser = app.browser();
        assert_eq!(browser.get("/read").await.text(), "empty");
        assert!(!browser.has_cookie());
        assert!(redis.keys().is_empty());

        assert_eq!(browser.get("/set/name/Ada").await.text(), "name=\"Ada\"");
        let cookie = browser.cookie();
        assert_eq!(browser.get("/read").await.text(), "name=\"Ada\"");
        browser.get("/set/name/Bea").await.text();
        assert_eq!(browser.get("/count").await.text(), "n=1 name=\"Bea\"");
        assert_eq!(browser.get("/read").await.text(), "n=1 name=\"Bea\"");

        assert_eq!(redis.sessions().len(), 1);
        let same_visitor = app.browser_with_cookie(cookie);
        assert_eq!(same_visitor.get("/read").await.text(), "n=1 name=\"Bea\"");
        assert_eq!(app.browser().get("/read").await.text(), "empty");
    }
}

#[actix_web::test]
async fn a_renewed_session_goes_on_under_a_new_cookie_and_the_old_one_is_dead() {
    for (redis, app) in all_apps().await {
        let browser = app.browser();
        browser.get("/set/name/Ada").await.text();
        let (old_cookie, old_session) = (browser.cookie(), redis.only_session());
        browser.get("/renew").await.text();

        assert_ne!(redis.only_session(), old_session);
        assert_eq!(browser.get("/read").await.text(), "name=\"Ada\"");
        let thief = app.browser_with_cookie(old_cookie);
        assert_eq!(thief.get("/read").await.text(), "empty");
        // Nor does writing bring it back.
        assert_eq!(thief.get("/count").await.text(), "n=1");
        assert_eq!(browser.get("/read").await.text(), "name=\"Ada\"");
    }
}

#[actix_web::test]
async fn a_purged_session_is_gone_and_its_cookie_is_dead() {
    for (redis, app) in all_apps().await {
        let browser = app.browser();
        browser.get("/set/name/Ada").await.text();
        let old_cookie = browser.cookie();
        browser.get("/purge").await.text();

        assert!(redis.sessions().is_empty());
        assert!(!browser.has_cookie(), "the browser was told to forget it");
        assert_eq!(browser.get("/read").await.text(), "empty");
        let thief = app.browser_with_cookie(old_cookie);
        assert_eq!(thief.get("/read").await.text(), "empty");
        assert_eq!(thief.get("/count").await.text(), "n=1");
    }
}

#[actix_web::test]
async fn an_expired_session_is_a_fresh_one() {
    for (redis, app) in all_apps().await {
        let browser = app.browser();
        browser.get("/count").await.text();
        browser.get("/count").await.text();
        let cookie = browser.cookie();
        redis.expire_now(&redis.only_session());
        assert_eq!(browser.get("/read").await.text(), "empty");
        assert_eq!(browser.get("/count").await.text(), "n=1");
        assert_ne!(browser.cookie(), cookie);
    }
}

#[actix_web::test]
async fn a_session_expires_when_its_time_has_passed() {
    let redis = TestRedis::start().await;
    let setup = Setup {
        ttl: Duration::milliseconds(50),
        ..Setup::default()
    };
    let app = TestApp::with(redis.store(), &setup);
    let browser = app.browser();
    browser.get("/count").await.text();
    eventually("it expires", || redis.keys().is_empty()).await;
    assert_eq!(browser.get("/read").await.text(), "empty");
}

/// Whether the session lives longer than a minute after a request to `path`.
async fn is_prolonged_by(path: &str, policy: TtlExtensionPolicy) -> bool {
    let redis = TestRedis::start().await;
    let setup = Setup {
        policy,
        ttl: HOUR,
        ..Setup::default()
    };
    let app = TestApp::with(redis.store(), &setup);
    let browser = app.browser();
    browser.get("/count").await.text();
    let session = redis.only_session();
    redis.run::<()>(&format!("PEXPIRE {session} 60000"));
    browser.get(path).await.text();
    redis.pttl(&session) > 60_000
}

#[actix_web::test]
async fn a_request_prolongs_the_session_as_the_policy_says() {
    use TtlExtensionPolicy::{OnEveryRequest, OnStateChanges};
    assert!(is_prolonged_by("/read", OnEveryRequest).await);
    assert!(is_prolonged_by("/count", OnEveryRequest).await);
    assert!(!is_prolonged_by("/read", OnStateChanges).await);
    assert!(is_prolonged_by("/count", OnStateChanges).await);
}
