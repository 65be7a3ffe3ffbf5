"""What was measured, as Markdown, JSON and a picture."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

SATURATED = (
    ("rate_per_s", "posts/s", 0),
    ("cpu_ms_a_post", "CPU-ms a post", 3),
    ("first_label_s", "start to first label, s", 1),
    ("pss_mib", "memory PSS, MiB", 0),
    ("rss_mib", "memory RSS, MiB", 0),
)
HALF = (
    ("rate_per_s", "posts/s", 0),
    ("p50_ms", "p50, ms", 1),
    ("p99_ms", "p99, ms", 1),
    ("cpu_ms_a_post", "CPU-ms a post", 3),
    ("generator_late_ms", "generator late by at most, ms", 1),
)
KILL = (
    ("posts", "posts", 0),
    ("labelled_before", "labelled before", 0),
    ("without_label", "without label", 0),
    ("repeated_labels", "labels repeated", 0),
    ("repeated_embeddings", "vectors repeated", 0),
    ("back_after_s", "back after, s", 1),
)
KINDS = {"saturated": SATURATED, "half load": HALF, "kill": KILL}
TITLES_OF_FEEDS = {
    "stub": "Stub: texts, no networks",
    "light": "Texts with `light`",
    "modern": "Texts with `modern`",
    "mixed": "The whole feed with `modern`, media over HTTP",
}
TITLES = {
    "saturated": "Saturated: a backlog, as fast as it goes",
    "half load": "Open loop, at half of the best peer's rate unless one was given",
    "kill": "One SIGKILL in the midst of a backlog, then a new start",
}


def medians(results: list[dict[str, Any]], kind: str, feed: str) -> list[dict[str, Any]]:
    """One line for each side: the medians over its rounds, in the order in which the sides first ran."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        if result["kind"] == kind and result["feed"] == feed:
            lines.setdefault(result["side"], []).append(result)
    columns = [name for name, _, _ in KINDS[kind]]
    return [
        {"side": side, "program": found[0]["program"], "rounds": len(found)}
        | {name: median(result[name] for result in found) for name in columns}
        for side, found in lines.items()
    ]


def ratio(line: dict[str, Any], best: dict[str, Any] | None) -> str:
    """Rate of a side by that of the best peer."""
    return f"{line['rate_per_s'] / best['rate_per_s']:.2f}" if best else "–"


def table(lines: list[dict[str, Any]], kind: str) -> list[str]:
    peers = [line for line in lines if line["program"] != "jtav"]
    best = max(peers, key=lambda line: line["rate_per_s"]) if peers and kind == "saturated" else None
    columns = KINDS[kind]
    more = [" rate by the best peer's |"] if kind == "saturated" else []
    text = ["| side | rounds |" + "".join(f" {title} |" for _, title, _ in columns) + "".join(more)]
    text.append("|---|--:|" + "--:|" * (len(columns) + len(more)))
    for line in lines:
        cells = "".join(f" {line[name]:.{digits}f} |" for name, _, digits in columns)
        text.append(f"| {line['side']} | {line['rounds']} |{cells}" + (f" {ratio(line, best)} |" if more else ""))
    return text


# jtav's names of the networks that stand in this table.
OF_JTAV = {
    "image": "picture (EfficientNet-Lite0)",
    "text_trunk": "text trunk (MiniLM)",
    "text_attbigru": "attBiGRU",
    "audio_dcrnn": "DCRNN, a segment of 10 s",
    "fusion": "fusion",
}


