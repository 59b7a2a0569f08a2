//! The same tests once more, with sealed sessions: `SEALED=yes cargo test …`.

use actix_session_redis::{RedisPool, RedisSessionStore, RedisSessionStoreBuilder};

/// How all stores begin whose sessions may as well be sealed.
pub(crate) fn options(pool: impl Into<RedisPool>) -> RedisSessionStoreBuilder {
    let options = RedisSessionStore::builder(pool);
    #[cfg(feature = "seal")]
    if std::env::var_os("SEALED").is_some() {
        return options.seal(
            actix_session_redis::KeyRing::new([b"the key of tests, never of users"]).unwrap(),
        );
    }
    options
}
