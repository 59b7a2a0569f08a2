use std::{fmt::Write as _, fs, net::SocketAddr, path::Path, process::Command, thread};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::{
    installed::installed,
    port::ReservedPort,
    process::{Process, Program},
};

/// A load balancer in front of server processes.
#[derive(Debug)]
pub struct Nginx {
    pub(crate) process: Process,
    port: ReservedPort,
    _folder: Option<TempDir>,
}

impl Nginx {
    /// In front of these, which may come and go. It asks them in turn, and the next one what one
    /// has not answered, except for a `POST` that has been sent.
    ///
    /// # Panics
    ///
    /// When nginx is not installed, or does not start.
    pub fn start(servers: &[SocketAddr]) -> Self {
        let port = ReservedPort::any().unwrap();
        let folder = tempfile::Builder::new().prefix("nginx-").tempdir().unwrap();
        let configuration = configuration(port.address(), servers);
        let command = Self::command(folder.path(), &configuration).unwrap();
        let program = Self::program(command);
        let mut nginx = Self::at(port, Process::spawn(program).unwrap());
        nginx.wait_ready().unwrap();
        nginx._folder = Some(folder);
        nginx
    }

    /// What starts it. `folder` is its prefix: a configuration names no path outside it.
    pub(crate) fn command(folder: &Path, configuration: &str) -> anyhow::Result<Command> {
        let nginx = installed("nginx", "nginx-light")?;
        fs::write(folder.join("nginx.conf"), configuration)
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        let mut command = Command::new(nginx);
        command.arg("-p").arg(folder);
        command.args(["-e", "stderr", "-c", "nginx.conf"]);
        Ok(command)
    }

    pub(crate) fn program(command: Command) -> Program<'static> {
        // It says so right after it has opened its sockets.
        Program::new("nginx", command).ready_when_it_says("event method")
    }

    pub(crate) fn at(port: ReservedPort, process: Process) -> Self {
        Self {
            process,
            port,
            _folder: None,
        }
    }

    /// Waits until nginx accepts connections.
    pub(crate) fn wait_ready(&mut self) -> anyhow::Result<()> {
        self.process.wait_ready().map(drop).map_err(|error| {
            // Its last word after it has met "address already in use" five times.
            if self.process.log().contains("still could not bind()") {
                self.port.taken()
            } else {
                error
            }
        })
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Where browsers find it, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the log of nginx:{}", self.process.log());
        }
    }
}

/// A single process, so that nothing of it is left when it is killed.
fn configuration(listen: SocketAddr, servers: &[SocketAddr]) -> String {
    let mut upstreams = String::new();
    for server in servers {
        write!(upstreams, "server {server} max_fails=0; ").unwrap();
    }
    format!(
        r#"
daemon off;
master_process off;
pid nginx.pid;
error_log stderr notice;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_body_temp_path client_body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_requests 100000000;
    upstream servers {{ {upstreams} keepalive 256; keepalive_requests 100000000; }}
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An nginx that ends after it has said this.
    fn that_says(last_words: &str) -> Nginx {
        let mut command = Command::new("sh");
        command.args(["-c", "echo \"$0\"; exit 1", last_words]);
        let process = Process::spawn(Nginx::program(command)).unwrap();
        Nginx::at(ReservedPort::any().unwrap(), process)
    }

    #[test]
    fn a_port_that_another_one_took_in_the_meantime_is_named() {
        let mut nginx = that_says("2026/01/01 00:00:00 [emerg] 1#1: still could not bind()");
        let refusal = nginx.wait_ready().unwrap_err().to_string();
        let port = nginx.port.address().port();
        assert!(
            refusal.starts_with(&format!("port {port} is taken")),
            "{refusal}"
        );
        assert_eq!(refusal.lines().count(), 1);
    }

    #[test]
    fn any_other_trouble_comes_with_the_log() {
        let mut nginx = that_says("unknown directive");
        let refusal = nginx.wait_ready().unwrap_err().to_string();
        assert!(refusal.ends_with("unknown directive"), "{refusal}");
    }
}
