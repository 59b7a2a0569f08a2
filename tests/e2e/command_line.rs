use std::{fs, io, net::TcpListener, process::Stdio};

use nix::sys::signal::Signal;
use testbed::Browser;

use crate::running::{KEY, Running, SEAL_KEY_A, Up, demo, refusal};

#[test]
fn up_ends_in_good_order_on_ctrl_c_and_on_sigterm() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut up = Up::start();
        assert_eq!(Browser::new(&up.url).refresh(), 0);
        up.process.signal(signal);
        assert!(up.process.wait().success());
        up.assert_nothing_is_left();
    }
}

#[test]
fn up_leaves_nothing_running_when_it_is_killed_hard() {
    let mut up = Up::start();
    up.process.signal(Signal::SIGKILL);
    up.process.wait();
    up.assert_nothing_is_left();
}

#[test]
fn up_says_when_an_instance_dies_and_whether_another_carries_on() {
    let mut up = Up::start();
    let browser = Browser::new(&up.url);
    assert_eq!(browser.refresh(), 0);

    let dead = up.kill_part(1).to_owned();
    let line = up.process.next_line();
    assert!(line.starts_with(&dead), "{line}");
    assert!(line.ends_with("the other one carries on"), "{line}");
    for count in 1..10 {
        let page = browser.open("/");
        assert_eq!(page.refreshed(), count);
        assert_ne!(page.instance(), dead);
    }

    let last = up.kill_part(2).to_owned();
    let line = up.process.next_line();
    assert!(line.starts_with(&last), "{line}");
    assert!(
        line.ends_with("none is left, so nginx answers 502"),
        "{line}"
    );
    assert_eq!(browser.get("/").status, 502);
}

#[test]
fn up_serves_and_watches_on_when_nobody_reads_its_stderr() {
    let (unread, stderr) = io::pipe().unwrap();
    drop(unread);
    let mut up = Up::start_with(|command| {
        command.stderr(stderr).env("RUST_LOG", "trace");
    });
    let browser = Browser::new(&up.url);
    for count in 0..10 {
        assert_eq!(browser.refresh(), count);
    }
    let dead = up.kill_part(1).to_owned();
    assert!(up.process.next_line().starts_with(&dead));
}

#[test]
fn an_instance_serves_on_when_nobody_reads_its_stderr() {
    let (unread, stderr) = io::pipe().unwrap();
    drop(unread);
    let variables = [
        ("SESSION_KEY", KEY),
        ("REDIS_URL", NO_REDIS),
        ("RUST_LOG", "trace"),
    ];
    let mut instance =
        Running::start(demo(&["serve", "--listen", "127.0.0.1:0"], &variables).stderr(stderr));
    let line = instance.next_line();
    let url = line.strip_prefix("listening on ").unwrap();
    assert_eq!(Browser::new(url).get("/healthz").status, 503);
}

#[test]
fn up_ends_with_an_error_when_its_redis_dies() {
    let mut up = Up::start();
    assert_eq!(up.kill_part(0), "redis-server");
    assert!(!up.process.wait().success());
    up.assert_nothing_is_left();
}

#[test]
fn a_variable_that_is_set_to_nothing_counts_as_not_set() {
    let up = Up::start_with(|command| {
        command.args(["--port", "0"]);
        for variable in ["PORT", "INSTANCES", "REDIS_URL", "SESSION_KEY", "SEAL_KEYS"] {
            command.env(variable, "");
        }
    });
    let names: Vec<_> = up.parts.iter().map(|(name, _)| name.as_str()).collect();
    let defaults = [
        "redis-server",
        "instance-0",
        "instance-1",
        "instance-2",
        "nginx",
    ];
    assert_eq!(names, defaults);

    let said = refusal(demo(&["up"], &[("PORT", ""), ("REDIS_URL", NO_REDIS)]));
    assert!(said.contains("REDIS_URL"), "{said}");
    let said = refusal(demo(&["serve"], &[("SESSION_KEY", "")]));
    assert!(said.contains("SESSION_KEY is not set"), "{said}");
}

#[test]
fn a_variable_that_says_yes_or_no_may_say_it_in_any_usual_way() {
    let up_with = |value| {
        let flag = ("SEAL_ACCEPT_UNSEALED", value);
        refusal(demo(&["up"], &[flag, ("PATH", "/nowhere"), ("PORT", "0")]))
    };
    for either in ["yes", "on", "1", "true", "no", "off", "0", "false", ""] {
        let said = up_with(either);
        assert!(said.contains("not installed"), "{either}: {said}");
    }
    let said = up_with("maybe");
    assert!(said.contains("maybe"), "{said}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let port = taken.local_addr().unwrap().port().to_string();
    assert!(refusal(demo(&["up"], &[("PORT", &port)])).contains(&port));

    let key = [("SESSION_KEY", KEY)];
    assert!(refusal(demo(&["serve", "--listen", &address], &key)).contains(&address));
    let metrics = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        &address,
    ];
    assert!(refusal(demo(&metrics, &key)).contains(&address));
}

