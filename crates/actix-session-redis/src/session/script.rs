//! Lua scripts: what has to happen in one step on the server, so that no other request can come in
//! between.

use std::sync::LazyLock;

use deadpool_redis::redis::{Cmd, ErrorKind, Value, cmd};
use sha1_smol::Sha1;

use crate::{
    client::{Connection, Failure},
    error::Error,
};

pub(super) struct Script {
    pub(super) code: &'static str,
    pub(super) sha1: String,
}

/// With what all scripts have in common.
macro_rules! script {
    ($($file:literal),+) => {
        LazyLock::new(|| Script::new(concat!(include_str!("lua/fields.lua") $(, include_str!($file))+)))
    };
}

pub(super) static CREATE: LazyLock<Script> = script!("lua/create.lua");
pub(super) static REPLACE: LazyLock<Script> = script!("lua/replace.lua");
pub(super) static WRITE: LazyLock<Script> = script!("lua/write.lua");
pub(super) static SWEEP: LazyLock<Script> = script!("lua/sweep.lua");
pub(super) static END: LazyLock<Script> = script!("lua/end.lua");
pub(super) static BUILT_IN_CREATE: LazyLock<Script> = script!("lua/built_in_create.lua");
pub(super) static BUILT_IN_END: LazyLock<Script> = script!("lua/built_in_end.lua");
pub(super) static CHECK: LazyLock<Script> = script!("lua/check.lua");
pub(super) static CHECK_USERS: LazyLock<Script> = script!("lua/check_users.lua");
pub(super) static ENTER: LazyLock<Script> = script!("lua/index.lua", "lua/enter.lua");
pub(super) static LEAVE: LazyLock<Script> = script!("lua/index.lua", "lua/leave.lua");
pub(super) static ENTRIES: LazyLock<Script> = script!("lua/index.lua", "lua/entries.lua");
pub(super) static END_ALL: LazyLock<Script> = script!("lua/index.lua", "lua/end_all.lua");

impl Script {
    fn new(code: &'static str) -> Self {
        let sha1 = Sha1::from(code).digest().to_string();
        Self { code, sha1 }
    }

    /// By the script's SHA-1; a server that has not seen the script, because it was restarted or
    /// has just taken over, gets the code.
    pub(super) async fn run(
        &self,
        redis: &Connection,
        redis_keys: &[&str],
        add_arguments: impl Fn(&mut Cmd) + Sync,
    ) -> Result<Value, Failure> {
        let call = |how: &str, script: &str| {
            let mut command = cmd(how);
            command.arg(script).arg(redis_keys.len()).arg(redis_keys);
            add_arguments(&mut command);
            command
        };
        match redis.query(&call("EVALSHA", &self.sha1)).await {
            Err(Failure::Permanent(Error::Refused { code, .. })) if code == "NOSCRIPT" => {
                redis.query(&call("EVAL", self.code)).await
            }
            reply => reply,
        }
    }
}

/// What came is not the reply to what was asked.
pub(super) fn out_of_step() -> Failure {
    let error = (
        ErrorKind::UnexpectedReturnType,
        "the reply to something else",
    );
    Failure::of_command(error.into(), &Cmd::new(), false)
}
