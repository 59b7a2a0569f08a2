use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use testbed::{Process, Program, ReservedPort, Server, eventually};

use crate::chapter::diff;

/// One application at a time is built: they share what their dependencies were compiled to, and
/// cargo would let the others wait for that anyway.
static CARGO: Mutex<()> = Mutex::new(());

/// A copy of one of the applications in `apps`.
///
/// Beside it is a checkout of the repository, as it is for those who follow the manual.
#[derive(Debug)]
pub(crate) struct Application {
    name: &'static str,
    workspace: PathBuf,
    folder: PathBuf,
}

/// An application as it was at some time, ready to run.
#[derive(Debug)]
pub(crate) struct Build {
    executable: PathBuf,
}

/// A running application, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Instance {
    /// `None` while it is replaced.
    process: Option<Process>,
    port: ReservedPort,
}

impl Application {
    /// As it is with the built-in store.
    pub(crate) fn new(name: &'static str) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = here.join("../..").canonicalize().unwrap();
        let folder = scratch(name);
        // What an earlier run has left.
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(folder.join("src")).unwrap();
        symlink(&workspace, scratch("actix-session-redis")).ok();
        for file in ["Cargo.toml", "src/main.rs", "src/tests.rs"] {
            let original = here.join("apps").join(name).join(file);
            fs::copy(original, folder.join(file)).unwrap();
        }
        Self {
            name,
            workspace,
            folder,
        }
    }

    /// Applies the diff of this name in the manual.
    pub(crate) fn patch(&self, name: &str) {
        let mut patch = Command::new("patch")
            .args([
                "--strip=1",
                "--fuzz=0",
                "--no-backup-if-mismatch",
                "--directory",
            ])
            .arg(&self.folder)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let diff = diff(&self.workspace, name);
        let stdin = patch.stdin.take().unwrap();
        (&stdin).write_all(diff.as_bytes()).unwrap();
        drop(stdin);
        let status = patch.wait().unwrap();
        assert!(
            status.success(),
            "patch, on {name} in {}: {status}",
            self.name
        );
    }

    /// Compiles it, and runs its own tests.
    pub(crate) fn build(&self, as_what: &str, redis: &Server) -> Build {
        let _alone = CARGO.lock().unwrap_or_else(PoisonError::into_inner);
        // Cargo takes out of it what is not needed, and what was needed before may be needed again.
        let lock = self.folder.join("Cargo.lock");
        fs::copy(self.workspace.join("Cargo.lock"), lock).unwrap();
        self.cargo("test", redis);
        self.cargo("build", redis);
        let executable = self.folder.join(as_what);
        fs::copy(scratch("target/debug").join(self.name), &executable).unwrap();
        Build { executable }
    }

    fn cargo(&self, command: &str, redis: &Server) {
        let status = Command::new(env!("CARGO"))
            .args([command, "--offline", "--quiet"])
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", scratch("target"))
            // Half of the time, and a tenth of the room.
            .env("CARGO_PROFILE_DEV_DEBUG", "none")
            .env("CARGO_INCREMENTAL", "0")
            .env("REDIS_URL", redis.url())
            .status()
            .unwrap();
        assert!(
            status.success(),
            "cargo {command} of {}: {status}",
            self.name
        );
    }
}

impl Build {
    /// Starts it, on this Redis.
    pub(crate) fn start(&self, redis: &Server) -> Instance {
        let port = ReservedPort::any().unwrap();
        let process = Some(self.start_at(&port, redis));
        Instance { process, port }
    }

    fn start_at(&self, port: &ReservedPort, redis: &Server) -> Process {
        let mut command = Command::new(&self.executable);
        command
            .env("REDIS_URL", redis.url())
            .env("PORT", port.address().port().to_string())
            // Who restarts an application keeps the key.
            .env("SESSION_KEY", "k".repeat(64));
        let mut process = Process::spawn(Program::new("the application", command)).unwrap();
        eventually("the application accepts connections", || {
            if let Some(status) = process.exit_status().unwrap() {
                let log = process.log();
                panic!("{} ended with {status}{log}", self.executable.display());
            }
            Ok(TcpStream::connect(port.address())?)
        });
        process
    }
}

impl Instance {
    /// As a deploy does: running requests are finished, and the successor has the same address.
    pub(crate) fn replace_by(&mut self, build: &Build, redis: &Server) {
        if let Some(mut process) = self.process.take() {
            process.stop().unwrap();
        }
        self.process = Some(build.start_at(&self.port, redis));
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Where visitors find it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}

fn scratch(path: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("compat")
        .join(path)
}
