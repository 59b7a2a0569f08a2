#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod builder;
mod codec;
mod entry;
mod error;
mod keyspace;
mod lease;
mod outage;
mod pool;
mod store;

pub use deadpool_redis;

pub use self::{
    builder::RedisSessionStoreBuilder,
    error::{Error, Fault},
    pool::RedisPool,
    store::RedisSessionStore,
};
