/// Its sessions live on as ours.
mod adopted;
/// Its names and bytes, read and written by both.
mod layout;
/// Any order of what is done on both sides.
mod orders;
/// Whatever is done on one side while a request is under way on the other.
mod overlaps;
/// Any order of what both stores ask of Redis, one command after the other.
mod turns;

use actix_session::storage::RedisSessionStore as BuiltInStore;
use actix_session_redis::RedisSessionStoreBuilder;

use crate::support::{
    app::{Setup, TestApp},
    browser::Browser,
    redis::TestRedis,
};

/// Two instances of one application: one still runs the built-in store, the other runs ours.
struct Both {
    redis: TestRedis,
    setup: Setup,
    theirs: TestApp,
    ours: TestApp,
}

impl Both {
    async fn start(
        options: impl FnOnce(RedisSessionStoreBuilder) -> RedisSessionStoreBuilder,
    ) -> Self {
        Self::start_with(Setup::consistent(), options).await
    }

    async fn start_with(
        setup: Setup,
        options: impl FnOnce(RedisSessionStoreBuilder) -> RedisSessionStoreBuilder,
    ) -> Self {
        let redis = TestRedis::start().await;
        let built_in = BuiltInStore::new(redis.url()).await.unwrap();
        let theirs = Setup {
            consistent: false,
            ..setup.clone()
        };
        Self {
            theirs: TestApp::with(built_in, &theirs),
            ours: TestApp::with(redis.unsealed_store_with(options), &setup),
            setup,
            redis,
        }
    }

    /// Logged in there, with `n` at 1.
    async fn user(&self) -> Browser<'_> {
        let browser = self.theirs.browser();
        browser.get("/login/ada").await.text();
        browser.get("/count").await.text();
        browser
    }

    async fn read_there(&self, browser: &Browser<'_>) -> String {
        browser.at(&self.theirs).get("/read").await.text()
    }

    async fn read_here(&self, browser: &Browser<'_>) -> String {
        browser.at(&self.ours).get("/read").await.text()
    }

    fn value_of(&self, redis_key: &str) -> String {
        self.redis.run(&format!("GET {redis_key}"))
    }

    fn exists(&self, redis_key: &str) -> bool {
        self.redis.run(&format!("EXISTS {redis_key}"))
    }

    fn lives_for_a_minute(&self, redis_key: &str) {
        let lives: bool = self.redis.run(&format!("PEXPIRE {redis_key} 60000"));
        assert!(lives);
    }

    /// Another one with the same cookie, whatever becomes of the first.
    fn copy_of(&self, browser: &Browser<'_>) -> Browser<'_> {
        self.theirs.browser_with_cookie(browser.cookie())
    }

    async fn assert_ended(&self, browser: &Browser<'_>) {
        let answers = [
            self.read_there(browser).await,
            self.read_here(browser).await,
        ];
        assert_eq!(answers, ["empty", "empty"]);
    }
}

/// Which the signed cookie ends with.
fn session_key_of(browser: &Browser<'_>) -> String {
    let cookie = browser.cookie();
    cookie[cookie.len() - 64..].to_owned()
}
