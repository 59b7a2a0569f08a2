//! HTTP: which request an operation of the store belongs to, and what becomes of its cookie.

mod consistent;
mod current_session;
pub(crate) mod request_scope;

pub use self::{consistent::ConsistentSessions, current_session::CurrentSession};
