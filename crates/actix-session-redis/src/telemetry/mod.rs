//! What operators get to see: events and spans of `tracing`, and metrics with the feature of that
//! name. Nothing in here takes a session key, a state or a password.

pub(crate) mod events;
pub(crate) mod log;
pub(crate) mod observation;
pub(crate) mod outcome;
