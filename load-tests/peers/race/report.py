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
NETWORKS = (
    ("batch", "batch", 0),
    ("cpu_ms", "CPU-ms an item", 3),
)
KINDS = {"saturated": SATURATED, "half load": HALF, "kill": KILL}
TITLES = {
    "saturated": "Saturated: a backlog, as fast as it goes",
    "half load": "Half of the best peer's capacity, open loop",
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
    text = ["| side |" + "".join(f" {title} |" for _, title, _ in columns) + "".join(more)]
    text.append("|---|" + "--:|" * (len(columns) + len(more)))
    for line in lines:
        cells = "".join(f" {line[name]:.{digits}f} |" for name, _, digits in columns)
        text.append(f"| {line['side']} |{cells}" + (f" {ratio(line, best)} |" if more else ""))
    return text


def networks_table(networks: list[dict[str, Any]]) -> list[str]:
    """CPU-ms an item of each network at each batch, a column for each engine."""
    engines = list(dict.fromkeys(line["engine"] for line in networks))
    text = ["| network | batch |" + "".join(f" {engine} |" for engine in engines), "|---|--:|" + "--:|" * len(engines)]
    found = {(line["network"], line["batch"], line["engine"]): line["cpu_ms_an_item"] for line in networks}
    for network, batch in dict.fromkeys((line["network"], line["batch"]) for line in networks):
        cells = [found.get((network, batch, engine)) for engine in engines]
        text.append(f"| {network} | {batch} |" + "".join(f" {cell:.3f} |" if cell is not None else " – |" for cell in cells))
    return text


def markdown(whole: dict[str, Any]) -> str:
    about, results = whole["about"], whole["results"]
    text = [
        "# The race",
        "",
        f"{about['began']}, commit {about['commit']}, {about['processor']}. Load average before: {about['load_before']:.2f}, after: "
        f"{about['load_after']:.2f}. Medians of {about['rounds']} interleaved rounds with windows of {about['seconds']:g} s; what the "
        "sides are, and what each is spared, stands in load-tests/peers/README.md.",
    ]
    if about["load_before"] >= 0.5:
        text += ["", "**The machine was not quiet before the run; the ratios hold, the absolute figures may not.**"]
    for feed in dict.fromkeys(result["feed"] for result in results):
        text += ["", f"## {feed}"]
        for kind, title in TITLES.items():
            lines = medians(results, kind, feed)
            if lines:
                text += ["", f"{title}:", "", *table(lines, kind)]
    if whole.get("networks"):
        text += ["", "## Networks alone", "", "CPU-ms an item of a forward pass, one thread:", "", *networks_table(whole["networks"])]
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
