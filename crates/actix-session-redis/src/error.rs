use std::{fmt, time::Duration};

use actix_web::cookie::time;
use deadpool_redis::{
    PoolError, TimeoutType,
    redis::{ErrorKind, RedisError, ServerErrorKind},
};

use crate::client::connection::Connection;

/// What can go wrong between the store and Redis.
///
/// Whoever calls a [`SessionStore`](actix_session::storage::SessionStore) gets it as an
/// [`anyhow::Error`]; `downcast_ref::<Error>()` gets it back. Behind `SessionMiddleware` nobody
/// does, so the store logs it: see "Errors" in the documentation of the crate.
///
/// No variant carries a session key or a piece of session state, neither in its text nor in its
/// sources, so all of them are safe to log.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL or the settings of the connection pool are not usable.
    ///
    /// Comes from [`RedisSessionStore::from_url`](crate::RedisSessionStore::from_url) only.
    /// Remedy: a URL of the form `redis://[user][:password@]host[:port][/db]` or
    /// `redis+unix:///path[?db=N]`.
    #[error("invalid Redis URL: {reason}")]
    InvalidUrl {
        /// What is wrong with it, without quoting the URL: it may hold a password.
        reason: String,
    },

    /// Redis could not be reached, or gave no usable answer, before the
    /// [`deadline`](crate::RedisSessionStoreBuilder::deadline), or it is known to be away and
    /// another request is already looking for it. Or it was, when the session of the request was
    /// loaded as
    /// [anonymous](crate::RedisSessionStoreBuilder::anonymous_during_outage), and now the request
    /// writes.
    ///
    /// Remedy: none in the application; the store reconnects by itself.
    #[error("Redis is unavailable (waited {} ms): {fault}", waited.as_millis())]
    Unavailable {
        /// How long this operation waited before it gave up.
        waited: Duration,
        /// What the last try ran into. It is part of this error's text.
        fault: Fault,
    },

    /// Redis answered, and the answer is a no that trying again will not change.
    #[error("Redis refused the command ({code}): {remedy}")]
    Refused {
        /// The error code that Redis replied with, such as `NOAUTH` or `OOM`.
        code: String,
        /// What to do about it.
        remedy: &'static str,
    },

    /// What Redis holds under the session's Redis key is not a session state: another type of
    /// value, not UTF-8, not JSON, or JSON of an unknown format.
    ///
    /// actix-session goes on with an empty session under the same session key.
    #[error("the stored session state is unreadable: {reason}")]
    Unreadable {
        /// What it is instead, without quoting it.
        reason: &'static str,
    },

    /// The session state is larger than
    /// [`max_state_bytes`](crate::RedisSessionStoreBuilder::max_state_bytes) once encoded.
    ///
    /// Nothing was sent to Redis: what was stored before is still there.
    #[error("the session state is {bytes} bytes once encoded, {limit} are allowed")]
    StateTooLarge {
        /// Size of the encoded state.
        bytes: usize,
        /// The limit it exceeds.
        limit: usize,
    },

    /// A function given to
    /// [`merge_field`](crate::RedisSessionStoreBuilder::merge_field) panicked.
    ///
    /// This request fails; what is stored is as it was, and other requests go on.
    #[error("the function that merges the field {field:?} panicked")]
    MergePanicked {
        /// The field it was to merge.
        field: String,
    },

    /// Other requests wrote the same session again and again, until too little of the
    /// [`deadline`](crate::RedisSessionStoreBuilder::deadline) was left for another try.
    ///
    /// What they wrote is stored, this change is not. Only inside
    /// [`ConsistentSessions`](crate::ConsistentSessions).
    #[error("other requests kept writing the session ({tries} tries)")]
    Contended {
        /// How often the change was merged with theirs.
        tries: u32,
    },

    /// The TTL is shorter than a millisecond, or too long for Redis to represent.
    ///
    /// Nothing was sent to Redis. Remedy: set a positive `state_ttl` or `session_ttl` on
    /// actix-session's session lifecycle.
    #[error(
        "a session cannot live for {ttl}: its TTL must be at least one millisecond and at most {} years",
        MAX_TTL_YEARS
    )]
    InvalidTtl {
        /// The TTL that was asked for.
        ttl: time::Duration,
    },
}

