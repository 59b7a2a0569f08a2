use serde::Deserialize as _;
use serde_json::Value;

use crate::{files::text, instances::assert_starts_with};

fn manifests() -> Vec<Value> {
    let text = text("kubernetes.yaml");
    serde_yaml_ng::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

fn manifest(kind: &str) -> Value {
    let mut found = manifests();
    found.retain(|manifest| manifest["kind"] == kind);
    assert_eq!(found.len(), 1, "{kind}");
    found.remove(0)
}

#[test]
fn everything_finds_the_pods_by_their_label() {
    let deployment = manifest("Deployment");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert!(labels["app"].is_string());
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&manifest("Service")["spec"]["selector"], labels);
    let budget = manifest("PodDisruptionBudget");
    assert_eq!(&budget["spec"]["selector"]["matchLabels"], labels);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let secret = &container["envFrom"][0]["secretRef"]["name"];
    assert_eq!(secret, &manifest("Secret")["metadata"]["name"]);
    let port = &manifest("Service")["spec"]["ports"][0]["targetPort"];
    assert_eq!(port, &container["ports"][0]["name"]);
}

#[test]
fn a_deploy_waits_for_sessions_and_no_outage_restarts_a_pod() {
    let deployment = manifest("Deployment");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    for probe in ["startupProbe", "readinessProbe"] {
        assert_eq!(container[probe]["httpGet"]["path"], "/healthz", "{probe}");
        let timeout = container[probe]["timeoutSeconds"].as_u64();
        assert!(timeout > Some(2), "{probe}: longer than the deadline");
    }
    assert!(container["livenessProbe"]["httpGet"].is_null());
    assert!(container["livenessProbe"]["tcpSocket"].is_object());
    assert_eq!(
        deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"],
        0
    );
}

#[test]
fn a_pod_starts_with_its_arguments() {
    let deployment = manifest("Deployment");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let arguments = container["args"].as_array().unwrap().iter();
    let arguments: Vec<_> = arguments.map(|it| it.as_str().unwrap()).collect();
    assert_starts_with(&arguments);
}

/// What an instance does after SIGTERM is in `demo/src/serve.rs`.
#[test]
fn an_instance_that_is_stopped_has_the_time_to_finish() {
    let pod = &manifest("Deployment")["spec"]["template"]["spec"];
    let wait = &pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1];
    let wait: u64 = wait.as_str().unwrap().parse().unwrap();
    let shutdown_timeout = 30;
    let grace = pod["terminationGracePeriodSeconds"].as_u64();
    assert!(grace > Some(wait + shutdown_timeout), "{grace:?}");
}

#[test]
fn nobody_rolls_out_the_secrets_of_the_repository() {
    let secrets = &manifest("Secret")["stringData"];
    assert_eq!(
        secrets["SESSION_KEY"], "",
        "an instance does not start with that"
    );
}
