use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::{
    files::{replaced, text},
    instances::{KEY, assert_starts, assert_starts_with},
    tools::tool,
};

const FILES: [&str; 2] = ["demo@.service", "demo.target"];
const DROP_IN: &str = "demo@.service.d/credentials.conf";

/// Units with an executable that is there, and with the drop-in if somebody wants it.
fn units(drop_in: bool) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let unit = text(&format!("systemd/{name}"));
        let unit = match name.ends_with(".target") {
            true => unit,
            false => replaced(
                &unit,
                "/usr/local/bin/demo",
                env!("CARGO_BIN_EXE_demo-under-test"),
            ),
        };
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, unit).unwrap();
    };
    FILES.iter().for_each(|name| write(name));
    if drop_in {
        write(DROP_IN);
    }
    folder
}

/// `systemd-analyze`, which looks for units there first. `None` if somebody chose to go without.
fn systemd_analyze(units: &Path) -> Option<Command> {
    let mut command = tool("systemd-analyze", "systemd")?;
    // The colon at the end stands for the system's own folders.
    command.env("SYSTEMD_UNIT_PATH", format!("{}:", units.display()));
    Some(command)
}

#[test]
fn systemd_has_nothing_to_say_against_the_units() {
    for drop_in in [false, true] {
        let units = units(drop_in);
        let Some(mut verify) = systemd_analyze(units.path()) else {
            return;
        };
        verify.args([
            "verify",
            "demo@8081.service",
            "demo@8082.service",
            "demo.target",
        ]);
        let Output { status, stderr, .. } = verify.output().unwrap();
        let stderr = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{stderr}");
        // Other units of the system may have faults of their own.
        assert!(!stderr.contains("demo"), "{stderr}");
    }
}

/// Of ten, which is a service without any sandboxing.
#[test]
fn an_instance_has_an_exposure_of_less_than_two() {
    let units = units(true);
    let Some(mut security) = systemd_analyze(units.path()) else {
        return;
    };
    security
        .args(["security", "--offline=yes", "--threshold=20", "--no-pager"])
        .arg("demo@8081.service");
    let Output { status, stdout, .. } = security.output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stdout));
}

/// The command that is in this file, for the instance `demo@0`.
fn command(name: &str) -> String {
    let unit = text(&format!("systemd/{name}")).replace("\\\n", "");
    let commands = unit
        .lines()
        .filter_map(|line| line.strip_prefix("ExecStart="));
    let commands: Vec<_> = commands.filter(|command| !command.is_empty()).collect();
    assert_eq!(commands.len(), 1, "{name}");
    commands[0].replace("%i", "0")
}

#[test]
fn an_instance_starts_with_the_arguments_of_the_unit() {
    let command = command("demo@.service");
    let mut words = command.split(' ');
    assert_eq!(words.next(), Some("/usr/local/bin/demo"));
    assert_starts_with(&words.collect::<Vec<_>>());
}

#[test]
fn with_the_drop_in_an_instance_has_its_secrets_from_files() {
    let drop_in = text(&format!("systemd/{DROP_IN}"));
    for line in ["EnvironmentFile=\n", "ExecStart=\n"] {
        assert!(
            drop_in.contains(line),
            "it takes back what the unit says: {line}"
        );
    }
    let credentials = tempfile::tempdir().unwrap();
    for (name, secret) in [("redis-url", "redis://127.0.0.1:1"), ("session-key", KEY)] {
        assert!(
            drop_in.contains(&format!("LoadCredential={name}:")),
            "{name}"
        );
        fs::write(credentials.path().join(name), secret).unwrap();
    }
    let command = replaced(
        &command(DROP_IN),
        "/usr/local/bin/demo",
        env!("CARGO_BIN_EXE_demo-under-test"),
    );
    let script = command.strip_prefix("/bin/sh -c '").unwrap();
    let script = script.strip_suffix('\'').unwrap();
    assert_starts(
        Command::new("/bin/sh")
            .env_remove("SESSION_KEY")
            .env_remove("METRICS_LISTEN")
            .env("CREDENTIALS_DIRECTORY", credentials.path())
            .args(["-c", script]),
    );
}
