use std::{
    fs::{self, File},
    thread,
};

use tempfile::TempDir;
use testbed::{Browser, Server, eventually_holds};

use crate::running::{KEY, Running, demo};

/// `demo serve` with four workers and without nginx, with its log and its metrics.
pub(crate) struct LoneInstance {
    url: String,
    metrics_url: String,
    _process: Running,
    files: TempDir,
}

impl LoneInstance {
    /// On the Redis at this URL.
    pub(crate) fn on(redis_url: &str, log: &str) -> Self {
        Self::with(redis_url, &[("RUST_LOG", log)])
    }

    /// The same, with variables that win over our own.
    pub(crate) fn with(redis_url: &str, variables: &[(&str, &str)]) -> Self {
        let files = tempfile::tempdir().unwrap();
        let own = [
            ("SESSION_KEY", KEY),
            ("REDIS_URL", redis_url),
            ("METRICS_LISTEN", "127.0.0.1:0"),
        ];
        let variables = [&own[..], variables].concat();
        let stderr = File::create(files.path().join("log")).unwrap();
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--workers", "4"];
        let mut process = Running::start(demo(&arguments, &variables).stderr(stderr));
        let mut url_after = |before: &str| {
            let line = process.next_line();
            line.strip_prefix(before).expect(&line).to_owned()
        };
        Self {
            metrics_url: url_after("metrics on "),
            url: url_after("listening on "),
            _process: process,
            files,
        }
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::new(&self.url)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.files.path().join("log")).unwrap()
    }

    /// How many lines of the log say this.
    pub(crate) fn times_logged(&self, what: &str) -> usize {
        let log = self.log();
        log.lines().filter(|line| line.contains(what)).count()
    }

    pub(crate) fn metrics(&self) -> String {
        let metrics = Browser::new(&self.metrics_url).get("");
        assert_eq!(metrics.status, 200);
        metrics.body
    }

    /// The value of this metric, without our prefix and with its labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let metrics = self.metrics();
        let value = metrics.lines().find_map(|line| {
            let line = line.strip_prefix("actix_session_redis_")?;
            line.strip_prefix(name)?.strip_prefix(' ')
        });
        let value = value.unwrap_or_else(|| panic!("no {name} in {metrics}"));
        value.parse().unwrap()
    }

    /// Sixteen visitors, each on a connection of its own, so that every worker has some.
    pub(crate) fn crowd(&self) -> Vec<Browser> {
        (0..16).map(|_| self.browser()).collect()
    }
}

/// All of them at once open this page, some times.
pub(crate) fn all_open(crowd: &[Browser], path: &str, status: u16) {
    thread::scope(|scope| {
        for browser in crowd {
            scope.spawn(move || {
                for _ in 0..3 {
                    assert_eq!(browser.open(path).status, status);
                }
            });
        }
    });
}

/// An outage, noticed by a crowd that had been here before.
pub(crate) fn outage(redis: &Server, crowd: &[Browser], meanwhile: impl FnOnce()) {
    redis.kill();
    all_open(crowd, "/", 503);
    meanwhile();
    redis.start_again();
    wait_until_served(crowd);
}

/// A thread that is in an outage needs a moment to find that Redis is back.
pub(crate) fn wait_until_served(crowd: &[Browser]) {
    for browser in crowd {
        eventually_holds("served again", || browser.open("/").status == 200);
    }
}
