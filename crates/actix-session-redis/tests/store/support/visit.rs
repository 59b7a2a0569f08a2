//! A visitor who has been here, while other requests end the session or go on with it.

use super::{
    app::{Setup, TestApp},
    browser::Browser,
    redis::TestRedis,
};

/// A visitor with a session that holds one field.
pub(crate) struct Visit {
    pub(crate) redis: TestRedis,
    pub(crate) app: TestApp,
    cookie: String,
    pub(crate) session: String,
}

impl Visit {
    pub(crate) async fn begin() -> Self {
        Self::begin_with(&Setup::consistent()).await
    }

    pub(crate) async fn begin_with(setup: &Setup) -> Self {
        let redis = TestRedis::start().await;
        let app = TestApp::with(redis.store_with(|options| options.counter("n")), setup);
        let browser = app.browser();
        browser.get("/set/secret/old").await.text();
        Self {
            cookie: browser.cookie(),
            session: redis.only_session(),
            redis,
            app,
        }
    }

    pub(crate) fn browser(&self) -> Browser<'_> {
        self.app.browser_with_cookie(&self.cookie)
    }

    /// What is there of it besides the session.
    pub(crate) fn beside(&self, what: &str) -> String {
        format!("session:{what}:{{{}}}", self.session)
    }

    /// As when so much time had passed since the session ended.
    pub(crate) fn let_pass(&self, seconds: u32) {
        let left = (300 - seconds) * 1000;
        let tombstone = self.beside("ended");
        assert_eq!(
            self.redis.run::<u8>(&format!("PEXPIRE {tombstone} {left}")),
            1
        );
    }

    /// Nobody gets at the session that the visit began with, and Redis has nothing of it but the
    /// documented tombstone, and for a minute its last state if it was renewed.
    pub(crate) async fn assert_first_session_has_ended(&self) {
        assert_eq!(self.browser().get("/read").await.text(), "empty");
        let tombstone = self.beside("ended");
        let last_state = self.beside("late");
        let mut traces = self.redis.keys();
        traces.retain(|key| key.contains(&self.session) && *key != last_state);
        assert_eq!(traces, [tombstone]);
    }
}
