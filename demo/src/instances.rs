use std::{net::SocketAddr, path::PathBuf, process::Command};

use actix_web::http::StatusCode;
use askama::Template;
use testbed::Application;

use crate::{
    CookieKey, SealKeys, SessionTtl,
    page::Problem,
    redis_url::RedisUrl,
    serve::{LISTENING, ServeOptions},
};

/// Two show that the threads of one process share sessions too, on any machine.
const WORKERS: &str = "2";

/// What the instances of a stack have in common: several `demo serve`.
#[derive(Debug, Clone)]
pub struct Instances {
    /// The executable of this package.
    pub program: PathBuf,
    /// Encrypts the session cookie; a new one unless given.
    pub cookie_key: CookieKey,
    /// Seal what Redis holds of the sessions; nothing does, unless given.
    pub seal_keys: Option<SealKeys>,
    /// Whether sessions that are not sealed are read in spite of them; not, unless changed.
    pub accept_unsealed: bool,
    /// How long a session lives after its last request; an hour unless changed.
    pub session_ttl: SessionTtl,
    /// Whether the logs of the instances go to stderr as they are written; not, unless changed.
    pub show_logs: bool,
}

#[derive(Template)]
#[template(path = "nginx.conf", escape = "none")]
struct NginxConfiguration<'a> {
    listen: SocketAddr,
    instances: &'a [SocketAddr],
    /// For whom no instance answers: text between single quotes.
    problem: String,
}

impl Instances {
    /// Everything at its default.
    pub fn of(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            cookie_key: CookieKey::generate(),
            seal_keys: None,
            accept_unsealed: false,
            session_ttl: SessionTtl::default(),
            show_logs: false,
        }
    }
}

impl Application for Instances {
    const READY: &'static str = LISTENING;

    fn instance(&self, name: &str, listen: SocketAddr, redis_url: &str) -> Command {
        // Set to nothing, they count as not set, whatever we ourselves were told.
        let seal_keys = self.seal_keys.as_ref().map_or("", SealKeys::to_base64);
        let accept_unsealed = if self.accept_unsealed { "true" } else { "" };
        let mut command = Command::new(&self.program);
        command
            .args(["serve", "--workers", WORKERS, "--name", name])
            .args(["--listen", &listen.to_string()])
            .args(["--session-ttl", &self.session_ttl.to_string()])
            // A command line can be read by every user of the machine, so whatever may be secret
            // goes by environment.
            .env_remove(ServeOptions::METRICS_LISTEN)
            .env(RedisUrl::VARIABLE, redis_url)
            .env(CookieKey::VARIABLE, self.cookie_key.to_base64())
            .env(SealKeys::VARIABLE, seal_keys)
            .env(ServeOptions::ACCEPT_UNSEALED, accept_unsealed);
        command
    }

    fn nginx(&self, listen: SocketAddr, instances: &[SocketAddr]) -> anyhow::Result<String> {
        // What would end the text, or begin a variable of nginx.
        let problem = Problem::of(StatusCode::BAD_GATEWAY).render()?;
        let problem = problem.replace('\'', "&#39;").replace('$', "&#36;");
        let configuration = NginxConfiguration {
            listen,
            instances,
            problem,
        };
        Ok(configuration.render()?)
    }

    fn shows_logs(&self) -> bool {
        self.show_logs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instance_is_an_upstream_of_nginx() {
        let instances = ["127.0.0.1:4001", "127.0.0.1:4002"].map(|text| text.parse().unwrap());
        let listen = "127.0.0.1:8080".parse().unwrap();
        let text = Instances::of("demo").nginx(listen, &instances).unwrap();
        assert!(text.contains("listen 127.0.0.1:8080;"));
        assert!(text.contains("        server 127.0.0.1:4001 max_fails=0;\n"));
        assert!(text.contains("        server 127.0.0.1:4002 max_fails=0;\n"));
    }
}
