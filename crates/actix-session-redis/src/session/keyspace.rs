//! Names of sessions in Redis, and of what is kept beside them.

use actix_session::storage::SessionKey;

use super::{
    seal::{Seal, Seals, Secrets},
    session_id::SessionId,
    session_key::is_session_key,
    user::UserId,
};

/// What a session is called.
pub(crate) struct Names {
    pub(crate) id: SessionId,
    /// With the session key, if its values are sealed and it is known.
    secrets: Secrets,
    /// Its Redis key in the layout of the store built into actix-session, as long as that matters
    /// and is known. The session key is in it.
    pub(crate) built_in: Option<String>,
}

impl Names {
    /// Of a session whose key is not known.
    pub(crate) fn of_id(id: SessionId) -> Self {
        Self {
            id,
            secrets: Secrets::default(),
            built_in: None,
        }
    }

    /// What seals the values of this session, for one operation.
    pub(crate) fn seal<'a>(&'a self, seals: &'a Seals) -> Seal<'a> {
        seals.of(self.id.as_ref(), &self.secrets)
    }
}

/// The Redis keys of one store. Those of one session are in one slot of a cluster: what is kept
/// beside it names its Redis key as a [hash tag]. (A prefix with a hash tag of its own already does
/// that; one with a single brace cannot.)
///
/// [hash tag]: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
#[derive(Debug)]
pub(crate) struct Keyspace {
    prefix: String,
    built_in: BuiltInNames,
    /// Whether values are sealed, for which their session key is needed.
    is_sealed: bool,
}

/// What the names of the store built into actix-session are for.
#[derive(Debug)]
pub(crate) enum BuiltInNames {
    Ignored,
    /// Sessions that have one of these names are ours from their first write.
    Adopted {
        prefix: String,
    },
    /// Ours have these names.
    Used {
        prefix: String,
    },
}

/// How sessions are laid out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Layout {
    /// As ours.
    Hash,
    /// As those of the store built into actix-session.
    BuiltIn,
}

impl Keyspace {
    pub(crate) fn new(prefix: String, built_in: BuiltInNames, is_sealed: bool) -> Self {
        Self {
            prefix,
            built_in,
            is_sealed,
        }
    }

    pub(crate) fn layout(&self) -> Layout {
        match self.built_in {
            BuiltInNames::Used { .. } => Layout::BuiltIn,
            _ => Layout::Hash,
        }
    }

    /// Whether a write sends the whole state: there are no fields to write one by one.
    pub(crate) fn is_written_whole(&self) -> bool {
        self.layout() == Layout::BuiltIn
    }

    /// Whether sessions of the built-in store become ours.
    pub(crate) fn adopts(&self) -> bool {
        matches!(self.built_in, BuiltInNames::Adopted { .. })
    }

    pub(crate) fn names(&self, session_key: &SessionKey) -> Names {
        let built_in = match &self.built_in {
            BuiltInNames::Ignored => None,
            BuiltInNames::Adopted { prefix } | BuiltInNames::Used { prefix } => {
                Some([prefix, session_key.as_ref()].concat())
            }
        };
        let secret = self.is_sealed.then(|| session_key.as_ref().to_owned());
        Names {
            id: SessionId::of(session_key),
            secrets: Secrets::of(secret),
            built_in,
        }
    }

    /// The Redis key of the copy of a session, while sessions are adopted.
    pub(crate) fn copy<'a>(&self, names: &'a Names) -> Option<&'a str> {
        match self.built_in {
            BuiltInNames::Adopted { .. } => names.built_in.as_deref(),
            _ => None,
        }
    }

    /// The session itself.
    pub(crate) fn session(&self, names: &Names) -> String {
        match (&self.built_in, &names.built_in) {
            (BuiltInNames::Used { .. }, Some(name)) => name.clone(),
            _ => [&self.prefix, names.id.as_ref()].concat(),
        }
    }

    /// What a tombstone says of a successor.
    pub(crate) fn encode_successor<'a>(&self, successor: &'a Names) -> &'a str {
        match (&self.built_in, &successor.built_in) {
            (BuiltInNames::Used { prefix }, Some(name)) => &name[prefix.len()..],
            _ => successor.id.as_ref(),
        }
    }

    /// What a tombstone says of a successor, [read](Self::encode_successor).
    pub(crate) fn decode_successor(&self, successor: Vec<u8>) -> Option<Names> {
        let successor = String::from_utf8(successor).ok()?;
        match self.built_in {
            BuiltInNames::Used { .. } => {
                // There may be none: an empty text would be one to actix-session.
                let session_key = successor.try_into().ok().filter(is_session_key)?;
                Some(self.names(&session_key))
            }
            _ => Some(Names::of_id(successor.parse().ok()?)),
        }
    }

    /// What remains of a session that has ended.
    pub(crate) fn tombstone(&self, id: &SessionId) -> String {
        self.beside("ended:{", id)
    }

    /// The last state of a session that was renewed, until the one who has renewed it has got it.
    pub(crate) fn last_state(&self, id: &SessionId) -> String {
        self.beside("late:{", id)
    }

    /// Of the index of a user's sessions: when they were entered, until when they are, which are to take the
    /// place of others, and when all were ended.
    pub(crate) fn index(&self, user: &UserId) -> [String; 4] {
        ["user:{", "user-until:{", "user-renewals:{", "user-ended:{"]
            .map(|before| [&self.prefix, before, user.as_ref(), "}"].concat())
    }

    /// Redis keys that are no session's, and may be written by whoever may write sessions: one under
    /// our prefix, and one under that of the built-in store, as long as that matters.
    pub(crate) fn check(&self) -> (String, Option<String>) {
        let below = |prefix: &str| [prefix, "check:"].concat();
        let built_in = match &self.built_in {
            BuiltInNames::Ignored => None,
            BuiltInNames::Adopted { prefix } | BuiltInNames::Used { prefix } => Some(below(prefix)),
        };
        (below(&self.prefix), built_in)
    }

    fn beside(&self, before: &str, id: &SessionId) -> String {
        [&self.prefix, before, &self.prefix, id.as_ref(), "}"].concat()
    }
}

#[cfg(test)]
#[path = "../../tests/unit/keyspace.rs"]
mod tests;
