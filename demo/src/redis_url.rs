use std::{convert::Infallible, fmt, str::FromStr};

use actix_session_redis::RedisPool;
use anyhow::Context as _;

/// Where the Redis is that holds the sessions, in one URL: of a server, of a cluster, or of
/// Sentinels. It may hold a password.
#[derive(Clone)]
pub(crate) struct RedisUrl(String);

impl RedisUrl {
    pub(crate) const VARIABLE: &str = "REDIS_URL";

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Connections to it. Does no I/O.
    pub(crate) fn pool(&self) -> anyhow::Result<RedisPool> {
        RedisPool::from_url(&self.0).context(Self::VARIABLE)
    }
}

impl FromStr for RedisUrl {
    type Err = Infallible;

    /// Whether it is one, only [`pool`](Self::pool) says: clap would quote it with its mistake, and
    /// its password.
    fn from_str(url: &str) -> Result<Self, Infallible> {
        Ok(Self(url.to_owned()))
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisUrl(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_address_is_refused_without_quoting_its_password() {
        for bad in [
            "redis://:sesame@host:port",
            "redis-cluster://:sesame@host:port,other",
            "redis-sentinel://:sesame@host",
            "sesame",
        ] {
            let Ok(url) = bad.parse::<RedisUrl>();
            let error = format!("{:#} {url:?}", url.pool().unwrap_err());
            assert!(error.starts_with("REDIS_URL: "), "{error}");
            assert!(!error.contains("sesame"), "{error}");
        }
    }
}
