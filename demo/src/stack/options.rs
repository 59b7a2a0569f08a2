use std::path::PathBuf;

use crate::{CookieKey, RedisAddress, SealKeys, SessionTtl};

/// What a [`Stack`](crate::Stack) consists of.
#[derive(Debug)]
pub struct StackOptions {
    /// The executable of this package: every part of the stack is started through it.
    pub program: PathBuf,
    /// How many instances; three unless changed.
    pub instances: usize,
    /// Where nginx listens on 127.0.0.1; 0, unless changed, for any free port.
    pub port: u16,
    /// The Redis that holds the sessions; a private one unless given.
    pub redis: Option<RedisAddress>,
    /// Encrypts the session cookie; a new one unless given.
    pub cookie_key: CookieKey,
    /// Seal what Redis holds of the sessions; nothing does, unless given.
    pub seal_keys: Option<SealKeys>,
    /// Whether sessions that are not sealed are read in spite of them; not, unless changed.
    pub accept_unsealed: bool,
    /// How long a session lives after its last request; an hour unless changed.
    pub session_ttl: SessionTtl,
    /// Whether the logs of the instances go to stderr as they are written; not, unless changed.
    pub show_logs: bool,
}

impl StackOptions {
    /// Everything at its default.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            instances: 3,
            port: 0,
            redis: None,
            cookie_key: CookieKey::generate(),
            seal_keys: None,
            accept_unsealed: false,
            session_ttl: SessionTtl::default(),
            show_logs: false,
        }
    }
}
