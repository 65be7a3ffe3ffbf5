//! The Kubernetes manifests agree with the program's own settings.

use anyhow::{Context as _, Result};
use jtav_settings::{Loader, Settings};
use jtav_testkit::workspace_root;
use serde_yaml_ng::Value;

fn manifest(name: &str) -> Result<Value> {
    let path = workspace_root().join("k8s/base").join(name);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(serde_yaml_ng::from_str(&text)?)
}

/// What a pod of the base would run with: its file, and the variables of its config map.
fn settings() -> Result<Settings> {
    let kustomization = manifest("kustomization.yaml")?;
    let maps = kustomization["configMapGenerator"].as_sequence().context("configMapGenerator")?;
    let variables: Vec<(String, String)> = maps
        .iter()
        .filter_map(|map| map["literals"].as_sequence())
        .flatten()
        .filter_map(|literal| literal.as_str()?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert!(variables.iter().any(|(name, _)| name == "JTAV__KAFKA__BROKERS"), "{variables:?}");
    let file = workspace_root().join("k8s/base/config.toml");
    Ok(Loader::new().file(file).environment(variables).load()?.settings)
}

fn pod() -> Result<Value> {
    Ok(manifest("deployment.yaml")?["spec"]["template"]["spec"].clone())
}

#[test]
fn the_pod_has_15_s_more_than_the_shutdown_takes() -> Result<()> {
    let grace_seconds = pod()?["terminationGracePeriodSeconds"].as_u64().context("terminationGracePeriodSeconds")?;
    let shutdown_ms = settings()?.shutdown.shutdown_timeout_ms;
    assert!(
        grace_seconds * 1_000 >= shutdown_ms + 15_000,
        "terminationGracePeriodSeconds = {grace_seconds}, shutdown_timeout_ms = {shutdown_ms}"
    );
    Ok(())
}

#[test]
fn probes_ask_the_admin_server() -> Result<()> {
    let pod = pod()?;
    let container = &pod["containers"][0];
    let port = container["ports"]
        .as_sequence()
        .context("ports")?
        .iter()
        .find(|port| port["name"] == "admin")
        .and_then(|port| port["containerPort"].as_u64())
        .context("a port named admin")?;
    assert_eq!(port, u64::from(settings()?.admin.listen.port()));
    for (probe, path) in [("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")] {
        let get = &container[probe]["httpGet"];
        assert_eq!((get["path"].as_str(), get["port"].as_str()), (Some(path), Some("admin")), "{probe}");
    }
    Ok(())
}

/// A selector of all namespaces lets anybody who may label a pod somewhere be a broker or a store.
#[test]
fn the_network_policies_name_every_namespace_that_they_let_in_or_out() -> Result<()> {
    let policy = manifest("network-policy.yaml")?;
    let text = std::fs::read_to_string(workspace_root().join("k8s/backfill/job.yaml"))?;
    let documents = serde_yaml_ng::Deserializer::from_str(&text).map(<Value as serde::Deserialize>::deserialize);
    let backfill = documents.collect::<Result<Vec<_>, _>>()?;
    let backfill = backfill.into_iter().find(|document| document["kind"] == "NetworkPolicy").context("a policy")?;
    for policy in [policy, backfill] {
        let rules = ["ingress", "egress"].into_iter().filter_map(|way| policy["spec"][way].as_sequence()).flatten();
        let peers: Vec<&Value> =
            rules.flat_map(|rule| [&rule["from"], &rule["to"]]).filter_map(Value::as_sequence).flatten().collect();
        let selectors: Vec<&Value> = peers.iter().filter_map(|peer| peer.get("namespaceSelector")).collect();
        assert!(selectors.len() >= 3, "{policy:?}");
        for selector in selectors {
            let name = selector["matchLabels"]["kubernetes.io/metadata.name"].as_str();
            assert!(name.is_some_and(|name| !name.is_empty()), "{selector:?}");
        }
    }
    Ok(())
}

#[test]
fn the_file_that_is_mounted_is_the_file_that_is_read() -> Result<()> {
    let pod = pod()?;
    let container = &pod["containers"][0];
    let arguments: Vec<&str> =
        container["args"].as_sequence().context("args")?.iter().filter_map(Value::as_str).collect();
    let ["run", "--config", file] = arguments[..] else { panic!("{arguments:?}") };
    let (folder, name) = file.rsplit_once('/').context("an absolute path")?;
    let mounts = container["volumeMounts"].as_sequence().context("volumeMounts")?;
    assert!(mounts.iter().any(|mount| mount["mountPath"] == folder && mount["name"] == "config"), "{mounts:?}");
    assert_eq!(name, "config.toml");
    Ok(())
}

#[test]
fn the_autoscaler_makes_no_more_workers_than_the_topic_has_partitions() -> Result<()> {
    let scaled = manifest("scaled-object.yaml")?;
    let most = scaled["spec"]["maxReplicaCount"].as_u64().context("maxReplicaCount")?;
    let least = scaled["spec"]["minReplicaCount"].as_u64().context("minReplicaCount")?;
    let partitions: u64 = scaled["metadata"]["annotations"]["jtav.dev/input-partitions"]
        .as_str()
        .context("the annotation jtav.dev/input-partitions")?
        .parse()?;
    assert!(1 <= least && least <= most && most <= partitions, "{least} to {most} workers, {partitions} partitions");
    Ok(())
}
