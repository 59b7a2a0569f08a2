use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use deadpool_redis::redis::{Client, cmd};
use nix::sys::signal::Signal;
use testbed::{Browser, Server};

use crate::{running::Up, stack::start_with};

fn folder(up: &Up) -> PathBuf {
    let mut entries = fs::read_dir(up.files.path()).unwrap();
    entries.next().expect("there is a folder").unwrap().path()
}

fn is_ours_alone(path: PathBuf) -> bool {
    fs::metadata(path).unwrap().permissions().mode() & 0o077 == 0
}

#[test]
fn other_users_of_the_machine_cannot_read_sessions_not_even_after_a_hard_kill() {
    let mut up = Up::start();
    assert_eq!(Browser::new(&up.url).refresh(), 0);
    assert!(is_ours_alone(folder(&up)));
    assert!(is_ours_alone(folder(&up).join("redis.sock")));

    up.process.signal(Signal::SIGKILL);
    up.process.wait();
    up.assert_nothing_is_left();
    assert!(folder(&up).join("appendonlydir").exists());
    assert!(is_ours_alone(folder(&up)));
}

#[test]
fn the_redis_of_the_demo_listens_on_no_port() {
    let up = Up::start();
    let socket = folder(&up).join("redis.sock");
    let client = Client::open(format!("redis+unix://{}", socket.display())).unwrap();
    let mut redis = client.get_connection().unwrap();
    let mut ports = cmd("CONFIG");
    ports.arg(&["GET", "*port"]);
    let ports: Vec<String> = ports.query(&mut redis).unwrap();
    let listening = ports.chunks(2).filter(|port| port[1] != "0");
    let listening: Vec<_> = listening.map(|port| &*port[0]).collect();
    assert!(
        !listening.contains(&"port") && !listening.contains(&"tls-port"),
        "{ports:?}"
    );
}

#[test]
fn whoever_gets_no_page_is_told_why_on_one() {
    let redis = Server::start();
    let mut stack = start_with(|options| options.redis_url = Some(redis.url()));
    assert_problem(&stack.url(), "/elsewhere", 404, "There is no such page");
    redis.stop();
    assert_problem(&stack.url(), "/", 503, "Redis is away");
    for i in 0..3 {
        stack.kill_instance(i).unwrap();
    }
    assert_problem(&stack.url(), "/", 502, "No instance answers");
}

fn assert_problem(url: &str, path: &str, status: u16, title: &str) {
    let page = Browser::new(url).get(path);
    assert_eq!(page.status, status);
    let content_type = page.header("content-type").unwrap();
    assert!(content_type.starts_with("text/html"), "{content_type}");
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert!(page.body.contains(&format!("<h1>{title}</h1>")), "{page:?}");
}
