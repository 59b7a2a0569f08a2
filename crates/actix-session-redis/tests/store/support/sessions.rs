//! Words for session states, session keys, their names in Redis, and typed errors.

use std::collections::HashMap;

use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use actix_session_redis::{Error, RedisSessionStore, SessionId};
use actix_web::cookie::time::Duration;

use super::sealing;

pub(crate) type State = HashMap<String, String>;

pub(crate) const HOUR: Duration = Duration::HOUR;

/// A state with one field.
pub(crate) fn state(field: &str, json: &str) -> State {
    HashMap::from([(field.to_owned(), json.to_owned())])
}

pub(crate) fn session_key(text: &str) -> SessionKey {
    text.to_owned().try_into().unwrap()
}

/// actix-session gives its key no `Clone`.
pub(crate) fn copy(session_key: &SessionKey) -> SessionKey {
    self::session_key(session_key.as_ref())
}

/// A session key of the form that sessions have: this text again and again.
pub(crate) fn long_key(text: &str) -> SessionKey {
    session_key(&text.repeat(64)[..64])
}

/// The Redis key of the session.
pub(crate) fn hash_of(session_key: &SessionKey) -> String {
    sealing::learn(session_key.as_ref());
    format!("session:{}", SessionId::of(session_key))
}

/// The Redis key that says that the session has ended.
pub(crate) fn tombstone_of(session_key: &SessionKey) -> String {
    format!("session:ended:{{{}}}", hash_of(session_key))
}

/// The Redis key of what a session held that was renewed.
pub(crate) fn last_state_of(session_key: &SessionKey) -> String {
    format!("session:late:{{{}}}", hash_of(session_key))
}

/// Saves and reads one session.
pub(crate) async fn assert_works(store: &RedisSessionStore) {
    store.ping().await.unwrap();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "1")));
}

/// The store's own error, out of what actix-session's trait makes of it.
pub(crate) trait Typed {
    fn typed(self) -> Error;
}

impl Typed for anyhow::Error {
    fn typed(self) -> Error {
        self.downcast()
            .expect("an error of the store can be downcast")
    }
}

impl Typed for LoadError {
    fn typed(self) -> Error {
        match self {
            Self::Deserialization(error) | Self::Other(error) => error.typed(),
        }
    }
}

impl Typed for SaveError {
    fn typed(self) -> Error {
        match self {
            Self::Serialization(error) | Self::Other(error) => error.typed(),
        }
    }
}

impl Typed for UpdateError {
    fn typed(self) -> Error {
        match self {
            Self::Serialization(error) | Self::Other(error) => error.typed(),
        }
    }
}