def networks_of_jtav(given: dict[str, dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """Lines of a file `{network: {engine: {batch: CPU-ms an item}}}`, as `jtav bench networks --json` writes it; networks that have no
    counterpart here are left out."""
    return [
        {"network": OF_JTAV[network], "engine": f"jtav, {engine}", "batch": int(batch), "cpu_ms_an_item": spent_ms}
        for network, engines in given.items()
        if network in OF_JTAV
        for engine, batches in engines.items()
        for batch, spent_ms in batches.items()
    ]


def networks_table(networks: list[dict[str, Any]]) -> list[str]:
    """CPU-ms an item of each network at each batch, a column for each engine."""
    engines = list(dict.fromkeys(line["engine"] for line in networks))
    text = ["| network | batch |" + "".join(f" {engine} |" for engine in engines), "|---|--:|" + "--:|" * len(engines)]
    found = {(line["network"], line["batch"], line["engine"]): line["cpu_ms_an_item"] for line in networks}
    for network, batch in dict.fromkeys((line["network"], line["batch"]) for line in networks):
        cells = [found.get((network, batch, engine)) for engine in engines]
        text.append(f"| {network} | {batch} |" + "".join(f" {cell:.3f} |" if cell is not None else " – |" for cell in cells))
    return text


def added(path: Path, whole: dict[str, Any]) -> dict[str, Any]:
    """This run with what an earlier one says of other feeds and kinds; each result tells the run that it comes from."""
    about = whole["about"]
    fresh = [{**result, "about": about} for result in whole["results"]]
    measured = {(result["kind"], result["feed"]) for result in fresh}
    file = path.with_suffix(".json")
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"results": []}
    kept = [{"about": before["about"], **result} for result in before["results"] if (result["kind"], result["feed"]) not in measured]
    networks = whole.get("networks") or before.get("networks")
    of_networks = about if whole.get("networks") else before.get("about_networks")
    failed = [failure for failure in before.get("failures", []) if (failure["kind"], failure["feed"]) not in measured]
    failures = failed + whole.get("failures", [])
    return {"about": about, "results": kept + fresh, "networks": networks, "about_networks": of_networks, "failures": failures}


def run_line(about: dict[str, Any]) -> str:
    """When, what and where a run was."""
    return (
        f"{about['began']}, commit {about['commit']}, {about['processor']}; load average before {about['load_before']:.2f}, after "
        f"{about['load_after']:.2f}; windows of {about['seconds']:g} s"
    )


def markdown(whole: dict[str, Any]) -> str:
    about, results = whole["about"], whole["results"]
    text = [
        "# The race",
        "",
        "jtav beside pipelines in Python on the same weights, the same feed, the same broker and store, one side after the other. Medians over",
        "the rounds of a run, which are interleaved. What the sides are, how it is measured and what each is spared:",
        "[load-tests/peers](../../load-tests/peers/README.md).",
    ]
    order = {name: at for at, name in enumerate(("stub", "light", "modern", "mixed"))}
    for feed in sorted(dict.fromkeys(result["feed"] for result in results), key=lambda name: order.get(name, 9)):
        text += ["", f"## {TITLES_OF_FEEDS.get(feed, feed)}"]
        for kind, title in TITLES.items():
            lines = medians(results, kind, feed)
            if lines:
                of_run = next(result.get("about", about) for result in results if (result["kind"], result["feed"]) == (kind, feed))
                loud = " **The machine was not quiet before: the ratios count, not the figures.**" if of_run["load_before"] >= 0.5 else ""
                text += ["", f"{title} ({run_line(of_run)}).{loud}", "", *table(lines, kind)]
    failures = whole.get("failures") or []
    if failures:
        text += ["", "## Runs that failed, and are not in the medians", ""]
        text += [f"- {failure['feed']}, {failure['kind']}, {failure['side']}: `{failure['reason'].splitlines()[0][:200]}`" for failure in failures]
    if whole.get("networks"):
        of_run = whole.get("about_networks") or about
        text += ["", "## Networks alone", "", f"CPU-ms an item of a forward pass, one thread ({run_line(of_run)}).", "", *networks_table(whole["networks"])]
    return "\n".join(text) + "\n"


def write(path: Path, whole: dict[str, Any], text: str) -> None:
    """PATH.md, PATH.json and PATH.png."""
    path.parent.mkdir(parents=True, exist_ok=True)
    has_picture = any(result["kind"] == "saturated" for result in whole["results"])
    if has_picture:
        from race.plot import draw

        draw(whole, path.with_suffix(".png"))
        head, rest = text.split("\n## ", 1) if "\n## " in text else (text, "")
        text = f"{head}\n![Rates and CPU time of each side]({path.name}.png)\n" + (f"\n## {rest}" if rest else "")
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
