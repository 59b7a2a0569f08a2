use std::{net::SocketAddr, process::Command};

use deadpool_redis::redis::{Client, Connection, RedisError, cmd};
use tempfile::TempDir;
use testbed::{Browser, Process, Program, ReservedPort, eventually};

use crate::{
    files::{deploy, read, root, text},
    instances::Instance,
};

/// As the comment in `compose.yaml` says to replace them.
const ADMIN: &str = "admin:another-secret@";
const SHOP: &str = "shop:secret@";

/// A server with the two files, at another address and in a folder of its own.
struct Configured {
    process: Option<Process>,
    port: ReservedPort,
    folder: TempDir,
}

impl Configured {
    fn start() -> Self {
        let mut server = Self {
            process: None,
            port: ReservedPort::any().unwrap(),
            folder: tempfile::Builder::new().prefix("redis-").tempdir().unwrap(),
        };
        server.start_again();
        server
    }

    fn start_again(&mut self) {
        let mut command = Command::new("redis-server");
        command
            .arg(deploy("redis.conf"))
            .args(["--port", &self.port.address().port().to_string()])
            .arg("--aclfile")
            .arg(deploy("users.acl"))
            .arg("--dir")
            .arg(self.folder.path());
        let program = Program::new("redis-server", command);
        self.process = Some(Process::spawn(program).unwrap());
        eventually("redis-server is ready", || {
            let process = self.process.as_mut().unwrap();
            if let Some(status) = process.exit_status().unwrap() {
                panic!("it ended with {status}:{}", process.log());
            }
            Ok(self.connect(ADMIN)?)
        });
    }

    fn stop(&mut self) {
        self.process.take().unwrap().stop().unwrap();
    }

    fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// As this user.
    fn url(&self, user: &str) -> String {
        format!("redis://{user}{}", self.address())
    }

    fn connect(&self, user: &str) -> Result<Connection, RedisError> {
        let mut connection = Client::open(self.url(user))?.get_connection()?;
        cmd("PING").query::<()>(&mut connection)?;
        Ok(connection)
    }
}

#[test]
fn sessions_are_served_with_these_rights_and_outlive_a_restart_of_redis() {
    let mut redis = Configured::start();
    let instance = Instance::start("one", &redis.url(SHOP));
    let browser = Browser::new(&instance.url());
    assert_eq!(browser.get("/healthz").status, 200);
    assert_eq!(browser.refresh(), 0);
    redis.stop();
    redis.start_again();
    assert_eq!(browser.refresh(), 1);
}

#[test]
fn without_a_password_nobody_is_let_in() {
    let redis = Configured::start();
    assert!(redis.connect("").is_err());
    assert!(redis.connect("shop:wrong@").is_err());
}

#[test]
fn redis_takes_every_setting_as_it_stands_in_the_file() {
    let redis = Configured::start();
    let mut admin = redis.connect(ADMIN).unwrap();
    let elsewhere = ["port", "aclfile"];
    let mut seen = 0;
    for line in text("redis.conf").lines() {
        let Some((name, value)) = line.split_once(' ') else {
            continue;
        };
        if name == "#" || elsewhere.contains(&name) {
            continue;
        }
        let expected = match value {
            "1gb" => (1 << 30).to_string(),
            "\"\"" => String::new(),
            value => value.to_owned(),
        };
        let (_, found): (String, String) = cmd("CONFIG")
            .arg("GET")
            .arg(name)
            .query(&mut admin)
            .unwrap();
        assert!(
            found.starts_with(&expected),
            "{name}: {found}, not {expected}"
        );
        seen += 1;
    }
    assert!(seen > 8, "{seen}");
}

/// The rights in SECURITY.md are proved to be enough, and none too many, by the tests of the store.
#[test]
fn the_rights_are_those_of_the_threat_model() {
    let security = read(&root().join("crates/actix-session-redis/SECURITY.md"));
    let (_, after) = security.split_once("ACL SETUSER ").unwrap();
    let (line, _) = after.split_once("```").unwrap();
    let line: Vec<_> = line.split_whitespace().collect();
    let users = text("users.acl");
    let in_file = users.lines().find(|line| line.starts_with("user shop "));
    let (_, in_file) = in_file.unwrap().split_once("user ").unwrap();
    assert_eq!(in_file.split(' ').collect::<Vec<_>>(), line);
}
