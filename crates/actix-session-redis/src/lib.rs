#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/migration.md")]
pub mod migration {}

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

pub use deadpool_redis;

pub use self::{
    builder::RedisSessionStoreBuilder,
    error::{Error, Fault},
    middleware::{ConsistentSessions, CurrentKey, CurrentSession},
    pool::RedisPool,
    session::{InvalidSessionId, SessionId},
    store::RedisSessionStore,
};
