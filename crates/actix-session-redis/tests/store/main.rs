//! The store against a real Redis: one module per risk, facts from the server's side.

/// What the tests stand on: Redis servers, a proxy that breaks things, an app and its browsers.
#[macro_use]
mod support;

/// Redis is away, and public pages stay up: nobody is taken for somebody else, and nothing is lost.
mod anonymous;
/// Where the store, its futures and the public types may go.
mod auto_traits;
/// The network drops all connections without a word: the requests go on over new ones.
mod black_hole;
/// A handler that blocks its worker thread does not hold up the sessions of the other workers.
mod blocked_worker;
/// Whatever happens to a connection, each request gets the reply that is its own.
mod broken_replies;
/// Beside the store built into actix-session, on the same sessions: nobody is logged out, and nobody
/// who has logged out is logged in.
mod built_in;
/// `check()` fails for all that would fail requests, at once, and leaves nothing behind.
mod check;
/// Sessions on all masters of a Redis Cluster, also while slots move between them.
#[cfg(feature = "cluster")]
mod cluster;
/// A new session never overwrites an existing one.
mod collisions;
/// The key of the cookies changes, and nobody is logged out, or takes over what is not theirs.
mod cookie_keys;
/// A cookie that is not from us costs nothing and gives nothing.
mod cookies;
/// What a request costs, in Redis commands and connections.
mod cost;
/// An ended session is never brought back.
mod ended;
/// The examples, run as a reader would.
mod examples;
/// Clients hang up at any moment: it costs no connection and mixes up no sessions.
mod hang_ups;
/// Sessions of other pages and other visitors: what a cache may keep, and how an outage is answered.
mod http;
/// Requests that share one HTTP/2 connection.
mod http2;
/// Gone is gone, a renewal loses nothing, a logout ends what has taken the place of a session, and a request that comes
/// right after the end is late: rules 1 to 8 of the promises.
mod lifecycle;
/// A request that outlasts its session brings nothing back, and leaves the cookie alone.
mod logout_race;
/// What the log says: everything once, and no secrets.
mod logs;
/// A connection breaks, or Redis restarts: no request fails.
mod lost_connection;
/// A command whose reply is lost is repeated, and the caller does not notice.
mod lost_replies;
/// What is measured.
#[cfg(feature = "metrics")]
mod metrics;
/// `ConsistentSessions` wherever an app may wrap it, and `CurrentSession` inside and outside of it.
mod middleware;
/// A session is changed from outside of its requests, by one atomic change.
mod modify;
/// Redis says that it cannot answer now: it is asked again until the deadline, and not too often.
mod not_now;
/// The five operations do what they say, however the store is connected.
mod operations;
/// Options that cannot work are refused with a sentence; client names, and the age of connections.
mod options;
/// What Redis and Valkey of other versions say means the same.
mod other_servers;
/// Redis is away: requests fail soon, and work again once it is back.
mod outage;
/// What two requests of one session change at the same time is merged.
mod overlap;
/// A pool of any size works, whoever else uses it.
mod pool;
/// Whatever the order in which requests of one session talk to Redis, nothing is lost, and nothing
/// ended comes back.
mod protocol;
/// Redis says no: at once, with a reason, and without giving secrets away.
mod refusals;
/// Sealed sessions: who gets at Redis reads nothing and forges nothing, and keys change without a logout.
#[cfg(feature = "seal")]
mod seal;
/// Sessions on the master that Sentinels name, whoever that is.
#[cfg(feature = "sentinel")]
mod sentinel;
/// A state that is too large is refused, and what was stored stays.
mod size;
/// Large sessions on a slow line to Redis: what comes slowly is not silence.
mod slow_line;
/// TTLs are milliseconds, and no session lives for ever.
mod ttl;
/// What is not changed is not written.
mod unchanged;
/// What is not a session state is an empty session to the visitor, never an error.
mod unreadable;
/// One URL names a server, a cluster, or Sentinels and their master.
mod urls;
/// The sessions of a user: every live one is listed, and whoever ends them ends them all.
mod users;
/// The life of a session through `SessionMiddleware`: create, read, change, renew, purge, expire.
mod workflow;
/// Changes of a session meet those of others on any server, whatever they are, and once.
mod write;
