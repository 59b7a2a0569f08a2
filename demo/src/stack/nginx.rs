use std::{fs, net::SocketAddr, path::Path};

use anyhow::Context as _;
use askama::Template;

use super::{
    installed::installed,
    launcher::Launcher,
    port::ReservedPort,
    process::{Process, Program},
};

#[derive(Template)]
#[template(path = "nginx.conf", escape = "none")]
struct Configuration<'a> {
    listen: SocketAddr,
    instances: &'a [SocketAddr],
}

/// The load balancer in front of the instances.
#[derive(Debug)]
pub(super) struct Nginx {
    pub(super) process: Process,
    port: ReservedPort,
}

impl Nginx {
    /// `folder` is its prefix: the configuration names no path outside it.
    pub(super) fn spawn(
        port: ReservedPort,
        instances: &[SocketAddr],
        launcher: &Launcher,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let nginx = installed("nginx", "nginx-light")?;
        let configuration = Configuration {
            listen: port.address(),
            instances,
        };
        fs::write(folder.join("nginx.conf"), configuration.render()?)
            .with_context(|| format!("cannot write to {}", folder.display()))?;

        let mut command = launcher.program(&nginx);
        command.arg("-p").arg(folder).args(["-c", "nginx.conf"]);
        let program = Program {
            name: "nginx",
            command,
            // It says so right after it has opened its sockets.
            ready_sign: "event method",
            show_log: false,
        };
        Ok(Self {
            process: Process::spawn(program, launcher)?,
            port,
        })
    }

    /// Waits until nginx accepts connections.
    pub(super) fn wait_ready(&mut self) -> anyhow::Result<()> {
        self.process.wait_ready().map_err(|error| {
            // Its last word after it has met "address already in use" five times.
            if self.process.log().contains("still could not bind()") {
                self.port.taken()
            } else {
                error
            }
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }
}

#[cfg(test)]
mod tests {
    use std::{process::Command, sync::mpsc::channel};

    use super::*;

    #[test]
    fn every_instance_is_an_upstream() {
        let instances = ["127.0.0.1:4001", "127.0.0.1:4002"].map(|text| text.parse().unwrap());
        let configuration = Configuration {
            listen: "127.0.0.1:8080".parse().unwrap(),
            instances: &instances,
        };
        let text = configuration.render().unwrap();
        assert!(text.contains("listen 127.0.0.1:8080;"));
        assert!(text.contains("        server 127.0.0.1:4001 max_fails=0;\n"));
        assert!(text.contains("        server 127.0.0.1:4002 max_fails=0;\n"));
    }

    /// An nginx that ends after it has said this.
    fn that_says(last_words: &str) -> Nginx {
        let mut command = Command::new("sh");
        command.args(["-c", "echo \"$0\"; exit 1", last_words]);
        let program = Program {
            name: "nginx",
            command,
            ready_sign: "event method",
            show_log: false,
        };
        let launcher = Launcher {
            demo: "unused".into(),
            notices: channel().0,
        };
        Nginx {
            process: Process::spawn(program, &launcher).unwrap(),
            port: ReservedPort::any().unwrap(),
        }
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
