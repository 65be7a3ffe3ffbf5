"""Called by check-manifests.sh. Exits 1 with one line per finding."""
import json
import pathlib
import shutil
import subprocess
import sys
import tomllib

import jsonschema
import kubernetes_validate
import yaml

from kustomize_build import build

ROOT = pathlib.Path(__file__).resolve().parent.parent
KUBERNETES = "1.34"
OWN_SCHEMAS = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): "servicemonitor-v1.json",
    ("keda.sh/v1alpha1", "ScaledObject"): "scaledobject-v1alpha1.json",
}
WORKERS = ["base", "overlays/dev", "overlays/prod", "overlays/gpu"]
SERVERS = ["serve/base", "serve/overlays/dev", "serve/overlays/prod"]
# The drain is followed by the last commit, the producer's flush and leaving the group.
GRACE_AFTER_DRAIN_S = 15
# From SIGTERM to the end of a readers' server: what answers under way have, and a question of a follower to the broker.
SERVER_END_S = 2 + 5
# What the admin server of the worker answers.
ADMIN_PATHS = {"/metrics", "/healthz", "/readyz", "/describe"}

findings = []


def check(where, condition, text):
    if not condition:
        findings.append(f"{where}: {text}")


def validate(where, resource):
    """One resource against its schema; strict, so that a misspelt field is a finding."""
    kind = (resource["apiVersion"], resource["kind"])
    name = f"{where}: {resource['kind']}/{resource['metadata']['name']}"
    if kind in OWN_SCHEMAS:
        schema = json.loads((ROOT / "k8s/schemas" / OWN_SCHEMAS[kind]).read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        for error in jsonschema.Draft202012Validator(schema).iter_errors(resource):
            findings.append(f"{name}: {error.json_path}: {error.message}")
        return
    try:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        findings.append(f"{name}: {'.'.join(str(part) for part in error.path)}: {error.message}")
    except kubernetes_validate.SchemaNotFoundError:
        findings.append(f"{name}: Kubernetes {KUBERNETES} has no such kind")


def matches(selector, labels):
    return all(labels.get(key) == value for key, value in selector["matchLabels"].items())


def settings_of(where, config_map):
    """config/default.toml with the mounted file on top; a key that the defaults do not have is a finding."""
    settings = tomllib.loads((ROOT / "config/default.toml").read_text())
    for section, values in tomllib.loads(config_map["data"]["config.toml"]).items():
        check(where, section in settings, f"config.toml: no section [{section}] in config/default.toml")
        for key, value in values.items():
            check(where, key in settings.get(section, {}), f"config.toml: no key {section}.{key} in config/default.toml")
            settings.setdefault(section, {})[key] = value
    return settings


def check_environment(where, variables, settings):
    for name in variables:
        if name.startswith("JTAV__"):
            section, _, key = name.removeprefix("JTAV__").lower().partition("__")
            free = section == "kafka" and key.startswith("librdkafka__")
            check(where, free or key in settings.get(section, {}) or key.removesuffix("_file") in settings.get(section, {}), f"{name} is no setting")


def opened(where, resources):
    """By kind; the one deployment, its pod, the pod's labels, its container, that one's variables, and the settings that it mounts."""
    by_kind = {}
    for resource in resources:
        by_kind.setdefault(resource["kind"], []).append(resource)
    deployment = by_kind["Deployment"][0]
    template = deployment["spec"]["template"]
    pod, labels = template["spec"], template["metadata"]["labels"]
    container = pod["containers"][0]
    maps = {m["metadata"]["name"]: m for m in by_kind["ConfigMap"]}
    mounted = next(v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v)
    variables = {k: v for source in container["envFrom"] for k, v in maps[source["configMapRef"]["name"]]["data"].items()}
    # One that the pod's own fields fill has no value here.
    variables |= {v["name"]: v.get("value") for v in container["env"]}
    return by_kind, deployment, pod, labels, container, variables, settings_of(where, maps[mounted])


def check_pods(where, role, by_kind, deployment, pod, labels, container):
    """What holds of workers and servers alike."""
    check(where, "cpu" in container["resources"]["limits"], f"without a CPU limit the {role} takes the node's cores for its own")
    check(where, not container["image"].endswith(":latest") and ":" in container["image"], f"image {container['image']} names no version")
    check(where, pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"], "root, or a writable root file system")

    check(where, matches(deployment["spec"]["selector"], labels), "the deployment does not select its pods")
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        selector = by_kind[kind][0]["spec"]
        check(where, matches(selector.get("selector") or selector.get("podSelector"), labels), f"{kind} does not select the {role}'s pods")
    for scaled in by_kind.get("ScaledObject", []):
        target = scaled["spec"]["scaleTargetRef"]
        check(where, (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"]), "the scaled object's target is not the deployment")
        check(where, "replicas" not in deployment["spec"], "replicas is set, but the autoscaler owns the number")


def cross_check(where, resources):
    by_kind, deployment, pod, labels, worker, variables, settings = opened(where, resources)
    check_environment(where, variables, settings)

    drain_ms, grace_s = settings["shutdown"]["shutdown_timeout_ms"], pod["terminationGracePeriodSeconds"]
    check(where, grace_s * 1000 >= drain_ms + GRACE_AFTER_DRAIN_S * 1000,
          f"terminationGracePeriodSeconds {grace_s} is less than shutdown_timeout_ms {drain_ms} plus {GRACE_AFTER_DRAIN_S} s")
    port = int(settings["admin"]["listen"].rpartition(":")[2])
    check(where, worker["ports"][0]["containerPort"] == port, f"the container's port is not that of admin.listen, {port}")
    check(where, settings["admin"]["listen"].startswith(("0.0.0.0:", "[::]:")), "probes cannot reach admin.listen")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        check(where, worker[probe]["httpGet"]["path"] in ADMIN_PATHS, f"{probe} asks for a path that the worker does not serve")
    check_pods(where, "worker", by_kind, deployment, pod, labels, worker)
    service = by_kind["Service"][0]
    check(where, all(labels.get(k) == v for k, v in service["spec"]["selector"].items()), "the service does not select the worker's pods")
    check(where, by_kind["NetworkPolicy"][0]["spec"]["ingress"][0]["ports"][0]["port"] == port, f"the network policy does not let the scrape in on {port}")
    for monitor in by_kind.get("ServiceMonitor", []):
        check(where, matches(monitor["spec"]["selector"], service["metadata"]["labels"]), "the service monitor does not select the service")
        for endpoint in monitor["spec"]["endpoints"]:
            check(where, endpoint["port"] in {p["name"] for p in service["spec"]["ports"]}, f"the service has no port named {endpoint['port']}")
    for scaled in by_kind.get("ScaledObject", []):
        spec = scaled["spec"]
        partitions = int(scaled["metadata"]["annotations"]["jtav.dev/input-partitions"])
        check(where, spec["minReplicaCount"] <= spec["maxReplicaCount"] <= partitions, f"{spec['maxReplicaCount']} workers for {partitions} partitions")


def cross_check_server(where, resources):
    """The readers' server: what it listens on, who may ask it, and that a public address has keys."""
    by_kind, deployment, pod, labels, server, variables, settings = opened(where, resources)
    check_environment(where, variables, settings)
    serve = settings["serve"] | {k.removeprefix("JTAV__SERVE__").lower(): v for k, v in variables.items() if k.startswith("JTAV__SERVE__")}

    folders = {m["mountPath"]: m["name"] for m in server["volumeMounts"]}
    secrets = {v["name"] for v in pod["volumes"] if "secret" in v}
    check(where, serve["keys_file"], "a server that others can reach refuses to start without serve.keys_file")
    for key in ("keys_file", "tls_certificate_file", "tls_key_file"):
        if serve[key]:
            check(where, folders.get(str(pathlib.PurePath(serve[key]).parent)) in secrets, f"serve.{key} lies in no mounted secret")
    check(where, not any("subPath" in m for m in server["volumeMounts"]), "what is mounted by subPath never changes; keys and certificates do")
    port = int(serve["listen"].rpartition(":")[2])
    check(where, server["ports"][0]["containerPort"] == port, f"the container's port is not that of serve.listen, {port}")
    check(where, serve["listen"].startswith(("0.0.0.0:", "[::]:")), "nobody can reach serve.listen")
    scheme = "HTTPS" if serve["tls_certificate_file"] else "HTTP"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        get = server[probe]["httpGet"]
        check(where, get["path"].partition("?")[0] in ADMIN_PATHS, f"{probe} asks for a path that the server does not serve")
        check(where, get.get("scheme", "HTTP") == scheme, f"{probe} does not speak {scheme}")
    start = server["startupProbe"]
    check(where, deployment["spec"]["progressDeadlineSeconds"] > start["periodSeconds"] * start["failureThreshold"], "the roll-out fails before the start probe does")
    grace_s, pre_stop_s = pod["terminationGracePeriodSeconds"], server["lifecycle"]["preStop"]["sleep"]["seconds"]
    check(where, grace_s > pre_stop_s + SERVER_END_S, f"terminationGracePeriodSeconds {grace_s} is less than the pause and the end take")
    check_pods(where, "server", by_kind, deployment, pod, labels, server)
    policy = by_kind["NetworkPolicy"][0]["spec"]
    check(where, {p["port"] for rule in policy["ingress"] for p in rule["ports"]} == {port}, f"the network policy lets in on another port than {port}")
    worker = next(r["spec"] for r in build(ROOT / "k8s/base") if r["kind"] == "NetworkPolicy")
    check(where, policy["egress"] == worker["egress"], "the server may reach something else than the workers")
    services = {s["metadata"]["name"]: s for s in by_kind["Service"]}
    for name, service in services.items():
        check(where, all(labels.get(k) == v for k, v in service["spec"]["selector"].items()), f"the service {name} does not select the server's pods")
    for monitor in by_kind.get("ServiceMonitor", []):
        scraped = [s for s in services.values() if matches(monitor["spec"]["selector"], s["metadata"]["labels"])]
        check(where, len(scraped) == 1 and scraped[0]["spec"]["publishNotReadyAddresses"], "the service monitor does not select the one service with servers that are not ready")
        for endpoint in monitor["spec"]["endpoints"]:
            check(where, all(endpoint["port"] in {p["name"] for p in s["spec"]["ports"]} for s in scraped), f"the service has no port named {endpoint['port']}")
            check(where, endpoint["scheme"].upper() == scheme, f"the scrape does not speak {scheme}")
            check(where, "authorization" in endpoint, "/metrics of a server needs a key")
    for ingress in by_kind.get("Ingress", []):
        annotations = ingress["metadata"]["annotations"]
        check(where, annotations["nginx.ingress.kubernetes.io/proxy-buffering"] == "off", "the ingress would hold events back")
        check(where, annotations["nginx.ingress.kubernetes.io/backend-protocol"] == scheme, f"the ingress does not speak {scheme} to the server")
        check(where, ingress["spec"]["tls"], "keys would go through the internet in the clear")
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                check(where, backend["name"] in services, f"there is no service {backend['name']}")
    for scaled in by_kind.get("ScaledObject", []):
        spec = scaled["spec"]
        check(where, 2 <= spec["minReplicaCount"] <= spec["maxReplicaCount"], "one server alone cannot be replaced without a gap")
        streams = next(int(t["metadata"]["threshold"]) for t in spec["triggers"] if t["type"] == "prometheus")
        check(where, streams * 2 <= int(serve["max_streams"]), f"servers are full ({serve['max_streams']} streams) before they are scaled at {streams}")


def check_key_example(where, resources):
    """Placeholders that the server refuses: no key in the repository may ever open anything."""
    for secret in resources:
        for entry in tomllib.loads(secret["stringData"].get("keys.toml", "")).get("key", []):
            check(where, entry["sha256"].startswith("REPLACE"), f"{entry['name']}: no hash of a key may stand in the example")
        check(where, secret["stringData"].get("key", "REPLACE").startswith("REPLACE"), "no key may stand in the example")


def compare_with_kustomize(where, folder, resources):
    """kustomize_build.py against the real one, where that is installed."""
    if not shutil.which("kustomize"):
        return False
    real = list(yaml.safe_load_all(subprocess.run(["kustomize", "build", folder], check=True, capture_output=True, text=True).stdout))
    def order(resource):
        return resource["kind"], resource["metadata"]["name"]
    check(where, sorted(real, key=order) == sorted(resources, key=order), "kustomize builds something else than scripts/kustomize_build.py")
    return True


def main():
    count, compared = 0, False
    for overlay in WORKERS + SERVERS:
        where, folder = f"k8s/{overlay}", ROOT / "k8s" / overlay
        resources = build(folder)
        compared = compare_with_kustomize(where, folder, resources)
        for resource in resources:
            validate(where, resource)
        (cross_check if overlay in WORKERS else cross_check_server)(where, resources)
        count += len(resources)
    example = ROOT / "k8s/serve/keys.example.yaml"
    secrets = list(yaml.safe_load_all(example.read_text()))
    for secret in secrets:
        validate(str(example.relative_to(ROOT)), secret)
    check_key_example(str(example.relative_to(ROOT)), secrets)
    count += len(secrets)
    settings = tomllib.loads((ROOT / "config/default.toml").read_text())
    for path in sorted((ROOT / "k8s/backfill").glob("*.yaml")):
        where = str(path.relative_to(ROOT))
        resources = {resource["kind"]: resource for resource in yaml.safe_load_all(path.read_text())}
        for resource in resources.values():
            validate(where, resource)
        job, policy = resources["Job"]["spec"]["template"], resources["NetworkPolicy"]["spec"]
        pod, labels = job["spec"], job["metadata"]["labels"]
        variables = {variable["name"]: variable["value"] for variable in pod["containers"][0]["env"]}
        check_environment(where, variables, settings)
        drain_ms = int(variables["JTAV__SHUTDOWN__SHUTDOWN_TIMEOUT_MS"])
        check(where, pod["terminationGracePeriodSeconds"] * 1000 >= drain_ms + GRACE_AFTER_DRAIN_S * 1000,
              f"terminationGracePeriodSeconds is less than the drain of {drain_ms} ms plus {GRACE_AFTER_DRAIN_S} s")
        check(where, matches(policy["podSelector"], labels), "the network policy does not select the job's pods")
        base = {resource["kind"]: resource.get("spec") for resource in build(ROOT / "k8s/base")}
        check(where, not all(labels.get(k) == v for k, v in base["Service"]["selector"].items()), "the workers' service selects the job's pods")
        check(where, policy["egress"] == base["NetworkPolicy"]["egress"], "the job may reach something else than the workers")
        count += len(resources)
    if findings:
        sys.exit("\n".join(findings))
    print(f"{count} resources of {len(WORKERS + SERVERS)} kustomizations are valid for Kubernetes {KUBERNETES}"
          + (" and equal what kustomize builds" if compared else " (kustomize is not installed: built by scripts/kustomize_build.py alone)"))


if __name__ == "__main__":
    main()
