use actix_session::{config::TtlExtensionPolicy, storage::SessionStore};

use crate::support::{
    app::{Setup, TestApp},
    redis::TestRedis,
    sessions::{hash_of, long_key, state},
};

#[actix_web::test]
async fn a_session_that_is_only_read_and_prolonged_outlasts_the_option() {
    for consistent in [false, true] {
        let redis = TestRedis::start().await;
        let key = long_key("ada");
        redis.run::<()>(&format!(r#"SET {} {{"n":"1"}} EX 60"#, key.as_ref()));
        let setup = Setup {
            policy: TtlExtensionPolicy::OnEveryRequest,
            consistent,
            ..Setup::default()
        };
        let adopting = redis.store_with(|options| options.adopt_built_in_sessions(""));
        let app = TestApp::with(adopting, &setup);
        let browser = app.browser_with_cookie(setup.signed_cookie(key.as_ref()));
        browser.get("/read").await.text();
        browser.get("/read").await.text();

        let loaded = redis.store().load(&key).await.unwrap();
        assert_eq!(loaded, Some(state("n", "1")), "consistent: {consistent}");
        assert!(redis.pttl(&hash_of(&key)) > 60_000);
        assert!(redis.pttl(key.as_ref()) > 60_000);
    }
}
