//! The demo of `actix-session-redis`: a page that counts how often it was refreshed, served by
//! several processes that share their sessions.
//!
//! `demo serve` runs one instance: [`Demo`] are its routes. `demo up` runs the whole stack: Redis,
//! the [`Instances`], and nginx in front. The end-to-end tests start the same stack, so that what
//! they test is what people run.

mod app;
mod cli;
mod cookie_key;
mod dbname;
mod instance_name;
mod instances;
mod metrics;
mod page;
mod redis_url;
mod routes;
mod seal_keys;
mod serve;
mod session_ttl;
mod up;

pub use app::Demo;
pub use cli::main;
pub use cookie_key::CookieKey;
pub use instance_name::InstanceName;
pub use instances::Instances;
pub use seal_keys::SealKeys;
pub use session_ttl::SessionTtl;
