"""What `make bench-gpu` measured, as Markdown and JSON.

    python gpu_report.py --jtav jtav.json --pytorch pytorch.json --feed feed.json --out docs/results/gpu-bench [--card TEXT] [--commit TEXT]

`--jtav` is what `jtav bench networks --device cuda:0 --json` wrote, `--pytorch` what bench_gpu.py did, `--feed` what gpu_feed.py did.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from race.processes import load_average, processor
from race.report import OF_JTAV

# jtav's names of the networks, in the order of the table. The last two have no counterpart by themselves.
TITLES = {**OF_JTAV, "text": "text of 20 words, whole", "audio": "sound of 10 s, from samples"}
# Names of bench_gpu.py.
OF_PYTORCH = {"image": "image", "trunk": "text_trunk", "text": "text_attbigru", "audio": "audio_dcrnn", "fusion": "fusion"}
WAYS = (("eager_f32_ms", "PyTorch eager, f32"), ("eager_bf16_ms", "eager, bf16"), ("compiled_f32_ms", "compiled, f32"), ("compiled_bf16_ms", "compiled, bf16"))
# What a worker's passes hold at most of each network, as config/default.toml has it: the time that a feed costs is reckoned at the next smaller batch.
SERVED = {"text": 32, "audio": 8, "image": 16, "fusion": 64}

Jtav = dict[str, dict[str, dict[str, float]]]


def networks(jtav: Jtav, pytorch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each network and batch of jtav's. Of the two modes of compiling the faster one counts, and the ratio is the fastest of PyTorch's by jtav's."""
    best: dict[tuple[str, int, str], float] = {}
    for line in pytorch:
        kind = "eager" if line["mode"] == "eager" else "compiled"
        key = (OF_PYTORCH[line["network"]], line["batch"], f"{kind}_{line['precision']}_ms")
        best[key] = min(line["ms_an_item"], best.get(key, line["ms_an_item"]))
    rows = []
    for network, title in TITLES.items():
        figures = jtav.get(network, {}).get("libtorch", {})
        for batch, jtav_ms in sorted((int(batch), figure) for batch, figure in figures.items()):
            row = {"network": network, "title": title, "batch": batch, "jtav_ms": jtav_ms}
            row |= {way: best.get((network, batch, way)) for way, _ in WAYS}
            others = [row[way] for way, _ in WAYS if row[way] is not None]
            rows.append({**row, "ratio": min(others) / jtav_ms if others and jtav_ms else None})
    return rows


def cell(value: float | None, digits: int) -> str:
    return f" {value:,.{digits}f} |" if value is not None else " – |"


def networks_table(rows: list[dict[str, Any]]) -> list[str]:
    text = ["| network | batch | jtav |" + "".join(f" {title} |" for _, title in WAYS) + " jtav, items/s | PyTorch's best / jtav |"]
    text.append("|---|" + "--:|" * (len(WAYS) + 4))
    for row in rows:
        items_per_s = 1e3 / row["jtav_ms"] if row["jtav_ms"] else None
        ways = "".join(cell(row[way], 4) for way, _ in WAYS)
        text.append(f"| {row['title']} | {row['batch']} |{cell(row['jtav_ms'], 4)}{ways}{cell(items_per_s, 0)}{cell(row['ratio'], 2)}")
    return text


def alone_s(jtav: Jtav, parts: dict[str, int]) -> dict[str, float]:
    """Seconds that each network alone would take for so many items, at the batch that serves or the next smaller one that was measured."""
    found = {}
    for network, most in SERVED.items():
        figures = {int(batch): figure for batch, figure in jtav.get(network, {}).get("libtorch", {}).items()}
        batches = [batch for batch in figures if batch <= most]
        if batches:
            found[network] = parts[network] * figures[max(batches)] / 1e3
    return found


