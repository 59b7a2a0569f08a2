//! What a failed try means: whether another try, maybe on another connection, can succeed.

use std::time::Duration;

use deadpool_redis::{
    PoolError,
    redis::{Arg, Cmd, ErrorKind, RedisError, cmd},
};

use crate::error::{Error, Fault, Kind};

#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// Again, on another connection if need be, until the deadline.
    Transient(Fault),
    /// An answer that stands.
    Permanent(Error),
}

impl Failure {
    pub(crate) fn no_answer() -> Self {
        Self::Transient(Fault::no_answer())
    }

    /// Replies are reduced to their code: the text of some, such as `ERR unknown command`, repeats
    /// the arguments, and those hold session keys.
    pub(crate) fn of_command(error: RedisError, command: &Cmd, in_cluster: bool) -> Self {
        match error.kind() {
            ErrorKind::Io | ErrorKind::Client => Self::Transient(Fault(Kind::Io(error))),
            ErrorKind::Server(_) | ErrorKind::Extension => {
                let text = error.detail().unwrap_or_default();
                let code = code(error.code().unwrap_or("ERR"), text);
                Self::of_reply(code, command, in_cluster)
            }
            kind => Self::Transient(Fault(Kind::Protocol(kind))),
        }
    }

    /// The failure of what sets a connection up.
    pub(crate) fn of_connect(error: RedisError) -> Self {
        let wrong_password = || Self::of_reply("WRONGPASS", &cmd("AUTH"), false);
        let text = error.detail().unwrap_or_default();
        match error.kind() {
            ErrorKind::AuthenticationFailed => wrong_password(),
            // What a cluster's client failed to connect for is only in the text.
            ErrorKind::Io if text.contains("Authentication") => wrong_password(),
            ErrorKind::Io if error.is_connection_dropped() && !error.is_connection_refusal() => {
                Self::Transient(Fault(Kind::TurnedAway(error)))
            }
            // Whatever else is refused there does not fail.
            _ => Self::of_command(error, &cmd("SELECT"), false),
        }
    }

    fn of_reply(code: &str, command: &Cmd, in_cluster: bool) -> Self {
        let passes_by_itself = || Self::Transient(Fault(Kind::Reply(code.to_owned())));
        match code {
            "READONLY" | "MASTERDOWN" | "LOADING" | "CLUSTERDOWN" | "TRYAGAIN" | "BUSY"
            | "NOREPLICAS" => passes_by_itself(),
            // A cluster's client has followed as many redirections as it does, and the slot is
            // still moving.
            "MOVED" | "ASK" if in_cluster => passes_by_itself(),
            "WRONGTYPE" => Self::Permanent(Error::Unreadable {
                reason: "its Redis key holds another type of value",
            }),
            _ => Self::Permanent(Error::refused(code, word(command, 0))),
        }
    }

    /// Whether Redis is there, and it is only this command that it does not carry out.
    pub(crate) fn is_answer(&self) -> bool {
        match self {
            Self::Transient(fault) => !fault.is_outage(),
            Self::Permanent(error) => !matches!(error, Error::Unavailable { .. }),
        }
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        let fault = |what| Fault(Kind::Pool(what));
        match error {
            PoolError::Backend(error) => Self::of_connect(error),
            // For good, so there is nothing to wait for.
            PoolError::Closed => Self::Permanent(Error::Unavailable {
                waited: Duration::ZERO,
                fault: fault("the connection pool was closed"),
            }),
            // Nothing else: it is asked without timeouts.
            _ => Self::Transient(fault("a hook of the connection pool failed")),
        }
    }
}

/// The first word of a command is its name, which is no secret. The others are.
pub(crate) fn word(command: &Cmd, index: usize) -> &[u8] {
    match command.args_iter().nth(index) {
        Some(Arg::Simple(word)) => word,
        _ => b"",
    }
}

/// The code that a reply should have. Where scripts fail, servers say `ERR`, and of what they refuse
/// while a connection is set up, redis-rs says no more; of a transaction, the code that says why
/// follows their own. The texts are the same from Redis 7.0 to 8.2 and Valkey 8.0 to 9.1 but for
/// details.
fn code<'a>(code: &'a str, text: &'a str) -> &'a str {
    let lacks_a_right = |text: &str| {
        // Redis 7.0, and those that follow, of a script; all of them, of a command.
        text.starts_with("The user executing the script")
            || text.starts_with("ACL failure in script")
            || text.contains(" permissions to ")
    };
    match code {
        "EXECABORT" => text
            .strip_prefix("Transaction discarded because of: ")
            .and_then(|why| why.split(' ').next())
            .filter(is_code)
            .unwrap_or(code),
        "ERR" if lacks_a_right(text) => "NOPERM",
        "ERR" if text.contains("while the cluster is down") => "CLUSTERDOWN",
        // A key that the script has removed while its slot was moving: it is another server's now.
        "ERR" if text.contains("a non local key in a cluster node") => "TRYAGAIN",
        "ERR" if text.contains(" is busy running ") => "BUSY",
        // Without a password, servers take no more than ten arguments, and no large ones.
        "ERR" if text == "Authentication required." || text.contains(": unauthenticated ") => {
            "NOAUTH"
        }
        // Of a text without a code, the first word may be anything.
        _ if !is_code(&code) => "ERR",
        _ => code,
    }
}

fn is_code(word: &&str) -> bool {
    let is_of_code = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    !word.is_empty() && word.len() <= 32 && word.bytes().all(is_of_code)
}
