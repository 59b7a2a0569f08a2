//! Names in Redis, and the secrets they are made of.

use actix_session::storage::SessionKey;
use rand::{
    TryRng as _,
    distr::{Alphanumeric, SampleString},
    rngs::SysRng,
};

#[derive(Debug)]
pub(crate) struct Keyspace {
    prefix: String,
}

impl Keyspace {
    pub(crate) fn new(prefix: String) -> Self {
        Self { prefix }
    }

    /// The Redis key that holds the state of a session.
    pub(crate) fn session(&self, session_key: &SessionKey) -> String {
        [&self.prefix, session_key.as_ref()].concat()
    }

    /// The tombstone of a session: the Redis key whose existence says that it has ended.
    ///
    /// It starts with the prefix, so that an ACL rule for the prefix covers it, and names the
    /// session's Redis key as its [hash tag], so that a cluster keeps both in one slot. (A prefix
    /// with a hash tag of its own already does that; one with a single brace cannot.)
    ///
    /// [hash tag]: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
    pub(crate) fn tombstone(&self, session_key: &SessionKey) -> String {
        self.beside("ended:{", session_key, "}")
    }

    /// The Redis key, a new one each time, whose existence says that one write to the session was
    /// carried out. In the same slot, too.
    pub(crate) fn receipt(&self, session_key: &SessionKey) -> String {
        self.beside("written:{", session_key, "}:") + &draw_id()
    }

    /// A Redis key that is no session's, and may be written by whoever may write sessions.
    pub(crate) fn check(&self) -> String {
        [&self.prefix, "check:"].concat()
    }

    fn beside(&self, before: &str, session_key: &SessionKey, after: &str) -> String {
        [
            &self.prefix,
            before,
            &self.prefix,
            session_key.as_ref(),
            after,
        ]
        .concat()
    }
}

/// Tells one operation from all others: 95 random bits.
pub(crate) fn draw_id() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), 16)
}

/// Whether this can be the key of a session, ours or another store's.
///
/// A cookie that the application has signed for another purpose passes for a session cookie if its
/// value is sent under that name. What it says must not reach other Redis keys, such as the
/// tombstone of an ended session.
pub(crate) fn is_session_key(session_key: &SessionKey) -> bool {
    let text = session_key.as_ref();
    let is_ours = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    !text.is_empty() && text.bytes().all(is_ours)
}

/// Draws 64 alphanumerics from the operating system's CSPRNG: 381 bits, where OWASP asks for
/// [at least 64](https://cheatsheetseries.owasp.org/cheatsheets/Session_Management_Cheat_Sheet.html#session-id-entropy).
pub(crate) fn draw_session_key() -> SessionKey {
    const LENGTH: usize = 64;
    const ALPHANUMERICS: &[u8; 62] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut session_key = String::with_capacity(LENGTH);
    while session_key.len() < LENGTH {
        // One system call gives enough but for one time in many.
        let mut random = [0; 96];
        SysRng
            .try_fill_bytes(&mut random)
            .expect("every system that has Redis has random numbers");
        // Of four times 62 values, each alphanumeric has four.
        let fair = random.iter().filter(|&&byte| byte < 4 * 62);
        let drawn = fair.map(|byte| char::from(ALPHANUMERICS[usize::from(byte % 62)]));
        session_key.extend(drawn.take(LENGTH - session_key.len()));
    }
    session_key
        .try_into()
        .expect("64 characters are within the limits of a session key")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> SessionKey {
        text.to_owned().try_into().unwrap()
    }

    #[test]
    fn names_start_with_the_prefix() {
        let keyspace = Keyspace::new("app:".into());
        assert_eq!(keyspace.session(&key("abc")), "app:abc");
        assert_eq!(keyspace.tombstone(&key("abc")), "app:ended:{app:abc}");
    }

    #[test]
    fn an_empty_prefix_gives_the_names_of_the_built_in_store() {
        assert_eq!(Keyspace::new(String::new()).session(&key("abc")), "abc");
    }

    #[test]
    fn no_session_key_names_another_redis_key() {
        assert!(is_session_key(&key("aZ09-_")));
        for other in ["ended:{session:abc}", "a b", "a\r\n", "\0", "é"] {
            assert!(!is_session_key(&key(other)), "{other:?}");
        }
    }

    #[test]
    fn session_keys_are_64_alphanumerics_and_differ() {
        let (one, other) = (draw_session_key(), draw_session_key());
        assert_eq!(one.as_ref().len(), 64);
        assert!(one.as_ref().bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(one.as_ref(), other.as_ref());
    }
}