#[test]
fn the_redis_of_redis_url_must_be_there() {
    let unreachable = refusal(demo(&["up"], &[("REDIS_URL", NO_REDIS)]));
    assert!(unreachable.contains("REDIS_URL"), "{unreachable}");
    assert!(unreachable.contains("No such file"), "{unreachable}");

    for (url, secret) in [
        ("http://localhost", None),
        ("redis://u:s3cret@[::", Some("s3cret")),
    ] {
        let invalid = refusal(demo(&["up"], &[("REDIS_URL", url)]));
        assert!(invalid.contains("REDIS_URL"), "{invalid}");
        assert!(
            secret.is_none_or(|secret| !invalid.contains(secret)),
            "{invalid}"
        );
    }
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    let missing = refusal(demo(&["up"], &[("PATH", "/nowhere"), ("PORT", "0")]));
    assert!(
        missing.contains("redis-server is not installed"),
        "{missing}"
    );
    assert!(missing.contains("make deps"), "{missing}");
}

#[test]
fn an_instance_refuses_to_start_without_a_proper_session_key() {
    for (key, reason) in [
        (
            None,
            "SESSION_KEY is not set: all instances need the same secret",
        ),
        (Some("c2hvcnQ="), "SESSION_KEY is too short: 5 bytes"),
        (Some("s3cret!"), "SESSION_KEY is not base64"),
    ] {
        let variables: Vec<_> = key.map(|key| ("SESSION_KEY", key)).into_iter().collect();
        let said = refusal(demo(&["serve", "--listen", "127.0.0.1:0"], &variables));
        assert!(said.contains(reason), "{said}");
        assert!(key.is_none_or(|key| !said.contains(key)), "{said}");
    }
}

#[test]
fn neither_up_nor_an_instance_starts_with_keys_that_cannot_seal() {
    let short = &SEAL_KEY_A[..20];
    let twice = [SEAL_KEY_A, SEAL_KEY_A].join(",");
    for (keys, reason) in [
        ("s3cret!", "SEAL_KEYS: seal: key 1 is not base64"),
        (short, "SEAL_KEYS: seal: key 1 has 15 bytes"),
        (&twice, "SEAL_KEYS: seal: key 2 is there twice"),
    ] {
        let variables = [("SESSION_KEY", KEY), ("SEAL_KEYS", keys), ("PORT", "0")];
        for command in [&["up"][..], &["serve", "--listen", "127.0.0.1:0"]] {
            let said = refusal(demo(command, &variables));
            assert!(said.contains(reason), "{said}");
            assert!(!said.contains(&keys[..7]), "{said}");
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn keys_are_on_no_command_line_and_not_even_in_the_environment_of_redis_and_nginx() {
    let mut up = Up::start_with(|command| {
        command.env("SESSION_KEY", KEY).env("SEAL_KEYS", SEAL_KEY_A);
    });
    assert_eq!(Browser::new(&up.url).refresh(), 0);
    for (name, pid) in &up.parts {
        let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        let knows = |text: &str| [KEY, SEAL_KEY_A].map(|key| text.contains(key));
        assert_eq!(knows(&read("cmdline")), [false; 2], "{name}");
        let is_instance = name.starts_with("instance");
        assert_eq!(knows(&read("environ")), [is_instance; 2], "{name}");
    }
    up.process.signal(Signal::SIGTERM);
    assert!(up.process.wait().success());
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    for variables in [
        [("INSTANCES", "0")],
        [("INSTANCES", "many")],
        [("PORT", "70000")],
    ] {
        let said = refusal(demo(&["up"], &variables));
        assert!(said.contains(variables[0].1), "{said}");
    }
    for ttl in ["0", "soon", "20000y"] {
        let said = refusal(demo(&["up", "--session-ttl", ttl], &[]));
        assert!(said.contains("--session-ttl"), "{said}");
    }
}

#[test]
fn an_instance_starts_before_redis_and_says_what_it_is_waiting_for() {
    let variables = [("REDIS_URL", NO_REDIS), ("SESSION_KEY", KEY)];
    let mut instance = Running::start(
        demo(
            &["serve", "--listen", "127.0.0.1:0", "--workers", "1"],
            &variables,
        )
        .stderr(Stdio::null()),
    );
    let line = instance.next_line();
    let url = line.strip_prefix("listening on ").unwrap();

    let answer = Browser::new(url).get("/healthz");
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("Redis is unavailable"), "{answer:?}");

    instance.signal(Signal::SIGTERM);
    assert!(instance.wait().success());
}

/// A socket that nobody will ever listen on.
const NO_REDIS: &str = "redis+unix:///nowhere/redis.sock";
