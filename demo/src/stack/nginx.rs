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

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }
}

#[cfg(test)]
mod tests {
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
}
