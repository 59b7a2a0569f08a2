//! By what a session is known to others than its browser.

use std::{fmt, str::FromStr};

use actix_session::storage::SessionKey;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// The name of a session in Redis and in logs, and the handle by which a user's other sessions are
/// told apart: the SHA-256 of the session key, in [base64url] without padding, 43 characters.
///
/// It is no secret: whoever knows it cannot get at the session with it.
///
/// [base64url]: https://www.rfc-editor.org/rfc/rfc4648#section-5
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(String);

const SESSION_ID_LENGTH: usize = 43;

impl SessionId {
    /// The id of the session with this key.
    pub fn of(session_key: &SessionKey) -> Self {
        Self(URL_SAFE_NO_PAD.encode(Sha256::digest(session_key.as_ref())))
    }
}

impl AsRef<str> for SessionId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_base64url = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        match text.len() == SESSION_ID_LENGTH && text.bytes().all(is_base64url) {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidSessionId),
        }
    }
}

/// A text that is not a [`SessionId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session id is {SESSION_ID_LENGTH} characters of base64url")]
#[non_exhaustive]
pub struct InvalidSessionId;

#[cfg(test)]
#[path = "../../tests/unit/session_id.rs"]
mod tests;
