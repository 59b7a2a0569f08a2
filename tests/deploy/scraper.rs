use std::fs;

use serde_json::Value;
use tempfile::TempDir;
use testbed::{Browser, Process, Program, ReservedPort};

use crate::{files::deploy, instances::Instance, tools::tool};

/// A Prometheus that reads the metrics of an instance each second, with the alert rules.
pub(crate) struct Scraper {
    _process: Process,
    port: ReservedPort,
    _folder: TempDir,
}

impl Scraper {
    /// `None` if somebody chose to go without.
    pub(crate) fn of(instance: &Instance) -> Option<Self> {
        let mut command = tool("prometheus", "prometheus")?;
        let port = ReservedPort::any().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let target = instance.metrics_address().to_string();
        let rules = deploy("prometheus-alerts.yaml").display().to_string();
        let configuration = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [{rules:?}]\n\
             scrape_configs: [{{ job_name: demo, static_configs: [{{ targets: [{target:?}] }}] }}]\n"
        );
        fs::write(folder.path().join("prometheus.yml"), configuration).unwrap();
        command
            .current_dir(folder.path())
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg(format!("--web.listen-address={}", port.address()));
        Some(Self {
            _process: Process::spawn(Program::new("prometheus", command)).unwrap(),
            port,
            _folder: folder,
        })
    }

    /// The values that a query has now; none while Prometheus starts.
    pub(crate) fn query(&self, query: &str) -> Vec<f64> {
        let Some(answer) = self.ask(&format!("query?query={}", encoded(query))) else {
            return Vec::new();
        };
        let series = answer["data"]["result"].as_array().unwrap();
        let values = series.iter().map(|one| one["value"][1].as_str().unwrap());
        values.map(|value| value.parse().unwrap()).collect()
    }

    /// The alerts that wait or fire.
    pub(crate) fn alerts(&self) -> Vec<String> {
        let answer = self.ask("alerts").unwrap();
        let alerts = answer["data"]["alerts"].as_array().unwrap();
        let names = alerts.iter().map(|alert| &alert["labels"]["alertname"]);
        names
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    }

    fn ask(&self, what: &str) -> Option<Value> {
        let address = self.port.address();
        std::net::TcpStream::connect(address).ok()?;
        let answer = Browser::new(&format!("http://{address}/api/v1/")).get(what);
        if answer.status == 503 {
            return None;
        }
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(answer["status"], "success", "{what}: {answer}");
        Some(answer)
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
