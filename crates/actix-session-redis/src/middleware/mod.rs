//! HTTP: which request an operation of the store belongs to, and what that means for its response.

mod application;
mod consistent;
mod cookie_keys;
mod current_key;
mod current_session;
mod options;
mod request_scope;
mod request_session;
mod session_cookie;

pub use self::{
    consistent::ConsistentSessions, cookie_keys::PreviousCookieKey, current_key::CurrentKey,
    current_session::CurrentSession,
};
pub(crate) use self::{
    cookie_keys::cookie_asked_for, request_scope::RequestScope, request_session::RequestSession,
};
