//! HTTP: which request an operation of the store belongs to, and what that means for its response.

mod consistent;
mod current_key;
mod current_session;
mod request_scope;
mod session_cookie;

pub(crate) use self::request_scope::{Cookie, Loaded, LoadedSession, RequestScope};
pub use self::{
    consistent::ConsistentSessions, current_key::CurrentKey, current_session::CurrentSession,
};
