//! The demo as people run it, seen from outside: browsers in front of nginx, and signals, files
//! and exit codes around it.

/// What the blog post claims of its sessions.
mod claims;
/// `demo up` and `demo serve` as a person types them: wrong input, signals, nothing left behind.
mod command_line;
/// Many tabs of one browser at once: no refresh is lost or counted twice.
mod consistency;
/// What others on the machine cannot get at, and what a page says that is none.
mod hardening;
/// Instances that die or restart while people are using them.
mod instances;
/// What the log of an instance says: an outage once, and no secrets.
mod logs;
/// What an instance says of itself to Prometheus.
mod metrics;
/// What the page says, and what names it takes.
mod page;
/// The demo with keys that seal what Redis holds: several instances, wrong keys, other keys.
mod sealed;
/// Everything that is logged, that Redis hears and that it keeps on disk, searched for secrets.
mod secrets;
/// The stack on a Redis Cluster, and behind Sentinels.
mod topologies;

/// One instance of four workers, by itself.
mod lone_instance;
/// A command line of the demo that runs, `demo up` among them.
mod running;
/// The stack under test, and a connection to its Redis.
mod stack;
