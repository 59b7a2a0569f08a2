#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod builder;
mod bulletin;
mod codec;
mod connection;
mod consistent;
mod entry;
mod error;
mod keyspace;
mod lease;
mod merge;
mod observation;
mod operation;
mod outage;
mod overlap;
mod patience;
mod pool;
mod scope;
mod script;
mod search;
mod silence;
mod stamp;
mod store;
mod telemetry;
#[cfg(feature = "rustls")]
mod tls;

pub use deadpool_redis;

pub use self::{
    builder::RedisSessionStoreBuilder,
    consistent::{ConsistentSessions, CurrentSession},
    error::{Error, Fault},
    pool::RedisPool,
    store::RedisSessionStore,
};
