use std::fmt;

use actix_session_redis::{
    RedisPool,
    deadpool_redis::{
        ConnectionInfo, RedisConnectionInfo, Runtime, cluster,
        redis::{ConnectionAddr, IntoConnectionInfo as _},
        sentinel::{self, SentinelNodeConnectionInfo, SentinelServerType, TlsMode},
    },
};
use anyhow::{Context as _, bail};
use clap::{Args, builder::BoolishValueParser};

/// Where the Redis is that holds the sessions, as the command line and the environment say it.
#[derive(Clone, Args)]
pub struct RedisAddress {
    /// Redis that holds the sessions; of Sentinels or a cluster several, with commas in between
    /// [default: `serve`: redis://127.0.0.1:6379, `up`: a private one that forgets everything]
    #[arg(
        long = "redis-url",
        env = Self::URL,
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ','
    )]
    urls: Vec<String>,
    /// REDIS_URL names nodes of a Redis Cluster
    #[arg(
        long,
        env = Self::CLUSTER,
        value_parser = BoolishValueParser::new(),
        requires = "urls",
        conflicts_with = "sentinel_master"
    )]
    cluster: bool,
    /// REDIS_URL names Redis Sentinels, which know the master by this name; user, password and
    /// database in it are the master's
    #[arg(long, env = Self::SENTINEL_MASTER, requires = "urls", value_name = "NAME")]
    sentinel_master: Option<String>,
}

impl RedisAddress {
    const URL: &str = "REDIS_URL";
    const CLUSTER: &str = "REDIS_CLUSTER";
    const SENTINEL_MASTER: &str = "REDIS_SENTINEL_MASTER";

    /// A single server.
    pub fn standalone(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            cluster: false,
            sentinel_master: None,
        }
    }

    /// These nodes, and all others of their cluster.
    pub fn cluster(urls: Vec<String>) -> Self {
        Self {
            urls,
            cluster: true,
            sentinel_master: None,
        }
    }

    /// Whichever server these Sentinels name as the master of this name.
    pub fn sentinel(urls: Vec<String>, master: impl Into<String>) -> Self {
        Self {
            urls,
            cluster: false,
            sentinel_master: Some(master.into()),
        }
    }

    /// Whether it was said at all.
    pub(crate) fn is_given(&self) -> bool {
        !self.urls.is_empty()
    }

    /// What tells another process of this program the same. A command line can be read by every
    /// user of the machine, so an address, which may hold a password, goes by environment.
    pub(crate) fn to_env(&self) -> Vec<(&'static str, String)> {
        vec![
            (Self::URL, self.url()),
            // Set to nothing, they count as not set, whatever we ourselves were told.
            (
                Self::CLUSTER,
                if self.cluster { "true" } else { "" }.to_owned(),
            ),
            (
                Self::SENTINEL_MASTER,
                self.sentinel_master.clone().unwrap_or_default(),
            ),
        ]
    }

    /// The address, or all of them with commas in between.
    pub(crate) fn url(&self) -> String {
        self.urls.join(",")
    }

    /// Connections to it. Does no I/O.
    pub(crate) fn pool(&self) -> anyhow::Result<RedisPool> {
        self.topology().context("REDIS_URL")
    }

    fn topology(&self) -> anyhow::Result<RedisPool> {
        if let Some(master) = &self.sentinel_master {
            return self.sentinel_pool(master);
        }
        if self.cluster {
            let config = cluster::Config::from_urls(self.urls.clone());
            return Ok(config.create_pool(Some(Runtime::Tokio1))?.into());
        }
        match &self.urls[..] {
            [url] => Ok(RedisPool::from_url(url)?),
            _ => bail!(
                "several addresses are for --cluster or --sentinel-master; a single Redis has one"
            ),
        }
    }

    /// What a URL says of user, password and database is meant for the master: Sentinels have
    /// no database, and seldom a password.
    fn sentinel_pool(&self, master: &str) -> anyhow::Result<RedisPool> {
        let mut sentinels = Vec::new();
        let mut node = SentinelNodeConnectionInfo::default();
        for url in &self.urls {
            let info = url.as_str().into_connection_info()?;
            let settings = info.redis_settings();
            if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
                node.tls_mode = Some(TlsMode::Secure);
            }
            node.redis_connection_info = Some(RedisConnectionInfo {
                db: settings.db(),
                username: settings.username().map(str::to_owned),
                password: settings.password().map(str::to_owned),
                ..RedisConnectionInfo::default()
            });
            sentinels.push(ConnectionInfo {
                addr: info.addr().clone().into(),
                ..ConnectionInfo::default()
            });
        }
        let config = sentinel::Config {
            urls: None,
            connections: Some(sentinels),
            server_type: SentinelServerType::Master,
            master_name: master.to_owned(),
            node_connection_info: Some(node),
            pool: None,
        };
        Ok(config.create_pool(Some(Runtime::Tokio1))?.into())
    }
}

/// Without the addresses, which may hold passwords.
impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisAddress")
            .field("cluster", &self.cluster)
            .field("sentinel_master", &self.sentinel_master)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topology_is_a_pool() {
        let urls = || {
            vec![
                "redis://:sesame@127.0.0.1:1/2".to_owned(),
                "redis://:sesame@127.0.0.1:2/2".to_owned(),
            ]
        };
        for (address, topology) in [
            (RedisAddress::standalone("redis://127.0.0.1"), "Standalone"),
            (RedisAddress::sentinel(urls(), "sessions"), "Sentinel"),
            (RedisAddress::cluster(urls()), "Cluster"),
        ] {
            let pool = format!("{:?}", address.pool().unwrap());
            assert!(pool.contains(topology), "{pool}");
        }
    }

    #[test]
    fn a_bad_address_is_refused_without_quoting_its_password() {
        let bad = || vec!["redis://:sesame@host:port".to_owned()];
        for address in [
            RedisAddress::standalone(bad().concat()),
            RedisAddress::sentinel(bad(), "sessions"),
            RedisAddress::cluster(bad()),
        ] {
            let error = format!("{:#} {address:?}", address.pool().unwrap_err());
            assert!(error.starts_with("REDIS_URL: "), "{error}");
            assert!(!error.contains("sesame"), "{error}");
        }
    }

    #[test]
    fn several_addresses_need_a_word_on_what_they_are() {
        let urls = vec!["redis://a".to_owned(), "redis://b".to_owned()];
        let address = RedisAddress {
            urls,
            cluster: false,
            sentinel_master: None,
        };
        let error = format!("{:#}", address.pool().unwrap_err());
        assert!(error.contains("--sentinel-master"), "{error}");
    }
}