/// Ten thousand years are beyond every purpose and leave Redis room to add the current time.
pub(crate) const MAX_TTL_YEARS: i64 = 10_000;

/// Why a try to talk to Redis failed, as [`Error::Unavailable`] says.
#[derive(Debug, Clone)]
pub struct Fault(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Io(RedisError),
    Reply(String),
    Protocol(ErrorKind),
    NoAnswer,
    NoConnectionFree,
    Pool(&'static str),
}

impl Fault {
    /// The deadline, or the share of it that one try may use, passed in silence.
    pub(crate) fn no_answer() -> Self {
        Self(Kind::NoAnswer)
    }

    /// It says so only to those who ask for a key, and redis-rs rather waits than pass it on.
    #[cfg(feature = "cluster")]
    pub(crate) fn cluster_down() -> Self {
        Self(Kind::Reply("CLUSTERDOWN".to_owned()))
    }

    pub(crate) fn is_silence(&self) -> bool {
        matches!(self.0, Kind::NoAnswer)
    }

    /// Redis itself said no: the connection works.
    pub(crate) fn is_reply(&self) -> bool {
        matches!(self.0, Kind::Reply(_))
    }

    pub(crate) fn is_lack_of_replicas(&self) -> bool {
        matches!(&self.0, Kind::Reply(code) if code == "NOREPLICAS")
    }

    /// Whether Redis can serve nothing at all: not for a reply that only concerns this command.
    pub(crate) fn is_outage(&self) -> bool {
        match &self.0 {
            Kind::Reply(code) => !matches!(
                code.as_str(),
                "READONLY" | "NOREPLICAS" | "TRYAGAIN" | "MOVED" | "ASK"
            ),
            _ => true,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Io(error) => write!(f, "{error}"),
            Kind::Reply(code) => write!(f, "Redis replied {code}"),
            Kind::Protocol(ErrorKind::MasterNameNotFoundBySentinel) => {
                f.write_str("the Sentinels know no master of this name that is up")
            }
            Kind::Protocol(kind) => write!(f, "the connection broke ({kind:?})"),
            Kind::NoAnswer => f.write_str("no answer in time"),
            Kind::NoConnectionFree => {
                f.write_str("the pool has no connection free and no other thread has one to share")
            }
            Kind::Pool(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Kind::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// The two classes of failure: a try that another connection may turn into a success, and an
/// answer that stands.
#[derive(Debug)]
pub(crate) enum Failure {
    Transient(Fault),
    Permanent(Error),
}

impl From<RedisError> for Failure {
    /// Server replies are reduced to their code: the text of some, such as `ERR unknown command`,
    /// repeats the arguments, and those hold session keys.
    fn from(error: RedisError) -> Self {
        match error.kind() {
            // What a cluster's client failed to connect for is only in the text.
            ErrorKind::Io
                if error
                    .detail()
                    .is_some_and(|why| why.contains("Authentication")) =>
            {
                Self::refused("WRONGPASS")
            }
            // `Client` is what a handshake by native-tls fails with.
            ErrorKind::Io | ErrorKind::Client => Self::Transient(Fault(Kind::Io(error))),
            ErrorKind::Server(
                ServerErrorKind::ReadOnly
                | ServerErrorKind::MasterDown
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::TryAgain,
            ) => Self::Transient(Fault(Kind::Reply(code(error)))),
            ErrorKind::AuthenticationFailed => Self::refused("WRONGPASS"),
            ErrorKind::Server(_) | ErrorKind::Extension => match code(error).as_str() {
                // A script, not ours, has kept the server for longer than it should; or replicas
                // are away that `min-replicas-to-write` asks for, maybe because one of them has
                // become the master.
                not_now @ ("BUSY" | "NOREPLICAS") => {
                    Self::Transient(Fault(Kind::Reply(not_now.to_owned())))
                }
                "WRONGTYPE" => Self::Permanent(Error::Unreadable {
                    reason: "its Redis key holds another type of value",
                }),
                code => Self::refused(code),
            },
            kind => Self::Transient(Fault(Kind::Protocol(kind))),
        }
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        let kind = match error {
            PoolError::Backend(error) => return error.into(),
            PoolError::Timeout(TimeoutType::Wait) => Kind::NoConnectionFree,
            PoolError::Timeout(_) => Kind::NoAnswer,
            PoolError::PostCreateHook(_) => Kind::Pool("a hook of the connection pool failed"),
            PoolError::NoRuntimeSpecified => Kind::Pool("the connection pool has no runtime"),
            PoolError::Closed => {
                // For good, so there is nothing to wait for.
                return Self::Permanent(Error::Unavailable {
                    waited: Duration::ZERO,
                    fault: Fault(Kind::Pool("the connection pool was closed")),
                });
            }
        };
        Self::Transient(Fault(kind))
    }
}

impl Failure {
    pub(crate) fn is_pool_exhausted(&self) -> bool {
        matches!(self, Self::Transient(Fault(Kind::NoConnectionFree)))
    }

    /// What a refusal means on this connection.
    pub(crate) fn on(self, connection: &Connection) -> Self {
        match self {
            Self::Permanent(Error::Refused { code, remedy }) if connection.is_cluster() => {
                match code.as_str() {
                    // Its client has followed as many redirections as it does, and the slot is
                    // still moving.
                    "MOVED" | "ASK" => Self::Transient(Fault(Kind::Reply(code))),
                    "CROSSSLOT" => Self::Permanent(Error::Refused {
                        code,
                        remedy: "let the key prefix have no brace, but for a {hash tag} that is \
                                 not empty",
                    }),
                    _ => Self::Permanent(Error::Refused { code, remedy }),
                }
            }
            failure => failure,
        }
    }

    fn refused(code: &str) -> Self {
        Self::Permanent(Error::Refused {
            code: code.to_owned(),
            remedy: match code {
                "NOAUTH" => "Redis asks for a password; put it into the URL",
                "WRONGPASS" => "check the user name and the password in the URL",
                "NOPERM" => {
                    "give the Redis user access to the key prefix and to the commands \
                     GET, GETRANGE, SET, DEL, EXISTS, PTTL, PEXPIRE, EVALSHA, EVAL, PING, SELECT \
                     if the URL names a database, ROLE with Sentinel, and CLUSTER SLOTS, \
                     CLUSTER INFO, CLUSTER MYID and ASKING in a cluster"
                }
                "OOM" => "Redis is full; raise its maxmemory",
                "MISCONF" => "Redis cannot write to its disk; its log says why",
                "MOVED" | "ASK" | "CROSSSLOT" => {
                    "this server belongs to a Redis Cluster; connect with a cluster pool"
                }
                _ => {
                    "check the database number and the password in the URL, that it is not that \
                     of a Sentinel, that no command is renamed or disabled, and the log of the \
                     Redis server"
                }
            },
        })
    }
}

/// The code of the error reply; of the first one, when a pipeline had several.
fn code(error: RedisError) -> String {
    let errors = error.into_server_errors().unwrap_or_default();
    let Some((_, error)) = errors.first() else {
        return "ERR".to_owned();
    };
    match error.details() {
        // So says Redis 7.0 what is a NOPERM from 7.2 on.
        Some(details) if details.starts_with("The user executing the script") => "NOPERM",
        _ => error.code(),
    }
    .to_owned()
}
