use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::{
    files::{deploy, replaced, text},
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

/// A directive that stands before the first section, or in the wrong one, only draws a warning.
#[test]
fn what_is_optional_is_a_folder_beside_the_unit() {
    assert!(deploy("systemd").join(DROP_IN).is_file());
    let drop_in = text(&format!("systemd/{DROP_IN}"));
    for line in ["EnvironmentFile=\n", "ExecStart=\n"] {
        assert!(
            drop_in.contains(line),
            "it takes back what the unit says: {line}"
        );
    }
}
