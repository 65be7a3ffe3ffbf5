"""Builds a kustomization, as far as k8s/ uses kustomize; anything else in a kustomization file is an error.

Known: resources, namespace, images, configMapGenerator (files, literals, behavior merge), patches (`$patch: delete`, and
JSON patches with add and replace). scripts/check-manifests.sh compares the result with kustomize's own where that is
installed.
"""
import hashlib
import json
import pathlib

import yaml

KNOWN = {"apiVersion", "kind", "namespace", "resources", "configMapGenerator", "patches", "images"}


def build(folder):
    """The resources of a kustomization, config maps under their hashed names."""
    resources = accumulate(pathlib.Path(folder))
    names = {}
    for resource in resources:
        if resource.pop("__generated", False):
            plain = resource["metadata"]["name"]
            names[plain] = f"{plain}-{config_map_hash(resource)}"
            resource["metadata"]["name"] = names[plain]
    for resource in resources:
        rename_config_maps(resource, names)
    return resources


def accumulate(folder):
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    unknown = set(kustomization) - KNOWN
    if unknown:
        raise ValueError(f"{folder}: {sorted(unknown)} is not understood by kustomize_build.py")
    resources = []
    for entry in kustomization.get("resources", []):
        path = folder / entry
        if path.is_dir():
            resources += accumulate(path.resolve())
        else:
            resources += [r for r in yaml.safe_load_all(path.read_text()) if r]
    for generator in kustomization.get("configMapGenerator", []):
        generate(folder, generator, resources)
    for patch in kustomization.get("patches", []):
        apply(patch, resources)
    for image in kustomization.get("images", []):
        for container in containers(resources):
            name, _, tag = container["image"].partition(":")
            if name == image["name"]:
                container["image"] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"
    if "namespace" in kustomization:
        for resource in resources:
            resource["metadata"]["namespace"] = kustomization["namespace"]
    return resources


def generate(folder, generator, resources):
    data = {pathlib.Path(name).name: (folder / name).read_text() for name in generator.get("files", [])}
    data |= dict(literal.split("=", 1) for literal in generator.get("literals", []))
    if generator.get("behavior", "create") == "merge":
        find(resources, "ConfigMap", generator["name"])["data"] |= data
    else:
        resources.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data, "__generated": True})


def find(resources, kind, name):
    found = [r for r in resources if r["kind"] == kind and r["metadata"]["name"] == name]
    if len(found) != 1:
        raise ValueError(f"{kind} {name} is there {len(found)} times")
    return found[0]


def apply(patch, resources):
    body = yaml.safe_load(patch["patch"])
    if isinstance(body, dict):
        if body.get("$patch") != "delete" or set(body) != {"$patch", "apiVersion", "kind", "metadata"}:
            raise ValueError(f"of merge patches only `$patch: delete` is understood, not {body}")
        resources.remove(find(resources, body["kind"], body["metadata"]["name"]))
        return
    target = find(resources, patch["target"]["kind"], patch["target"]["name"])
    for step in body:
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
        place = target
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place[part]
        if step["op"] == "add" and isinstance(place, list):
            place.insert(len(place) if last == "-" else int(last), step["value"])
        elif step["op"] == "add" or (step["op"] == "replace" and last in place):
            place[last] = step["value"]
        else:
            raise ValueError(f"{step} cannot be applied")


def containers(resources):
    for resource in resources:
        pod = resource.get("spec", {}).get("template", {}).get("spec", {})
        yield from pod.get("initContainers", []) + pod.get("containers", [])


def config_map_hash(resource):
    """Ten characters of the SHA-256 of kind and data, respelled so that no word arises: kustomize's own rule. (It means to
    count the name in, looks it up by a path that never matches, and so hashes an empty one.)"""
    canonical = json.dumps({"kind": "ConfigMap", "name": "", "data": resource["data"]}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for character, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):     # as Go's encoder writes them
        canonical = canonical.replace(character, escape)
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:10]
    return digest.translate(str.maketrans("013ae", "ghkmt"))


def rename_config_maps(value, names):
    if isinstance(value, list):
        for item in value:
            rename_config_maps(item, names)
    elif isinstance(value, dict):
        for key in ("configMap", "configMapRef", "configMapKeyRef"):
            if isinstance(value.get(key), dict) and value[key].get("name") in names:
                value[key]["name"] = names[value[key]["name"]]
        for item in value.values():
            rename_config_maps(item, names)
