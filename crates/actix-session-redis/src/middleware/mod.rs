//! HTTP: which request an operation of the store belongs to, and what becomes of its cookie.

pub(crate) mod consistent;
pub(crate) mod current_session;
pub(crate) mod request_scope;
