//! The store against a real Redis: one module per risk, facts from the server's side.

/// What the tests stand on: Redis servers, a proxy that breaks things, an app and its browsers.
#[macro_use]
mod support;

/// A new session never overwrites an existing one.
mod collisions;
/// A cookie that is not from us costs nothing and gives nothing.
mod cookies;
/// What a request costs, in Redis commands and connections.
mod cost;
/// An ended session is never brought back.
mod ended;
/// The store built into actix-session and ours read each other's sessions.
mod formats;
/// A connection breaks, or Redis restarts: no request fails.
mod lost_connection;
/// A command whose reply is lost is repeated, and the caller does not notice.
mod lost_replies;
/// The five operations do what they say, however the store is connected.
mod operations;
/// Redis is away: requests fail soon, and work again once it is back.
mod outage;
/// A pool of any size works, whoever else uses it.
mod pool;
/// Redis says no: at once, with a reason, and without giving secrets away.
mod refusals;
/// A state that is too large is refused, and what was stored stays.
mod size;
/// TTLs are milliseconds, and no session lives for ever.
mod ttl;
/// What is not a session state is an empty session to the visitor, never an error.
mod unreadable;
/// The life of a session through `SessionMiddleware`: create, read, change, renew, purge, expire.
mod workflow;
