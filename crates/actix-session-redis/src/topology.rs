//! What a pool leads to: a server, a cluster, or the master that Sentinels know; and how one URL says it.

use std::fmt;

#[cfg(feature = "cluster")]
use deadpool_redis::cluster;
use deadpool_redis::{
    Manager, Pool, Runtime,
    redis::{AsyncConnectionConfig, IntoConnectionInfo as _, io::tcp::TcpSettings},
};
#[cfg(feature = "sentinel")]
use deadpool_redis::{
    redis::{ConnectionAddr, RedisConnectionInfo},
    sentinel::{self, TlsMode},
};

use crate::error::Error;

#[derive(Clone)]
pub(crate) enum Topology {
    Standalone(Pool),
    #[cfg(feature = "sentinel")]
    Sentinel(sentinel::Pool),
    #[cfg(feature = "cluster")]
    Cluster(cluster::Pool),
}

const UNENCODED: &str = "in a user name or password, `#`, `@`, `/`, `?` and `%` must be \
                         percent-encoded (`%23`, `%40`, `%2F`, `%3F`, `%25`)";

/// A URL that names several servers, in parts.
#[cfg(any(feature = "cluster", feature = "sentinel"))]
struct Nodes<'a> {
    /// That of one of them.
    scheme: &'a str,
    /// With its `@`, or empty.
    credentials: &'a str,
    hosts: &'a str,
    /// What follows the hosts: the database, and what is asked.
    rest: &'a str,
    /// The server's certificate is not verified.
    insecure: &'a str,
}

impl Topology {
    pub(crate) fn from_url(url: &str) -> Result<Self, Error> {
        if has_unencoded_credentials(url) {
            return Err(invalid(&UNENCODED));
        }
        // Of a form, which this is none, a space.
        let url = &match url.split_once('?') {
            Some((before, asked)) => [before, "?", &asked.replace('+', "%2B")].concat(),
            None => url.to_owned(),
        };
        let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
        let scheme = scheme.to_ascii_lowercase();
        match scheme.split_once('-') {
            Some((server @ ("redis" | "rediss"), "cluster")) => at_cluster(server, rest),
            Some((server @ ("redis" | "rediss"), "sentinel")) => at_sentinels(server, rest),
            _ if scheme.ends_with("unix") => {
                knows_parameters(rest, &["db", "user", "pass", "protocol"])?;
                at_server(url)
            }
            _ => at_server(url),
        }
    }
}

fn at_server(url: &str) -> Result<Topology, Error> {
    // The client puts a limit to every connect and every command; a second, fixed one here
    // would only contradict the deadline that the builder sets.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    // Other requests' commands are under way on the same connection, and by Nagle's algorithm a
    // small one would wait until Redis has acknowledged them: for a whole round trip.
    let undelayed = TcpSettings::default().set_nodelay(true);
    let info = url.into_connection_info();
    let info = info.map(|info| info.set_tcp_settings(undelayed));
    let manager = info.and_then(|info| Manager::new_with_config(info, config));
    let manager = manager.map_err(|error| invalid(&error))?;
    let pool = Pool::builder(manager).runtime(Runtime::Tokio1).build();
    pool.map(Topology::Standalone)
        .map_err(|error| invalid(&error))
}

#[cfg(feature = "cluster")]
fn at_cluster(scheme: &str, rest: &str) -> Result<Topology, Error> {
    use deadpool_redis::cluster::Config;

    let nodes = Nodes::of(scheme, rest);
    if !["", "/", "/0"].contains(&nodes.rest) {
        return Err(invalid(&"a cluster has database 0 only, and no parameters"));
    }
    let nodes = nodes.all(":6379")?;
    for node in &nodes {
        node.as_str()
            .into_connection_info()
            .map_err(|error| invalid(&error))?;
    }
    let pool = Config::from_urls(nodes).create_pool(Some(Runtime::Tokio1));
    pool.map(Topology::Cluster).map_err(|error| invalid(&error))
}

#[cfg(not(feature = "cluster"))]
fn at_cluster(_: &str, _: &str) -> Result<Topology, Error> {
    Err(invalid(&"the Cargo feature `cluster` is off"))
}

#[cfg(feature = "sentinel")]
fn at_sentinels(scheme: &str, rest: &str) -> Result<Topology, Error> {
    use deadpool_redis::sentinel::{Config, SentinelNodeConnectionInfo, SentinelServerType};

    let nodes = Nodes::of(scheme, rest);
    let asked = Asked::of(nodes.rest)?;
    let (mut sentinels, mut master) = (Vec::new(), SentinelNodeConnectionInfo::default());
    for node in nodes.all(":26379")? {
        let info = node
            .into_connection_info()
            .map_err(|error| invalid(&error))?;
        master.tls_mode = tls_mode(info.addr());
        master.redis_connection_info = Some(of_master(info.redis_settings()));
        sentinels.push(asked.sentinel_at(info.addr()));
    }
    let config = Config {
        urls: None,
        connections: Some(sentinels),
        server_type: SentinelServerType::Master,
        master_name: asked.master,
        node_connection_info: Some(master),
        pool: None,
    };
    let pool = config.create_pool(Some(Runtime::Tokio1));
    pool.map(Topology::Sentinel)
        .map_err(|error| invalid(&error))
}

