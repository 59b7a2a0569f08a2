use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;
use tempfile::TempDir;
use testbed::{Browser, Server, eventually_holds};

use crate::{
    files::{deploy, read, replaced, root, text},
    instances::Instance,
    scraper::Scraper,
    tools::{succeed, tool},
};

const PREFIX: &str = "actix_session_redis_";

/// With the rules in it, where the tests of the rules look for them.
fn folder_with_rules() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let to = |name: &str| folder.path().join(name);
    fs::copy(
        deploy("prometheus-alerts.yaml"),
        to("prometheus-alerts.yaml"),
    )
    .unwrap();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/alerts.test.yaml");
    fs::copy(tests, to("alerts.test.yaml")).unwrap();
    folder
}

#[test]
fn each_alert_fires_when_it_should_and_none_when_all_is_well() {
    let folder = folder_with_rules();
    for arguments in [
        ["check", "rules", "prometheus-alerts.yaml"],
        ["test", "rules", "alerts.test.yaml"],
    ] {
        let Some(mut promtool) = tool("promtool", "prometheus") else {
            return;
        };
        succeed(promtool.args(arguments).current_dir(folder.path()));
    }
}

#[test]
fn every_alert_has_a_test_in_which_it_fires() {
    let rules: Value = serde_yaml_ng::from_str(&text("prometheus-alerts.yaml")).unwrap();
    let tests = read(&folder_with_rules().path().join("alerts.test.yaml"));
    let tests: Value = serde_yaml_ng::from_str(&tests).unwrap();
    let tests = tests["tests"].as_array().unwrap().iter();
    let fired: BTreeSet<_> = tests
        .flat_map(|test| test["alert_rule_test"].as_array().unwrap())
        .filter(|check| check["exp_alerts"].is_array())
        .map(|check| check["alertname"].as_str().unwrap())
        .collect();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    let all: BTreeSet<_> = rules
        .iter()
        .map(|rule| rule["alert"].as_str().unwrap())
        .collect();
    assert_eq!(fired, all);
}

/// Each panel's queries, with a value in the place of each of Grafana's variables.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&text("grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{}", panel["title"]);
        targets.iter().map(|target| {
            let query = target["expr"].as_str().unwrap();
            query
                .replace("$job", ".+")
                .replace("$instance", ".+")
                .replace("$__rate_interval", "1m")
        })
    });
    queries.collect()
}

#[test]
fn prometheus_understands_every_query_of_the_dashboard() {
    let queries = queries();
    assert!(queries.len() > 12, "{queries:?}");
    let rules = queries.iter().enumerate().map(|(i, query)| {
        let query = Value::from(query.as_str());
        format!("  - record: panel:query:{i}\n    expr: {query}\n")
    });
    let rules = format!(
        "groups:\n- name: dashboard\n  rules:\n{}",
        rules.collect::<String>()
    );
    assert!(!rules.contains('$'), "{rules}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yaml"), rules).unwrap();
    if let Some(mut promtool) = tool("promtool", "prometheus") {
        let arguments = ["check", "rules", "rules.yaml"];
        succeed(promtool.args(arguments).current_dir(folder.path()));
    }
}

#[test]
fn panels_neither_overlap_nor_leave_the_screen() {
    let dashboard: Value = serde_json::from_str(&text("grafana-dashboard.json")).unwrap();
    let mut taken = BTreeMap::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{}", panel["title"]);
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                let other = taken.insert((x, y), &panel["title"]);
                assert_eq!(other, None, "{}", panel["title"]);
            }
        }
    }
}

#[test]
fn panels_show_an_instance_that_is_used_and_its_outage_raises_an_alert() {
    let redis = Server::start();
    let instance = Instance::start("one", &redis.url());
    let Some(prometheus) = Scraper::of(&instance) else {
        return;
    };
    let shown = |query: &String| prometheus.query(query).iter().any(|value| !value.is_nan());
    // Nothing fails yet.
    let (failures, others): (Vec<_>, Vec<_>) = queries()
        .into_iter()
        .partition(|query| query.contains("by (operation, outcome)"));
    assert_eq!(failures.len(), 1);
    let visitor = Browser::new(&instance.url());
    let mut count = 0;
    eventually_holds("every panel shows something", || {
        assert_eq!(visitor.refresh(), count);
        count += 1;
        others.iter().all(shown)
    });
    assert_eq!(prometheus.alerts(), [""; 0]);

    redis.kill();
    eventually_holds("the outage is seen", || {
        assert_eq!(visitor.open("/").status, 503);
        failures.iter().all(shown)
            && prometheus
                .alerts()
                .iter()
                .any(|alert| alert == "SessionsOutage")
    });
}

/// What begins with our prefix in these texts.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let parts = text.split(PREFIX).skip(1);
    let names = parts.map(|part| {
        let end = part.find(|c: char| !c.is_ascii_lowercase() && c != '_');
        part[..end.unwrap_or(part.len())].to_owned()
    });
    names.collect()
}

#[test]
fn alerts_and_dashboard_ask_for_what_an_instance_serves_and_leave_nothing_out() {
    let redis = Server::start();
    let instance = Instance::start("one", &redis.url());
    Browser::new(&instance.url()).refresh();
    let metrics = format!("http://{}", instance.metrics_address());
    let served = Browser::new(&metrics).get("/metrics").body;
    let served: Vec<_> = served
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let served = metrics_in(&served.join("\n"));

    let asked = metrics_in(&queries().concat());
    let alerts = metrics_in(&text("prometheus-alerts.yaml"));
    for name in asked.iter().chain(&alerts) {
        assert!(served.contains(name), "{name} in {served:?}");
    }
    let without_part = |name: &String| {
        let parts = ["_bucket", "_sum", "_count"];
        let part = parts.iter().find_map(|part| name.strip_suffix(part));
        part.unwrap_or(name).to_owned()
    };
    let on_the_dashboard: BTreeSet<_> = asked.iter().map(without_part).collect();
    let all: BTreeSet<_> = served.iter().map(without_part).collect();
    assert_eq!(on_the_dashboard, all);
}

/// The outcomes are those in the chapter's table, which the store's tests hold.
#[test]
fn alerts_and_dashboard_know_every_outcome_by_its_name() {
    let chapter = read(&root().join("crates/actix-session-redis/docs/operations.md"));
    let (_, table) = chapter.split_once("| outcome | what it means |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let rows = table
        .lines()
        .skip(2)
        .filter_map(|row| row.split('|').nth(1));
    let known: BTreeSet<_> = rows
        .flat_map(|names| names.split(','))
        .map(|name| name.trim().trim_matches('`').to_owned())
        .collect();
    assert!(
        known.contains("ok") && known.contains("merge_panicked"),
        "{known:?}"
    );

    let asked = [queries().concat(), text("prometheus-alerts.yaml")].concat();
    let asked = replaced(&asked, "outcome=~\"", "outcome=\"");
    let lists = asked.split("outcome=\"").skip(1);
    let asked: BTreeSet<_> = lists
        .flat_map(|list| list.split('"').next().unwrap().split('|'))
        .map(str::to_owned)
        .collect();
    assert!(asked.is_subset(&known), "{:?}", asked.difference(&known));
    // These are as it should be.
    let well = [
        "ok",
        "skipped",
        "missing",
        "ended",
        "login_refused",
        "abandoned",
    ];
    let bad: BTreeSet<_> = known
        .iter()
        .filter(|name| !well.contains(&name.as_str()))
        .cloned()
        .collect();
    assert_eq!(asked, bad);
}
