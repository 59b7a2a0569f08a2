use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
};

use tempfile::TempDir;
use testbed::{Process, Program, ReservedPort, eventually};

use crate::{
    files::{replaced, text},
    tools::tool,
};

/// Where the files say that the instances are, and the proxy.
const INSTANCES: [&str; 3] = ["127.0.0.1:8081", "127.0.0.1:8082", "127.0.0.1:8083"];
const LISTEN: &str = "127.0.0.1:8080";

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Nginx,
    HaProxy,
    Caddy,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Nginx, Self::HaProxy, Self::Caddy];

    /// `None` if somebody chose to go without.
    pub(crate) fn command(self) -> Option<Command> {
        match self {
            Self::Nginx => tool("nginx", "nginx-light"),
            Self::HaProxy => tool("haproxy", "haproxy"),
            Self::Caddy => tool("caddy", "caddy"),
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Nginx => "nginx.conf",
            Self::HaProxy => "haproxy.cfg",
            Self::Caddy => "Caddyfile",
        }
    }

    /// The file, with other addresses. Caddy gets them by environment.
    fn configuration(self, listen: SocketAddr, instances: &[SocketAddr; 3]) -> String {
        let mut configuration = text(self.file());
        if matches!(self, Self::Caddy) {
            return configuration;
        }
        for (said, address) in INSTANCES.iter().zip(instances) {
            configuration = replaced(&configuration, said, &address.to_string());
        }
        configuration = replaced(&configuration, LISTEN, &listen.to_string());
        if matches!(self, Self::Nginx) {
            // Who is not root may not write where the package does.
            let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
            let folders = folders.map(|name| format!("{name}_temp_path {name};"));
            let ours = format!("http {{ access_log off; {}", folders.concat());
            configuration = replaced(&configuration, "http {", &ours);
        }
        configuration
    }
}

/// What makes the folder of a proxy its own.
pub(crate) struct Folder {
    kind: Kind,
    pub(crate) port: ReservedPort,
    instances: [SocketAddr; 3],
    folder: TempDir,
}

impl Folder {
    pub(crate) fn new(kind: Kind, instances: [SocketAddr; 3]) -> Self {
        let port = ReservedPort::any().unwrap();
        let folder = tempfile::Builder::new().prefix("proxy-").tempdir().unwrap();
        let configuration = kind.configuration(port.address(), &instances);
        fs::write(folder.path().join(kind.file()), configuration).unwrap();
        Self {
            kind,
            port,
            instances,
            folder,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A command that only says whether the configuration is right.
    pub(crate) fn check(&self) -> Option<Command> {
        let mut command = self.kind.command()?;
        match self.kind {
            Kind::Nginx => self.nginx(&mut command).arg("-t"),
            Kind::HaProxy => command.arg("-c").arg("-f").arg(self.file()),
            Kind::Caddy => self.caddy(&mut command, "validate"),
        };
        Some(command)
    }

    fn run(&self) -> Option<Command> {
        let mut command = self.kind.command()?;
        match self.kind {
            Kind::Nginx => self.nginx(&mut command),
            Kind::HaProxy => command.arg("-db").arg("-f").arg(self.file()),
            Kind::Caddy => self.caddy(&mut command, "run"),
        };
        Some(command)
    }

    fn file(&self) -> std::path::PathBuf {
        self.path().join(self.kind.file())
    }

    /// A single process, so that nothing of it is left when it is killed.
    fn nginx<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .arg("-p")
            .arg(self.path())
            .args(["-e", "error.log", "-c", "nginx.conf", "-g"])
            .arg("daemon off; master_process off; pid nginx.pid;")
    }

    fn caddy<'a>(&self, command: &'a mut Command, what: &str) -> &'a mut Command {
        let instances = self.instances.map(|address| address.to_string());
        command
            .args([what, "--adapter", "caddyfile", "--config"])
            .arg(self.file())
            .env("SITE", format!("http://{}", self.port.address()))
            .env("INSTANCES", instances.join(" "))
            .env(
                "CADDY_ADMIN",
                format!("unix/{}", self.path().join("admin").display()),
            )
            .env("HOME", self.path())
            .env("XDG_DATA_HOME", self.path())
            .env("XDG_CONFIG_HOME", self.path())
    }
}

/// A proxy in front of three servers; killed when dropped.
pub(crate) struct Proxy {
    _process: Process,
    folder: Folder,
}

impl Proxy {
    /// `None` if somebody chose to go without.
    pub(crate) fn start(kind: Kind, instances: [SocketAddr; 3]) -> Option<Self> {
        let folder = Folder::new(kind, instances);
        let program = Program::new("a proxy", folder.run()?);
        let mut process = Process::spawn(program).unwrap();
        eventually(&format!("{kind:?} accepts connections"), || {
            if let Some(status) = process.exit_status().unwrap() {
                panic!("{kind:?} ended with {status}:{}", process.log());
            }
            Ok(TcpStream::connect(folder.port.address())?)
        });
        Some(Self {
            _process: process,
            folder,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.folder.port.address())
    }
}
