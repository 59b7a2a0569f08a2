use std::{ffi::OsString, fs, path::Path, sync::Mutex};

use super::Server;
use crate::{certificates::Certificates, control::Control, log::Log, port::ReservedPort};

impl Server {
    /// With an append-only file, so that it has its data again after [`stop`](Self::stop) and
    /// [`kill`](Self::kill).
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With arguments for the command line, which win over our own.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::not_started(arguments).started()
    }

    /// It has its address; [`start_again`](Self::start_again) starts it.
    pub fn not_started(arguments: &[&str]) -> Self {
        Self::configured("", arguments)
    }

    /// On TLS alone. Clients need no certificate.
    pub fn start_with_tls(certificates: &Certificates) -> Self {
        Self::on_tls(certificates, "no").started()
    }

    /// On TLS alone, for clients with a certificate of the same authority.
    pub fn start_with_mutual_tls(certificates: &Certificates) -> Self {
        Self::on_tls(certificates, "yes").started()
    }

    fn on_tls(certificates: &Certificates, clients_need_one: &str) -> Self {
        let server = Self::not_started(&["--tls-auth-clients", clients_need_one]);
        let identity = certificates.server();
        let files = [
            ("--tls-cert-file", identity.certificate()),
            ("--tls-key-file", identity.key()),
            ("--tls-ca-cert-file", certificates.authority()),
        ];
        // Copies, because the server may outlive the certificates.
        let files = files.map(|(option, pem)| {
            let path = server.folder.path().join(&option[2..]);
            fs::write(&path, pem.text()).unwrap();
            [OsString::from(option), path.into()]
        });
        let port = server.port.number().to_string();
        let mut server = server
            .with_arguments(["--port", "0", "--tls-port", &port])
            .with_arguments(files.into_iter().flatten());
        server.url_scheme = "rediss";
        server
    }

    /// With this configuration file as it stands, and arguments for what is elsewhere here. The commands of
    /// the test are those of this user.
    pub fn start_with_file(file: &Path, arguments: &[&str], [name, password]: [&str; 2]) -> Self {
        let include = format!("include {}\n", file.display());
        let mut server = Self::new(&include).with_arguments(arguments);
        server.control.log_in(name, password);
        server.started()
    }

    /// With lines for the configuration file, which `CONFIG REWRITE` keeps up to date.
    pub(crate) fn configured(configuration: &str, arguments: &[&str]) -> Self {
        // What has been written survives the process, with or without an fsync.
        let on_disk = ["--save", "", "--appendonly", "yes", "--appendfsync", "no"];
        let mut server = Self::new(configuration)
            .with_arguments(on_disk)
            .with_arguments(arguments);
        server.bus_port = ReservedPort::for_cluster_bus(arguments);
        server
    }

    /// A Sentinel, which is given these commands whenever it has started.
    pub(crate) fn sentinel(
        configuration: &str,
        commands_at_start: &'static [&'static str],
    ) -> Self {
        let mut server = Self::new(configuration).with_arguments(["--sentinel"]);
        server.commands_at_start = commands_at_start;
        server
    }

    fn new(configuration: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("redis-").tempdir().unwrap();
        let configuration = format!("bind 127.0.0.1\n{configuration}");
        fs::write(folder.path().join("redis.conf"), configuration).unwrap();
        Self {
            process: Mutex::new(None),
            log: Log::default(),
            control: Control::at(&folder.path().join("control")),
            arguments: Vec::new(),
            commands_at_start: &[],
            url_scheme: "redis",
            port: ReservedPort::any().unwrap(),
            bus_port: None,
            folder,
        }
    }

    fn with_arguments(mut self, more: impl IntoIterator<Item: Into<OsString>>) -> Self {
        self.arguments.extend(more.into_iter().map(Into::into));
        self
    }

    fn started(self) -> Self {
        self.start_again();
        self
    }
}
