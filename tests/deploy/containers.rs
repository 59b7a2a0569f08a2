use serde_json::Value;

use crate::{
    files::{deploy, root, text},
    instances::assert_starts_with,
    tools::{left_out, succeed, tool_if_there},
};

fn compose() -> Value {
    serde_yaml_ng::from_str(&text("compose.yaml")).unwrap()
}

#[test]
fn every_file_that_compose_mounts_is_there() {
    let compose = compose();
    let services = compose["services"].as_object().unwrap();
    let mut mounted = 0;
    for service in services.values() {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let (source, _) = volume.as_str().unwrap().split_once(':').unwrap();
            match source.strip_prefix("./") {
                Some(file) => assert!(deploy(file).is_file(), "{file}"),
                None => assert!(compose["volumes"].get(source).is_some(), "{source}"),
            }
            mounted += 1;
        }
    }
    assert_eq!(mounted, 4);
    let build = &services["app"]["build"];
    let context = deploy(build["context"].as_str().unwrap());
    let dockerfile = context.join(build["dockerfile"].as_str().unwrap());
    assert!(dockerfile.is_file(), "{}", dockerfile.display());
}

#[test]
fn the_proxy_knows_every_replica_by_its_name() {
    let compose = compose();
    let project = compose["name"].as_str().unwrap();
    let replicas = compose["services"]["app"]["deploy"]["replicas"]
        .as_u64()
        .unwrap();
    let instances = (1..=replicas).map(|i| format!("{project}-app-{i}:8080"));
    let instances: Vec<_> = instances.collect();
    let environment = &compose["services"]["proxy"]["environment"];
    assert_eq!(environment["INSTANCES"], instances.join(" "));
    assert!(text("Dockerfile").contains("\"--listen\", \"0.0.0.0:8080\""));
}

#[test]
fn docker_accepts_the_file() {
    let Some(mut docker) = tool_if_there("docker") else {
        return;
    };
    let has_compose = docker.args(["compose", "version"]).output().unwrap();
    if !has_compose.status.success() {
        left_out("docker compose");
        return;
    }
    let mut config = tool_if_there("docker").unwrap();
    config
        .args(["compose", "--file"])
        .arg(deploy("compose.yaml"))
        .args(["config", "--quiet"])
        .env("REDIS_PASSWORD", "secret")
        .env("SESSION_KEY", "secret");
    succeed(&mut config);
}

#[test]
fn a_container_starts_with_its_command() {
    let dockerfile = text("Dockerfile");
    let (_, command) = dockerfile.split_once("\nCMD ").unwrap();
    let command: Vec<&str> = serde_json::from_str(command).unwrap();
    assert_starts_with(&command);
}

#[test]
fn the_image_is_built_from_what_is_in_the_repository() {
    let dockerfile = text("Dockerfile");
    assert!(dockerfile.contains("cargo build --locked --release --package demo"));
    assert!(root().join("Cargo.lock").is_file());
    let user = dockerfile.lines().find(|line| line.starts_with("USER "));
    assert!(!user.unwrap().contains("root"), "{user:?}");
    // A shell around it would keep SIGTERM to itself.
    for line in dockerfile.lines() {
        if line.starts_with("ENTRYPOINT") || line.starts_with("CMD") {
            assert!(line.contains(" ["), "{line}");
        }
    }
}