#[cfg(feature = "sentinel")]
fn tls_mode(address: &ConnectionAddr) -> Option<TlsMode> {
    match address {
        ConnectionAddr::TcpTls { insecure: true, .. } => Some(TlsMode::Insecure),
        ConnectionAddr::TcpTls { .. } => Some(TlsMode::Secure),
        _ => None,
    }
}

/// What a URL says of user, password and database is meant for the master: Sentinels have no
/// database, and seldom a password.
#[cfg(feature = "sentinel")]
fn of_master(settings: &RedisConnectionInfo) -> deadpool_redis::RedisConnectionInfo {
    deadpool_redis::RedisConnectionInfo {
        db: settings.db(),
        username: settings.username().map(str::to_owned),
        password: settings.password().map(str::to_owned),
        ..deadpool_redis::RedisConnectionInfo::default()
    }
}

#[cfg(not(feature = "sentinel"))]
fn at_sentinels(_: &str, _: &str) -> Result<Topology, Error> {
    Err(invalid(&"the Cargo feature `sentinel` is off"))
}

#[cfg(any(feature = "cluster", feature = "sentinel"))]
impl<'a> Nodes<'a> {
    fn of(scheme: &'a str, rest: &'a str) -> Self {
        let (rest, insecure) = match rest.strip_suffix("#insecure") {
            Some(rest) => (rest, "#insecure"),
            None => (rest, ""),
        };
        let (credentials, rest) = rest.split_at(rest.rfind('@').map_or(0, |at| at + 1));
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (hosts, rest) = rest.split_at(end);
        Self {
            scheme,
            credentials,
            hosts,
            rest,
            insecure,
        }
    }

    /// A URL for each, with the database, and with this port if it names none.
    fn all(&self, default_port: &str) -> Result<Vec<String>, Error> {
        let Self {
            scheme,
            credentials,
            insecure,
            ..
        } = self;
        let database = self.rest.split('?').next().unwrap_or_default();
        let node = |host: &str| {
            let name_and_port = host.rsplit(']').next().unwrap_or_default();
            let port = match name_and_port.contains(':') {
                true => "",
                false => default_port,
            };
            match host.is_empty() {
                true => Err(invalid(&"a host is empty")),
                false => Ok(format!(
                    "{scheme}://{credentials}{host}{port}{database}{insecure}"
                )),
            }
        };
        self.hosts.split(',').map(node).collect()
    }
}

/// What follows the question mark.
#[cfg(feature = "sentinel")]
struct Asked {
    master: String,
    sentinel_user: Option<String>,
    sentinel_password: Option<String>,
}

#[cfg(feature = "sentinel")]
impl Asked {
    fn of(rest: &str) -> Result<Self, Error> {
        knows_parameters(rest, &["master", "sentinel_user", "sentinel_password"])?;
        let (mut master, mut sentinel_user, mut sentinel_password) = (None, None, None);
        let asked = deadpool_redis::redis::parse_redis_url(&["redis://host", rest].concat());
        for (name, value) in asked.iter().flat_map(|url| url.query_pairs()) {
            let known = match &*name {
                "master" => &mut master,
                "sentinel_user" => &mut sentinel_user,
                "sentinel_password" => &mut sentinel_password,
                _ => continue,
            };
            *known = Some(value.into_owned());
        }
        Ok(Self {
            master: master
                .filter(|name| !name.is_empty())
                .ok_or_else(|| invalid(&"the name of the master is missing: `?master=NAME`"))?,
            sentinel_user,
            sentinel_password,
        })
    }

    fn sentinel_at(&self, address: &ConnectionAddr) -> deadpool_redis::ConnectionInfo {
        deadpool_redis::ConnectionInfo {
            addr: address.clone().into(),
            redis: deadpool_redis::RedisConnectionInfo {
                username: self.sentinel_user.clone(),
                password: self.sentinel_password.clone(),
                ..deadpool_redis::RedisConnectionInfo::default()
            },
        }
    }
}

/// Whether the URL would be understood in another way than it was meant: what follows a `#`, `/` or
/// `?` is no part of the credentials any more, and a piece of a password becomes a host name.
fn has_unencoded_credentials(url: &str) -> bool {
    // The only fragment that has a meaning: the server's certificate is not verified.
    let url = url.strip_suffix("#insecure").unwrap_or(url);
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let credentials = rest.rsplit_once('@').map(|(credentials, _)| credentials);
    let is_cut = credentials.is_some_and(|it| it.contains(['#', '@', '/', '?']));
    (is_cut && !scheme.to_ascii_lowercase().ends_with("unix")) || url.contains('#')
}

/// An unknown parameter, which is not quoted: it may be the end of a password that has a `&`.
fn knows_parameters(rest: &str, known: &[&str]) -> Result<(), Error> {
    let (_, asked) = rest.split_once('?').unwrap_or_default();
    let mut names = asked
        .split('&')
        .map(|it| it.split('=').next().unwrap_or_default());
    match names.all(|name| name.is_empty() || known.contains(&name)) {
        true => Ok(()),
        false => Err(invalid(&format!(
            "a parameter is none of `{}`; in a value, `&` and `%` must be percent-encoded (`%26`, `%25`)",
            known.join("`, `")
        ))),
    }
}

/// Without the URL, which may hold a password.
fn invalid(reason: &dyn fmt::Display) -> Error {
    Error::InvalidUrl {
        reason: reason.to_string(),
    }
}
