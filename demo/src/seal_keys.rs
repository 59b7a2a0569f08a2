use std::{env, fmt};

use actix_session_redis::KeyRing;
use anyhow::{Context as _, bail};

/// The secrets that seal what Redis holds of the sessions: the same for every instance, or they
/// cannot open what the others have sealed.
#[derive(Clone)]
pub struct SealKeys {
    base64: String,
    ring: KeyRing,
}

impl SealKeys {
    /// They come by environment only: a command line can be read by every user of the machine.
    pub(crate) const VARIABLE: &str = "SEAL_KEYS";

    /// Of keys in base64 with commas in between, newest first.
    ///
    /// # Errors
    ///
    /// In a sentence that says which key is wrong, and does not quote it.
    pub fn from_base64(keys: impl Into<String>) -> anyhow::Result<Self> {
        let base64 = keys.into();
        let ring = KeyRing::from_base64(&base64).context(Self::VARIABLE)?;
        Ok(Self { base64, ring })
    }

    pub(crate) fn from_env_if_set() -> anyhow::Result<Option<Self>> {
        match env::var(Self::VARIABLE) {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => Self::from_base64(text).map(Some),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => bail!("SEAL_KEYS is not base64"),
        }
    }

    pub(crate) fn to_base64(&self) -> &str {
        &self.base64
    }

    /// As the store takes them.
    pub(crate) fn to_ring(&self) -> KeyRing {
        self.ring.clone()
    }
}

impl fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKeys(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "uTiXUOmrPgNRfVYlxlc+FpDOLbfHN5FTWfCUexDCYwY=";

    #[test]
    fn bad_keys_are_refused_without_quoting_them() {
        for (keys, reason) in [
            ("s3cret!", "key 1 is not base64"),
            (&KEY[..20], "key 1 has 15 bytes"),
            (&format!("{KEY},{KEY}"), "key 2 is there twice"),
            (&format!("{KEY},"), "key 2 has 0 bytes"),
            (" ", "there is no key"),
        ] {
            let refusal = format!("{:#}", SealKeys::from_base64(keys).unwrap_err());
            assert!(refusal.starts_with("SEAL_KEYS: "), "{refusal}");
            assert!(refusal.contains(reason), "{refusal}");
            assert!(keys == " " || !refusal.contains(keys), "{refusal}");
        }
    }

    #[test]
    fn debug_output_hides_the_keys() {
        let keys = SealKeys::from_base64(KEY).unwrap();
        assert_eq!(format!("{keys:?}"), "SealKeys(…)");
    }
}
