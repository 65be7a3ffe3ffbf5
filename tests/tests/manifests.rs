//! The Kubernetes manifests agree with the program's own settings.

use anyhow::{Context as _, Result};
use jtav_query::keys::Keys;
use jtav_settings::{Loader, Settings};
use jtav_testkit::workspace_root;
use serde_yaml_ng::Value;

fn read(path: &str) -> Result<String> {
    let path = workspace_root().join(path);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

fn manifest(name: &str) -> Result<Value> {
    Ok(serde_yaml_ng::from_str(&read(&format!("k8s/base/{name}"))?)?)
}

fn of_server(name: &str) -> Result<Value> {
    Ok(serde_yaml_ng::from_str(&read(&format!("k8s/serve/base/{name}"))?)?)
}

fn documents(path: &str) -> Result<Vec<Value>> {
    let text = read(path)?;
    let documents = serde_yaml_ng::Deserializer::from_str(&text).map(<Value as serde::Deserialize>::deserialize);
    Ok(documents.collect::<Result<Vec<_>, _>>()?)
}

/// What a worker's pod of the base would run with.
fn settings() -> Result<Settings> {
    Ok(loader("k8s/base")?.load()?.settings)
}

/// Its file, and the variables of its config map.
fn loader(folder: &str) -> Result<Loader> {
    let kustomization: Value = serde_yaml_ng::from_str(&read(&format!("{folder}/kustomization.yaml"))?)?;
    let maps = kustomization["configMapGenerator"].as_sequence().context("configMapGenerator")?;
    let variables: Vec<(String, String)> = maps
        .iter()
        .filter_map(|map| map["literals"].as_sequence())
        .flatten()
        .filter_map(|literal| literal.as_str()?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert!(variables.iter().any(|(name, _)| name == "JTAV__KAFKA__BROKERS"), "{variables:?}");
    Ok(Loader::new().file(workspace_root().join(folder).join("config.toml")).environment(variables))
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
    let backfill = documents("k8s/backfill/job.yaml")?;
    let backfill = backfill.into_iter().find(|document| document["kind"] == "NetworkPolicy").context("a policy")?;
    for policy in [manifest("network-policy.yaml")?, backfill, of_server("network-policy.yaml")?] {
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

/// The loader holds them against the rules: an address that others can reach, without keys, is refused there.
#[test]
fn a_server_of_the_base_can_start_and_be_reached_and_asks_for_keys() -> Result<()> {
    let settings = loader("k8s/serve/base")?.load()?.settings;
    assert!(!settings.serve.listen.ip().is_loopback());
    let keys = settings.serve.keys_file.context("serve.keys_file")?;
    let pod = of_server("deployment.yaml")?["spec"]["template"]["spec"].clone();
    let container = &pod["containers"][0];
    let mounts = container["volumeMounts"].as_sequence().context("volumeMounts")?;
    let folder = keys.parent().and_then(|folder| folder.to_str()).context("a folder")?;
    assert!(mounts.iter().any(|mount| mount["mountPath"] == folder && mount["name"] == "keys"), "{mounts:?}");
    assert_eq!(container["ports"][0]["containerPort"].as_u64(), Some(u64::from(settings.serve.listen.port())));
    assert_eq!(container["args"][0], "serve");
    Ok(())
}

#[test]
fn the_memory_of_a_server_of_the_base_fits_its_limit() -> Result<()> {
    let pod = of_server("deployment.yaml")?["spec"]["template"]["spec"].clone();
    let limits = &pod["containers"][0]["resources"]["limits"];
    let limit: u64 = limits["memory"].as_str().and_then(|text| text.strip_suffix("Gi")).context("Gi")?.parse()?;
    let cores: usize = limits["cpu"].as_str().context("cpu")?.parse()?;
    let loader = loader("k8s/serve/base")?.set(format!("media.decode_workers={cores}"));
    let settings = loader
        .set(format!("model.image_streams={cores}"))
        .set(format!("model.text_streams={cores}"))
        .set("model.device=cpu")
        .load()?
        .settings;
    let ceiling = settings.serving_memory_ceiling(false);
    assert!(ceiling.total_bytes() <= limit << 30, "{ceiling}");
    Ok(())
}

/// A key that stands in the repository would open every installation that forgot to replace it.
#[test]
fn the_example_of_keys_opens_nothing() -> Result<()> {
    let secrets = documents("k8s/serve/keys.example.yaml")?;
    let keys = secrets.iter().find_map(|secret| secret["stringData"]["keys.toml"].as_str()).context("keys.toml")?;
    let refused = Keys::parse(keys, std::num::NonZeroU32::MIN, &Keys::default()).err().context("it is taken")?;
    assert!(refused.contains("sha256"), "{refused}");
    Ok(())
}

#[test]
fn the_compose_file_opens_ports_to_this_machine_alone() -> Result<()> {
    let compose: Value = serde_yaml_ng::from_str(&read("compose.yaml")?)?;
    let services = compose["services"].as_mapping().context("services")?;
    let ports: Vec<&str> = services
        .values()
        .filter_map(|service| service["ports"].as_sequence())
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    assert!(ports.contains(&"127.0.0.1:9700:9700"), "{ports:?}");
    assert!(ports.iter().all(|port| port.starts_with("127.0.0.1:")), "{ports:?}");
    Ok(())
}