def feed_table(feed: list[dict[str, Any]]) -> list[str]:
    text = ["| feed | posts | posts/s | ms a post | CPU-ms a post | cores busy | GPU busy, % | resident, MiB |", "|---|" + "--:|" * 7]
    for line in feed:
        figures = ((line["posts_per_s"], 0), (line["ms_a_post"], 2), (line["cpu_ms_a_post"], 2), (line["cores_busy"], 1), (line["gpu_busy_percent"], 0), (line["resident_mib"], 0))
        text.append(f"| {line['feed']} | {line['posts']} |" + "".join(cell(value, digits) for value, digits in figures))
    return text


def markdown(whole: dict[str, Any]) -> str:
    about = whole["about"]
    text = [
        "# On a GPU beside PyTorch",
        "",
        f"`make bench-gpu`, {about['began']}, commit {about['commit']}. {about['card']}; {about['processor']}, load average {about['load']:.2f} at the end;",
        f"PyTorch {about['pytorch'].get('torch')}. How it is measured: [docs/gpu.md](../gpu.md#beside-pytorch).",
        "",
        "## Networks",
        "",
        "Wall milliseconds an item, from the host's memory and back to it. jtav multiplies pictures and the text trunk in bf16, the others in f32; of PyTorch's two",
        "ways to compile the faster one is told. Above 1 in the last column jtav is faster than PyTorch's fastest.",
        "",
        *networks_table(whole["networks"]),
    ]
    if whole["left_out"]:
        text += ["", "Left out:", ""]
        text += [f"- {of['network']}, {of['precision']}, {of['mode']}, batch {of['batch']}: `{of['reason'].splitlines()[0][:200]}`" for of in whole["left_out"]]
    if whole["feed"]:
        start_s = whole["feed"][0]["start_s"]
        text += [
            "",
            "## `jtav label`, end to end",
            "",
            f"The sample feed in rounds under new ids, `cache.max_bytes = 0`, media from files; without the start ({start_s:.1f} s). Medians of {len(whole['feed'][0]['runs'])} runs.",
            "",
            *feed_table(whole["feed"]),
        ]
        alone = ", ".join(f"{network} {seconds:.2f} s" for network, seconds in whole["alone_s"].items())
        if alone:
            text += ["", f"Alone, at the batches that serve, the networks would take for the posts of the first line: {alone}; each has a thread of its own. The first line",
                     f"took {whole['feed'][0]['wall_s']:.2f} s: what lies between is reading, decoding and waiting for one another."]  # fmt: skip
    return "\n".join(text) + "\n"


def merged(jtav: Jtav, pytorch: dict[str, Any], feed: list[dict[str, Any]], about: dict[str, Any]) -> dict[str, Any]:
    """Everything that was measured, jtav's and PyTorch's own lines included."""
    return {
        "about": {**about, "pytorch": pytorch["about"]}, "networks": networks(jtav, pytorch["lines"]), "left_out": pytorch["left_out"], "feed": feed,
        "alone_s": alone_s(jtav, feed[0]["parts"]) if feed else {}, "measured": {"jtav": jtav, "pytorch": pytorch["lines"]},
    }  # fmt: skip


def last_line(path: Path) -> Any:
    """JSON is the last line of what a program printed."""
    return json.loads(path.read_text(encoding="utf-8").splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jtav", type=Path, required=True)
    parser.add_argument("--pytorch", type=Path, required=True)
    parser.add_argument("--feed", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="path without ending: PATH.md, PATH.json")
    parser.add_argument("--card", default="unknown card")
    parser.add_argument("--commit", default="unknown")
    args = parser.parse_args()
    about = {"began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "commit": args.commit, "card": args.card, "processor": processor(), "load": load_average()}
    whole = merged(last_line(args.jtav), last_line(args.pytorch), last_line(args.feed), about)
    text = markdown(whole)
    print(text, end="")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.with_suffix(".md").write_text(text, encoding="utf-8")
    args.out.with_suffix(".json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
