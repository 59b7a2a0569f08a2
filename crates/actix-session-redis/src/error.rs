use std::{fmt, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    cookie::time,
    http::{StatusCode, header},
};
use deadpool_redis::redis::{ErrorKind, RedisError};

/// What can go wrong between the store and Redis.
///
/// Whoever calls a [`SessionStore`](actix_session::storage::SessionStore) gets it as an
/// [`anyhow::Error`]; `downcast_ref::<Error>()` gets it back. Behind `SessionMiddleware` nobody
/// does, so the store [logs it](crate::operations#what-you-can-observe).
///
/// No variant carries a session key or a piece of session state, neither in its text nor in its
/// sources, so all of them are safe to log.
///
/// Its `Debug` output is its sentence, too, as that of the redis crate's errors is: `main` and `unwrap` print
/// that.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL or the settings of the connection pool are not usable.
    ///
    /// Comes from [`RedisSessionStore::from_url`](crate::RedisSessionStore::from_url) and
    /// [`RedisPool::from_url`](crate::RedisPool::from_url) only. Remedy: a URL as in the table there,
    /// in which what has a meaning of its own in URLs is [percent-encoded].
    ///
    /// [percent-encoded]: https://www.rfc-editor.org/rfc/rfc3986#section-2.1
    #[error("invalid Redis URL: {reason}")]
    InvalidUrl {
        /// What is wrong with it, without quoting the URL: it may hold a password.
        reason: String,
    },

    /// An option of the store cannot work.
    ///
    /// Every operation of a store that was built with it fails with this, at once, whatever else is
    /// wrong: ask [`ping`](crate::RedisSessionStore::ping) when the application starts. Remedy: as it
    /// says.
    #[error("{option}: {reason}")]
    InvalidOption {
        /// The name of the option, as the builder has it.
        option: &'static str,
        /// What is wrong with its value, and which values are right.
        reason: String,
    },

    /// Redis could not be reached, or gave no usable answer, before the
    /// [`deadline`](crate::RedisSessionStoreBuilder::deadline); or it is known to be away, and the
    /// store fails at once until it is back. Or it was, when the session of the request was loaded
    /// as
    /// [anonymous](crate::RedisSessionStoreBuilder::anonymous_during_outage), and now the request
    /// writes.
    ///
    /// Remedy: none in the application; the store reconnects by itself.
    #[error("Redis is unavailable (waited {} ms): {fault}", waited.as_millis())]
    Unavailable {
        /// How long this operation waited before it gave up.
        waited: Duration,
        /// What its tries ran into. It is part of this error's text.
        fault: Fault,
    },

    /// Redis answered, and the answer is a no that trying again will not change.
    #[error("Redis refused {command} ({code}): {remedy}")]
    Refused {
        /// The error code that Redis replied with, such as `NOAUTH` or `OOM`.
        code: String,
        /// The name of the command that was refused, such as `SET`; of a script, `EVALSHA`. `AUTH`
        /// or `SELECT` while a connection was set up.
        command: String,
        /// What to do about it.
        remedy: &'static str,
    },

    /// What Redis holds under the session's Redis key is not a session state: another type of
    /// value, not UTF-8, not JSON, or JSON of an unknown format.
    ///
    /// What is there is left alone. For a request that is no session: it begins a new one, under a new
    /// key. Only [`modify`](crate::RedisSessionStore::modify) and an `update` by hand say so.
    #[error("the stored session state is unreadable: {reason}")]
    Unreadable {
        /// What it is instead, without quoting it.
        reason: &'static str,
    },

    /// The session is sealed with a key that the [key ring](crate::RedisSessionStoreBuilder::seal) does
    /// not have, or there is no key ring.
    ///
    /// It stays as it is, and so does the cookie. Remedy: give every instance all keys that sessions may be
    /// sealed with.
    #[error("the session is sealed with the key {key_id}, which is not in the key ring")]
    UnknownSealKey {
        /// Names the key, and tells nothing of it: as the `Debug` output of a key ring does.
        key_id: String,
    },

    /// The session is not sealed, where only sealed ones are accepted.
    ///
    /// It stays as it is, and so does the cookie. Remedy: if it is from a time before sessions were sealed,
    /// [`accept_unsealed`](crate::RedisSessionStoreBuilder::accept_unsealed) for as long as sessions live.
    /// If not, somebody else writes to Redis.
    #[error("the session is not sealed")]
    Unsealed,

    /// A sealed value of the session does not open, also on another connection: it was changed, or is that
    /// of another session, field, prefix or application.
    ///
    /// The session stays as it is, and so does the cookie. Remedy: find out who writes to Redis;
    /// [`UserSessions::end`](crate::UserSessions::end) ends the session, and so does the removal of its
    /// Redis key.
    #[error("a sealed value of the session does not open: it was changed, or comes from elsewhere")]
    BrokenSeal,

    /// The session state is larger than
    /// [`max_state_bytes`](crate::RedisSessionStoreBuilder::max_state_bytes).
    ///
    /// Nothing was written: what was stored before is still there.
    #[error("the session state is {bytes} bytes, {limit} are allowed")]
    StateTooLarge {
        /// Names and values of its fields together.
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
    /// What they wrote is stored, this change is not. Outside of
    /// [`ConsistentSessions`](crate::ConsistentSessions) it comes from
    /// [`modify`](crate::RedisSessionStore::modify), and from an `update` that meets a login.
    #[error("other requests kept writing the session ({tries} tries)")]
    Contended {
        /// How often the change was merged with theirs.
        tries: u32,
    },

    /// There is no session with this key (any more): it has expired, was ended, or was removed from
    /// Redis. Comes from [`modify`](crate::RedisSessionStore::modify), and from a `save` by hand whose user's
    /// sessions were all ended meanwhile; what a request writes to a session that is gone is dropped.
    #[error("the session is gone")]
    Gone,

    /// The user has as many sessions as
    /// [`session_limit`](crate::RedisSessionStoreBuilder::session_limit) allows, and more are refused.
    ///
    /// What the request has written is not stored, and the session that it came with is as it was.
    /// Comes from [`begin_login`](crate::UserSessions::begin_login), where a login handler can show it,
    /// and from `save` and `update`, when a session becomes the user's:
    /// [`ConsistentSessions::on_refused_login`](crate::ConsistentSessions::on_refused_login) answers
    /// then.
    #[error("the user has {limit} sessions already, and more are refused")]
    SessionLimit {
        /// How many sessions a user may have.
        limit: usize,
    },

    /// The [`Login`](crate::Login) that was completed is void: all sessions of the user were ended after
    /// it was begun, or it was begun more than an hour ago, or for another user; or the session that it
    /// was made in was ended meanwhile.
    ///
    /// What the request has written is not stored, and the session that it came with is as it was, if
    /// it was not ended, too. Remedy: let the user log in again.
    #[error(
        "the login is void: it was begun for another user, or more than an hour ago, or sessions were ended since"
    )]
    Overtaken,

    /// A session was asked to have a lifetime of its own that
    /// [`lifetimes`](crate::RedisSessionStoreBuilder::lifetimes) does not allow.
    ///
    /// Comes from [`CurrentSession::set_lifetime`](crate::CurrentSession::set_lifetime), and from the write
    /// of a request that came without a session.
    #[error("a session may not be asked to live for {lifetime:?}")]
    InvalidLifetime {
        /// The lifetime that was asked for.
        lifetime: Duration,
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

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// So that `?` works in a handler. What a visitor is told says nothing of the server: the error itself is for
/// the log.
impl ResponseError for Error {
    /// 503 if Redis is away, or others were changing the session until the deadline; 409 for a login that may
    /// not be; 500 for all else.
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Unavailable { .. } | Self::Contended { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::SessionLimit { .. } | Self::Overtaken => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        match self.status_code() {
            StatusCode::SERVICE_UNAVAILABLE => response
                .insert_header((header::RETRY_AFTER, "1"))
                .body("Please try again."),
            StatusCode::CONFLICT => response.body("This login cannot be."),
            _ => response.body("Something went wrong."),
        }
    }
}

impl Error {
    pub(crate) fn is_refused_login(&self) -> bool {
        matches!(self, Self::SessionLimit { .. } | Self::Overtaken)
    }

    /// With the remedy for this code.
    pub(crate) fn refused(code: &str, command: &[u8]) -> Self {
        let remedy = match code {
            "NOAUTH" => "Redis asks for a password; put it into the URL",
            "WRONGPASS" => "check the user name and the password in the URL",
            "NOPERM" => {
                "give the Redis user access to the key prefix and to the commands \
             HGETALL, HGET, HMGET, HEXISTS, HLEN, HKEYS, HSET, HDEL, HINCRBY, GET, SET, EXISTS, \
             UNLINK, RENAME, PTTL, PEXPIRE, MULTI, EXEC, EVALSHA, EVAL, PING, ZADD, ZREM, ZSCORE, \
             ZCARD, ZRANGE and TIME for sessions of users, SELECT if the URL names a database, \
             ROLE with Sentinel, and CLUSTER SLOTS, CLUSTER INFO, CLUSTER MYID and ASKING in a cluster"
            }
            "OOM" => "Redis is full; raise its maxmemory",
            "MISCONF" => "Redis cannot write to its disk; its log says why",
            "MOVED" | "ASK" => {
                "this server belongs to a Redis Cluster; connect with a cluster pool"
            }
            "CROSSSLOT" => {
                "let the key prefix have no brace, but for a {hash tag} that is not empty"
            }
            _ => {
                "check the database number and the password in the URL, that it is not that of a \
             Sentinel, that no command is renamed or disabled, and the log of the Redis server"
            }
        };
        Self::Refused {
            code: code.to_owned(),
            command: String::from_utf8_lossy(command).into_owned(),
            remedy,
        }
    }
}

/// Ten thousand years are beyond every purpose and leave Redis room to add the current time.
pub(crate) const MAX_TTL_YEARS: i64 = 10_000;

/// Why a try to talk to Redis failed, as [`Error::Unavailable`] says.
#[derive(Debug, Clone)]
pub struct Fault(pub(crate) Kind);

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Io(RedisError),
    /// The server has closed a new connection before it answered.
    TurnedAway(RedisError),
    Reply(String),
    Protocol(ErrorKind),
    NoAnswer,
    NoConnectionFree,
    BrokenSeal,
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

    pub(crate) fn is_cluster_down(&self) -> bool {
        self.reply() == Some("CLUSTERDOWN")
    }

    /// What was delivered is not what was asked for, or Redis holds it like that.
    pub(crate) fn broken_seal() -> Self {
        Self(Kind::BrokenSeal)
    }

    pub(crate) fn is_broken_seal(&self) -> bool {
        matches!(self.0, Kind::BrokenSeal)
    }

    pub(crate) fn is_silence(&self) -> bool {
        matches!(self.0, Kind::NoAnswer)
    }

    /// The code of the reply, if Redis has given one.
    pub(crate) fn reply(&self) -> Option<&str> {
        match &self.0 {
            Kind::Reply(code) => Some(code),
            _ => None,
        }
    }

    /// Whether Redis may serve nothing at all: not for a reply that only concerns this command,
    /// nor when it is the pool that has nothing to give.
    pub(crate) fn is_outage(&self) -> bool {
        match &self.0 {
            Kind::Reply(code) => !matches!(
                code.as_str(),
                "READONLY" | "NOREPLICAS" | "TRYAGAIN" | "MOVED" | "ASK"
            ),
            Kind::NoConnectionFree | Kind::BrokenSeal => false,
            _ => true,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Io(error) => write!(f, "{error}"),
            Kind::TurnedAway(error) => write!(
                f,
                "the server has closed a new connection ({error}): \
                 it may have reached its max number of clients (maxclients), \
                 or be in protected mode (no password, and asked from another machine)"
            ),
            Kind::Reply(code) => write!(f, "Redis replied {code}"),
            Kind::Protocol(ErrorKind::MasterNameNotFoundBySentinel) => {
                f.write_str("the Sentinels know no master of this name that is up")
            }
            Kind::Protocol(kind) => write!(f, "the connection broke ({kind:?})"),
            Kind::NoAnswer => f.write_str("no answer in time"),
            Kind::NoConnectionFree => {
                f.write_str("the pool has no connection free and no other thread has one to share")
            }
            Kind::BrokenSeal => f.write_str("a sealed value does not open"),
            Kind::Pool(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Kind::Io(error) | Kind::TurnedAway(error) => Some(error),
            _ => None,
        }
    }
}
