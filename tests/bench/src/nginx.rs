use std::{
    env, fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
};

use redis_fixtures::{ReservedPort, eventually};

use crate::process::Process;

/// A load balancer in front of server processes, set up as the demo's.
#[derive(Debug)]
pub(crate) struct Nginx {
    _process: Process,
    port: ReservedPort,
}

impl Nginx {
    /// `folder` is its own.
    pub(crate) fn start(servers: &[SocketAddr], folder: &Path) -> anyhow::Result<Self> {
        let port = ReservedPort::any();
        fs::write(
            folder.join("nginx.conf"),
            configuration(port.address(), servers),
        )?;
        // Debian keeps nginx where the PATH of an ordinary user does not look.
        let path = env::var("PATH").unwrap_or_default()
            + ":/usr/local/sbin:/usr/sbin:/sbin:/opt/homebrew/bin";
        let process = Process::spawn(
            Command::new("nginx")
                .env("PATH", path)
                .arg("-p")
                .arg(folder)
                .args(["-e", "stderr", "-c", "nginx.conf"])
                .stdin(Stdio::null()),
        )?;
        eventually("nginx accepts connections", || {
            Ok(TcpStream::connect(port.address())?)
        });
        Ok(Self {
            _process: process,
            port,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }
}

/// A single process, so that nothing of it is left when it is killed.
fn configuration(listen: SocketAddr, servers: &[SocketAddr]) -> String {
    let servers: String = servers
        .iter()
        .map(|server| format!("server {server} max_fails=0; "))
        .collect();
    format!(
        r#"
daemon off;
master_process off;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_body_temp_path client_body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_requests 100000000;
    upstream servers {{ {servers} keepalive 256; keepalive_requests 100000000; }}
    server {{
        listen {listen};
        location / {{
            proxy_pass http://servers;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
        }}
    }}
}}
"#
    )
}
