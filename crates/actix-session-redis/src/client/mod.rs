//! Asks Redis, and knows no session: connections, deadlines, outages, failovers.

pub(crate) mod breaker;
pub(crate) mod connect;
pub(crate) mod connection;
pub(crate) mod deadline;
pub(crate) mod lease;
pub(crate) mod operation;
pub(crate) mod pool;
pub(crate) mod silence;
#[cfg(feature = "rustls")]
pub(crate) mod tls;
pub(crate) mod transitions;
