// README and chapters name what they link to. Read as files, they lead to files; here, where links.md comes
// first, to pages of this documentation: of two definitions, Markdown takes the first. (Examples are found in
// the wrong file and line behind it.)
#![cfg_attr(not(doctest), doc = include_str!("../docs/links.md"))]
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
// docs.rs says of each item which feature brings it.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(doc, doctest))]
#[cfg_attr(not(doctest), doc = include_str!("../docs/links.md"))]
#[doc = include_str!("../docs/promises.md")]
pub mod promises {}

#[cfg(any(doc, doctest))]
#[cfg_attr(not(doctest), doc = include_str!("../docs/links.md"))]
#[doc = include_str!("../docs/consistency.md")]
pub mod consistency {}

#[cfg(any(doc, doctest))]
#[cfg_attr(not(doctest), doc = include_str!("../docs/links.md"))]
#[doc = include_str!("../docs/users.md")]
pub mod user_sessions {}

#[cfg(any(doc, all(doctest, feature = "cluster", feature = "sentinel")))]
#[cfg_attr(not(doctest), doc = include_str!("../docs/links.md"))]
#[doc = include_str!("../docs/operations.md")]
pub mod operations {}

#[cfg(any(doc, doctest))]
#[cfg_attr(not(doctest), doc = include_str!("../docs/links.md"))]
#[doc = include_str!("../docs/deployment.md")]
pub mod deployment {}

#[cfg(any(doc, doctest))]
#[cfg_attr(not(doctest), doc = include_str!("../docs/links.md"))]
#[doc = include_str!("../docs/servers.md")]
pub mod servers {}

#[cfg(any(doc, doctest))]
#[cfg_attr(not(doctest), doc = include_str!("../docs/links.md"))]
#[doc = include_str!("../docs/security.md")]
pub mod security {}

#[cfg(any(doc, all(doctest, feature = "seal")))]
#[cfg_attr(not(doctest), doc = include_str!("../docs/links.md"))]
#[doc = include_str!("../docs/sealing.md")]
pub mod sealing {}

#[cfg(any(doc, doctest))]
#[cfg_attr(not(doctest), doc = include_str!("../docs/links.md"))]
#[doc = include_str!("../SECURITY.md")]
pub mod threat_model {}

#[cfg(any(doc, doctest))]
#[cfg_attr(not(doctest), doc = include_str!("../docs/links.md"))]
#[doc = include_str!("../docs/migration.md")]
pub mod migration {}

#[cfg(any(doc, doctest))]
#[cfg_attr(not(doctest), doc = include_str!("../docs/links.md"))]
#[doc = include_str!("../docs/conformance.md")]
pub mod conformance {}

#[cfg(any(doc, doctest))]
#[cfg_attr(not(doctest), doc = include_str!("../docs/links.md"))]
#[doc = include_str!("../docs/benchmarks.md")]
pub mod benchmarks {}

/// Every option, its default and why.
mod builder;
/// Asks Redis, and knows no session.
mod client;
/// What can go wrong, for applications.
mod error;
/// Locks that no panic poisons.
mod lock;
/// HTTP: consistent sessions, request by request.
mod middleware;
/// `RedisPool`: where connections come from.
mod pool;
/// What Redis holds for a session; knows no HTTP.
mod session;
/// `RedisSessionStore`, the five operations that actix-session asks for.
mod store;
/// Events, spans and metrics.
mod telemetry;
/// What a pool leads to, and how one URL says it.
mod topology;
/// The sessions of a user: list, end, limit.
mod users;

pub use deadpool_redis;

#[cfg(any(test, actix_session_redis_fuzzing))]
pub use self::session::fuzzing;

#[cfg(feature = "seal")]
pub use self::session::KeyRing;

pub use self::{
    builder::RedisSessionStoreBuilder,
    error::{Error, Fault},
    middleware::{ConsistentSessions, CurrentKey, CurrentSession, PreviousCookieKey},
    pool::RedisPool,
    session::{InvalidSessionId, Login, SessionId},
    store::RedisSessionStore,
    users::{AtLimit, UserSession, UserSessions},
};
