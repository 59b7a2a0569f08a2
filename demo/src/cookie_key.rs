use std::{env, fmt};

use actix_web::cookie::Key;
use anyhow::{Context as _, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};

/// What [`Key`] is made of: a key to sign with and one to encrypt with.
const MIN_BYTES: usize = 64;

/// The secret that encrypts the session cookie: the same for every instance, or none can read
/// the cookies of the others.
#[derive(Clone)]
pub struct CookieKey(Key);

impl CookieKey {
    /// It comes by environment only: a command line can be read by every user of the machine.
    pub(crate) const VARIABLE: &str = "SESSION_KEY";

    /// A new key from the random source of the operating system.
    pub fn generate() -> Self {
        Self(Key::generate())
    }

    pub(crate) fn from_env() -> anyhow::Result<Self> {
        Self::from_env_if_set()?.context(
            "SESSION_KEY is not set: all instances need the same secret to read each other's \
             cookies; make one with `openssl rand -base64 64`",
        )
    }

    pub(crate) fn from_env_if_set() -> anyhow::Result<Option<Self>> {
        match env::var(Self::VARIABLE) {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => Self::from_base64(&text).map(Some),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => bail!("SESSION_KEY is not base64"),
        }
    }

    /// Never quotes the text: it ends up in logs.
    fn from_base64(text: &str) -> anyhow::Result<Self> {
        // `openssl rand -base64 64` breaks its output into two lines.
        let text: String = text.split_ascii_whitespace().collect();
        let Ok(bytes) = BASE64_STANDARD.decode(text) else {
            bail!("SESSION_KEY is not base64; make one with `openssl rand -base64 64`");
        };
        ensure!(
            bytes.len() >= MIN_BYTES,
            "SESSION_KEY is too short: {} bytes, at least {MIN_BYTES} are needed; make one with \
             `openssl rand -base64 64`",
            bytes.len()
        );
        Ok(Self(Key::from(&bytes)))
    }

    pub(crate) fn to_base64(&self) -> String {
        BASE64_STANDARD.encode(self.0.master())
    }

    /// As the session middleware takes it.
    pub fn to_key(&self) -> Key {
        self.0.clone()
    }
}

impl fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        CookieKey::from_base64(text).unwrap_err().to_string()
    }

    #[test]
    fn a_key_survives_the_way_through_the_environment() {
        let key = CookieKey::generate();
        let read = CookieKey::from_base64(&key.to_base64()).unwrap();
        assert_eq!(read.0.master(), key.0.master());
    }

    #[test]
    fn the_two_lines_of_openssl_are_one_key() {
        let text = BASE64_STANDARD.encode([7; 64]);
        let (first, second) = text.split_at(64);
        assert!(CookieKey::from_base64(&format!("{first}\n{second}\n")).is_ok());
    }

    #[test]
    fn short_and_garbled_keys_are_refused_without_quoting_them() {
        let short = BASE64_STANDARD.encode([7; 63]);
        assert!(refusal(&short).contains("63 bytes"));
        assert!(!refusal(&short).contains(&short));
        assert!(refusal("").contains("0 bytes"));
        assert!(refusal("s3cret!").contains("not base64"));
        assert!(!refusal("s3cret!").contains("s3cret"));
    }

    #[test]
    fn debug_output_hides_the_key() {
        assert_eq!(format!("{:?}", CookieKey::generate()), "CookieKey(…)");
    }
}
