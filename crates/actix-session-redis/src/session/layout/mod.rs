//! How a session is laid out in Redis: as ours, or as that of the store built into actix-session.

pub(super) mod asked;
pub(super) mod built_in;
pub(super) mod fields;
pub(super) mod hash;
