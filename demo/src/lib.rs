//! The demo of `actix-session-redis`: a page that counts how often it was refreshed, served by
//! several processes that share their sessions.
//!
//! `demo serve` runs one instance: [`Demo`] are its routes. `demo up` runs the whole [`Stack`]:
//! Redis, the instances, and nginx in front. The end-to-end tests start the same [`Stack`], so
//! that what they test is what people run.

mod app;
mod cli;
mod cookie_key;
mod dbname;
mod instance_name;
mod metrics;
mod page;
mod redis_address;
mod routes;
mod seal_keys;
mod serve;
mod session_ttl;
mod stack;
mod tied;
mod up;

pub use app::Demo;
pub use cli::main;
pub use cookie_key::CookieKey;
pub use instance_name::InstanceName;
pub use redis_address::RedisAddress;
pub use seal_keys::SealKeys;
pub use session_ttl::SessionTtl;
pub use stack::{Ended, Event, Interrupter, Stack, StackOptions};
