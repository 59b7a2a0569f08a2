//! What Redis holds for a session.

pub(crate) mod codec;
pub(crate) mod entry;
pub(crate) mod keyspace;
pub(crate) mod merge;
pub(crate) mod overlap;
pub(crate) mod script;
pub(crate) mod stamp;
