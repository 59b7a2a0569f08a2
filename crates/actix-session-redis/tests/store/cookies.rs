use crate::support::{
    app::{Setup, TestApp},
    browser::Browser,
    redis::{TestRedis, commands},
    sessions::long_key,
};

/// The visitor is a stranger, and Redis is not even asked.
async fn assert_is_a_stranger(redis: &TestRedis, browser: Browser<'_>) {
    let cookie = browser.cookie();
    let (answer, asked) = redis.commands_during(browser.get("/read")).await;
    assert_eq!(answer.text(), "empty", "with {cookie}");
    assert_eq!(asked, commands([]), "with {cookie}");
    assert_eq!(browser.get("/count").await.text(), "n=1", "with {cookie}");
}

#[actix_web::test]
async fn a_tampered_cookie_is_a_strangers() {
    let redis = TestRedis::start().await;
    let app = TestApp::on(redis.store());
    let browser = app.browser();
    browser.get("/count").await.text();
    let cookie = browser.cookie();
    for index in ["id=".len(), cookie.len() / 2, cookie.len() - 1] {
        let mut tampered = cookie.clone();
        let other = if &cookie[index..=index] == "A" {
            "B"
        } else {
            "A"
        };
        tampered.replace_range(index..=index, other);
        assert_is_a_stranger(&redis, app.browser_with_cookie(tampered)).await;
    }
    assert_eq!(
        browser.get("/count").await.text(),
        "n=2",
        "the real one works"
    );
}

#[actix_web::test]
async fn a_truncated_cookie_is_a_strangers() {
    let redis = TestRedis::start().await;
    let app = TestApp::on(redis.store());
    let browser = app.browser();
    browser.get("/count").await.text();
    let cookie = browser.cookie();
    for length in ["id=".len(), 10, cookie.len() / 2, cookie.len() - 1] {
        let truncated = &cookie[..length];
        assert_is_a_stranger(&redis, app.browser_with_cookie(truncated)).await;
    }
}

#[actix_web::test]
async fn a_cookie_signed_with_another_key_is_a_strangers() {
    let redis = TestRedis::start().await;
    let (app, other_app) = (TestApp::on(redis.store()), TestApp::on(redis.store()));
    let browser = other_app.browser();
    browser.get("/count").await.text();
    assert_is_a_stranger(&redis, app.browser_with_cookie(browser.cookie())).await;
}

#[actix_web::test]
async fn a_cookie_that_is_too_long_for_a_session_key_is_a_strangers() {
    let redis = TestRedis::start().await;
    let setup = Setup::default();
    let app = TestApp::with(redis.store(), &setup);
    let too_long = setup.signed_cookie(&"x".repeat(4_065));
    assert_is_a_stranger(&redis, app.browser_with_cookie(too_long)).await;
}

#[actix_web::test]
async fn a_genuine_cookie_without_a_session_starts_a_new_one() {
    let redis = TestRedis::start().await;
    let setup = Setup::default();
    let app = TestApp::with(redis.store(), &setup);
    let cookie = setup.signed_cookie(long_key("nobody").as_ref());
    let browser = app.browser_with_cookie(&cookie);
    assert_eq!(browser.get("/read").await.text(), "empty");
    assert_eq!(browser.get("/count").await.text(), "n=1");
    assert_ne!(browser.cookie(), cookie);
    assert_eq!(redis.sessions().len(), 1);
}

/// Such as one that the application has signed for another purpose.
#[actix_web::test]
async fn a_genuine_cookie_without_a_session_key_is_a_strangers() {
    let redis = TestRedis::start().await;
    for setup in [Setup::default(), Setup::consistent()] {
        let app = TestApp::with(redis.store(), &setup);
        let (short, long) = ("x".repeat(63), "x".repeat(65));
        let others = ["nobody", "*", "a b\r\n", "\0", "", "ended:{session:x}"];
        for text in others.into_iter().chain([&*short, &*long]) {
            let browser = app.browser_with_cookie(setup.signed_cookie(text));
            assert_is_a_stranger(&redis, browser).await;
        }
    }
    assert_eq!(redis.sessions().len(), 16);
}
