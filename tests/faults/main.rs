//! What people notice when Redis is in trouble: in most tests, 64 of them keep refreshing their pages
//! meanwhile.
//!
//! Each test prints its figures as a line on stderr; `make chaos` shows them.

/// One visitor alone in an outage: no request pays for looking whether Redis is back.
mod alone;
/// A Redis Cluster, in which servers fail and slots move.
mod cluster;
/// Redis is demoted to a replica, and promoted again.
mod demotion;
/// Redis closes every connection, again and again.
mod disconnections;
/// The master dies, and Sentinels choose another.
mod failover;
/// Redis is full.
mod full;
/// Redis hangs: it accepts connections and answers nothing.
mod hang;
/// A thousand connections read one large session, next to somebody with a small one.
mod large;
/// Redis is there only after the instances, or long after they have lost it.
mod late;
/// Redis ends and comes back.
mod restart;

/// What came of the requests, and what is asserted of them.
mod figures;
/// What the stack takes of the machine and of Redis.
mod footprint;
/// What listens in the place of Redis, and never answers.
mod tarpit;
/// The stack under test, and the load on it.
mod trial;
/// One of those who refresh.
mod visitor;
