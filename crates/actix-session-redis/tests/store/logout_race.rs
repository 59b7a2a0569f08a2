use actix_session::config::TtlExtensionPolicy;

use crate::support::{app::Setup, visit::Visit};

/// Every way in which a request can end: read only, changed, counted, removed, cleared, renewed,
/// logged in, purged, failed.
const SLOW: [&str; 9] = [
    "/read",
    "/set/late/1",
    "/count",
    "/remove/secret",
    "/clear",
    "/renew",
    "/login/late",
    "/purge",
    "/count-and-fail",
];

#[actix_web::test]
async fn whatever_a_request_does_that_outlasts_a_logout_nothing_is_stored_and_no_cookie_set() {
    for slow in SLOW {
        let visit = Visit::begin().await;
        let browser = visit.browser();
        let (slow_answer, logout) = browser.get_slowly(slow, browser.get("/purge")).await;
        assert_eq!(logout.status, 200);
        assert!(logout.touches_session_cookie());
        assert!(!slow_answer.touches_session_cookie(), "{slow}");
        assert!(!browser.has_cookie());
        visit.assert_first_session_has_ended().await;
        assert_eq!(visit.redis.sessions(), [""; 0], "{slow}");
    }
}

#[actix_web::test]
async fn whatever_a_request_does_that_outlasts_a_login_the_browser_ends_with_the_new_session() {
    for slow in SLOW.into_iter().filter(|slow| *slow != "/purge") {
        let visit = Visit::begin().await;
        let browser = visit.browser();
        let (slow_answer, login) = browser.get_slowly(slow, browser.get("/login/Ada")).await;
        assert!(login.touches_session_cookie());
        assert!(!slow_answer.touches_session_cookie(), "{slow}");
        let fields = browser.get("/read").await.text();
        assert_eq!(fields, "secret=\"old\" user=\"Ada\"", "{slow}");
        visit.assert_first_session_has_ended().await;
        visit.redis.only_session();
    }
}

#[actix_web::test]
async fn a_request_that_outlasts_a_logout_answers_as_its_handler_did() {
    for (slow, status) in [
        ("/count", 200),
        ("/login/late", 200),
        ("/count-and-fail", 418),
    ] {
        let visit = Visit::begin().await;
        let browser = visit.browser();
        let (slow_answer, _) = browser.get_slowly(slow, browser.get("/purge")).await;
        assert_eq!(slow_answer.status, status, "{slow}");
        assert_ne!(slow_answer.body, "", "{slow}");
    }
}

#[actix_web::test]
async fn the_applications_own_cookies_are_set_even_if_the_session_has_ended() {
    let visit = Visit::begin().await;
    let browser = visit.browser();
    let slow = "/count-with-own-cookies";
    let newcomer = visit.app.browser();
    let undisturbed = newcomer.get(slow).await;
    assert_eq!(undisturbed.touched_cookies, ["theme", "language", "id"]);

    let (slow_answer, _) = browser.get_slowly(slow, browser.get("/purge")).await;
    assert_eq!(slow_answer.touched_cookies, ["theme", "language"]);
    assert_eq!(browser.cookie(), "language=ko; theme=dark");
}

#[actix_web::test]
async fn a_request_that_fails_keeps_its_change() {
    let visit = Visit::begin().await;
    let browser = visit.browser();
    let failed = browser.get("/count-and-fail").await;
    assert_eq!(failed.status, 418);
    assert_eq!(browser.get("/read").await.text(), "n=1 secret=\"old\"");
}

#[actix_web::test]
async fn a_request_that_would_prolong_a_session_after_its_end_leaves_the_cookie_alone() {
    let setup = Setup {
        policy: TtlExtensionPolicy::OnEveryRequest,
        persistent: true,
        ..Setup::consistent()
    };
    for (end, read_after) in [
        ("/purge", "empty"),
        ("/login/Ada", "secret=\"old\" user=\"Ada\""),
    ] {
        let visit = Visit::begin_with(&setup).await;
        let browser = visit.browser();
        // Old enough to be prolonged.
        let age = format!("PEXPIRE {} 60000", visit.session);
        visit.redis.run::<()>(&age);
        let (slow, _) = browser.get_slowly("/read", browser.get(end)).await;
        assert_eq!(slow.status, 200);
        assert!(!slow.touches_session_cookie());
        visit.assert_first_session_has_ended().await;
        assert_eq!(browser.get("/read").await.text(), read_after);
    }
}

/// The cookie is not taken away: whoever has renewed the session meanwhile would lose it.
#[actix_web::test]
async fn without_consistent_sessions_nothing_is_stored_either_but_the_cookie_is_set() {
    let visit = Visit::begin_with(&Setup::default()).await;
    let browser = visit.browser();
    let (slow, _) = browser.get_slowly("/count", browser.get("/purge")).await;
    assert!(slow.touches_session_cookie());
    assert_eq!(browser.get("/read").await.text(), "empty");
    visit.assert_first_session_has_ended().await;
    assert_eq!(visit.redis.sessions(), [""; 0]);
}
