//! Names of users in Redis.

use std::str::FromStr as _;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{seal::Seals, session_id::SessionId};

/// A name of a user in Redis: a hash of the JSON text that names the user in the state of a session, in
/// base64url, so that any value names a user, however long. It is the SHA-256; where sessions are
/// [sealed](super::seal), that depends on a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserId(String);

impl UserId {
    fn of_hash(hash: [u8; 32]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(hash))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        // It is as long, and of the same alphabet.
        let id = SessionId::from_str(text).ok()?;
        Some(Self(id.as_ref().to_owned()))
    }
}

impl AsRef<str> for UserId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Whose sessions those are that are entered under one of these names. They are equal if the current
/// ones are.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: UserId,
    /// By older keys of the ring, the newest first, and by none.
    pub(crate) former: Vec<UserId>,
}

impl User {
    /// `json` is in its [canonical](super::state::canonical) spelling.
    pub(crate) fn of(json: &str, seals: &Seals) -> Self {
        let mut ids = seals.hashes(json).into_iter().map(UserId::of_hash);
        let id = ids.next().expect("there is a key, or clear text");
        let former = ids.collect();
        Self { id, former }
    }

    /// All that is entered under this name.
    pub(crate) fn only(id: UserId) -> Self {
        let former = Vec::new();
        Self { id, former }
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &UserId> {
        std::iter::once(&self.id).chain(&self.former)
    }

    pub(crate) fn is(&self, id: &UserId) -> bool {
        self.ids().any(|ours| ours == id)
    }
}

impl PartialEq for User {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}
