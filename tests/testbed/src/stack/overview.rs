use std::fmt;

use super::{Application, Stack};

/// What runs where, one part per line.
impl<A: Application> fmt::Display for Stack<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let redis = self
            .redis
            .process()
            .map(|process| (process, self.redis.url().to_owned()));
        let instances = self
            .instances
            .iter()
            .map(|instance| (&instance.process, format!("http://{}", instance.address())));
        let nginx = (&self.nginx.process, self.nginx.url());

        let parts = redis.into_iter().chain(instances).chain([nginx]);
        let lines: Vec<_> = parts
            .map(|(process, url)| {
                let (name, pid) = (process.name(), process.pid());
                format!("{name:<13} {url} (process {pid})")
            })
            .collect();
        f.write_str(&lines.join("\n"))
    }
}
