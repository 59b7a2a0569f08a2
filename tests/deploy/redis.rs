use deadpool_redis::redis::{Client, RedisError, cmd};
use testbed::{Browser, Server};

use crate::{
    files::{deploy, read, root, text},
    instances::Instance,
};

/// As the comment in `compose.yaml` says to replace them.
const ADMIN: [&str; 2] = ["admin", "another-secret"];
const SHOP: &str = "shop:secret@";

/// A server with the two files.
fn configured() -> Server {
    let users = deploy("users.acl").display().to_string();
    Server::start_with_file(&deploy("redis.conf"), &["--aclfile", &users], ADMIN)
}

fn url(redis: &Server, user: &str) -> String {
    format!("redis://{user}{}", redis.address())
}

fn ping(redis: &Server, user: &str) -> Result<(), RedisError> {
    let mut connection = Client::open(url(redis, user))?.get_connection()?;
    cmd("PING").query(&mut connection)
}

#[test]
fn sessions_are_served_with_these_rights_and_outlive_a_restart_of_redis() {
    let redis = configured();
    let instance = Instance::start("one", &url(&redis, SHOP));
    let browser = Browser::new(&instance.url());
    assert_eq!(browser.get("/healthz").status, 200);
    assert_eq!(browser.refresh(), 0);
    redis.stop();
    redis.start_again();
    assert_eq!(browser.refresh(), 1);
}

#[test]
fn without_a_password_nobody_is_let_in() {
    let redis = configured();
    assert!(ping(&redis, SHOP).is_ok());
    assert!(ping(&redis, "").is_err());
    assert!(ping(&redis, "shop:wrong@").is_err());
}

#[test]
fn redis_takes_every_setting_as_it_stands_in_the_file() {
    let redis = configured();
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
        let (_, found): (String, String) = redis.run(&format!("CONFIG GET {name}"));
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
