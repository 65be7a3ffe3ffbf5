"""How fast `jtav label` is end to end on a GPU, and where the time goes: posts a second of the sample feed, played in rounds under new ids; of all of it, without
sound, without pictures, and of the texts alone.

    python gpu_feed.py --jtav target/release/jtav --folder .cache/bench-gpu [--device cuda:0] [--rounds 40] [--json]

The cache of encodings is off, or every round but the first would cost nothing. What one post takes, the start, is taken off. `--device cpu` runs the same
without a card.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from race.feed import REPOSITORY, SAMPLE_FEED
from race.processes import of_tree, stats

# What is left out of each feed.
FEEDS: dict[str, tuple[str, ...]] = {"all": (), "without sound": ("audio",), "without pictures": ("image",), "texts alone": ("audio", "image")}
# Between two looks at the processes: what a decode process computes after the last one is not counted.
LOOK_S = 0.1
SMI_EVERY_MS = 100


def has_text(post: dict[str, Any]) -> bool:
    return any(part["text"].strip() for part in post["texts"])


def sample(without: tuple[str, ...]) -> list[dict[str, Any]]:
    """The sample feed less some media, with paths that hold from everywhere; posts of which nothing is left are left out."""
    found = []
    for line in (SAMPLE_FEED / "posts.jsonl").read_text(encoding="utf-8").splitlines():
        post = json.loads(line)
        for modality in ("audio", "image"):
            medium = post[modality]
            post[modality] = {**medium, "path": str(SAMPLE_FEED / medium["path"])} if medium and modality not in without else None
        if has_text(post) or post["audio"] or post["image"]:
            found.append(post)
    return found


def in_rounds(posts: list[dict[str, Any]], rounds: int) -> list[dict[str, Any]]:
    """The posts again and again, each time under another id: the same one again would be an edit."""
    return [{**post, "id": f"{post['id']}~{number}"} for number in range(rounds) for post in posts]


def parts_of(posts: list[dict[str, Any]]) -> dict[str, int]:
    """How many posts each network has to do with."""
    return {
        "text": sum(has_text(post) for post in posts),
        "audio": sum(bool(post["audio"]) for post in posts),
        "image": sum(bool(post["image"]) for post in posts),
        "fusion": len(posts),
    }


@dataclass(frozen=True)
class Run:
    """One run of `jtav label`."""

    wall_s: float
    # User and system time of all its processes.
    cpu_s: float
    resident_mib: float
    # Of the time in which nvidia-smi looked, the start included; none without a GPU.
    gpu_busy_percent: float | None


def busy_percent(text: str) -> float | None:
    """The mean of what nvidia-smi printed, a number a line; lines that hold none are passed over."""
    found = [float(line) for line in text.splitlines() if line.strip().isdigit()]
    return mean(found) if found else None


class Smi:
    """nvidia-smi beside a run: how much of the time the card had work."""

    def __init__(self, device: str) -> None:
        self._process: subprocess.Popen[str] | None = None
        if device.startswith("cuda"):
            command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-i", device.partition(":")[2] or "0", "-lms", str(SMI_EVERY_MS)]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def end(self) -> float | None:
        if self._process is None:
            return None
        self._process.terminate()
        return busy_percent(self._process.communicate()[0])


def label(args: argparse.Namespace, feed: Path, posts: int) -> Run:
    """Labels a file; every post is answered, and none with an error."""
    labels = feed.with_suffix(".labels.jsonl")
    command = [str(args.jtav), "label", str(feed), "--output", str(labels), "--model", str(args.model)]
    command += ["--set", f"model.device={args.device}", "--set", "cache.max_bytes=0"]
    smi = Smi(args.device)
    cpu_s, resident_mib = 0.0, 0.0
    begin = time.monotonic()
    with (args.folder / "label.log").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
        while True:
            try:
                process.wait(LOOK_S)
                break
            except subprocess.TimeoutExpired:
                tree = of_tree(stats(), process.pid)
                cpu_s = max(cpu_s, sum(stat.cpu_s for stat in tree))
                resident_mib = max(resident_mib, sum(stat.resident_bytes for stat in tree) / 2**20)
        wall_s = time.monotonic() - begin
        log.seek(0)
        said = log.read()
    busy = smi.end()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{said[-2_000:]}")
    with labels.open(encoding="utf-8") as lines:
        answered = sum(1 for _ in lines)
    if answered != posts:
        raise SystemExit(f"{' '.join(command)} has answered {answered} of {posts} posts:\n{said[-2_000:]}")
    return Run(wall_s, cpu_s, resident_mib, busy)


def summary(name: str, posts: list[dict[str, Any]], start: Run, runs: list[Run]) -> dict[str, Any]:
    """A feed's figures: medians over its runs, less the start."""
    more = len(posts) - 1
    wall_s = median(run.wall_s for run in runs) - start.wall_s
    cpu_s = median(run.cpu_s for run in runs) - start.cpu_s
    busy = [run.gpu_busy_percent for run in runs if run.gpu_busy_percent is not None]
    return {
        "feed": name, "posts": len(posts), "parts": parts_of(posts), "start_s": start.wall_s, "wall_s": wall_s, "posts_per_s": more / wall_s,
        "ms_a_post": 1e3 * wall_s / more, "cpu_ms_a_post": 1e3 * cpu_s / more, "cores_busy": cpu_s / wall_s,
        "resident_mib": median(run.resident_mib for run in runs), "gpu_busy_percent": median(busy) if busy else None,
        "runs": [asdict(run) for run in runs],
    }  # fmt: skip


def bench(args: argparse.Namespace) -> list[dict[str, Any]]:
    """A line for each feed; runs take turns, so that a machine that changes its speed does so to all of them."""
    args.folder.mkdir(parents=True, exist_ok=True)
    feeds: dict[str, tuple[Path, list[dict[str, Any]]]] = {}
    for name, without in FEEDS.items():
        posts = in_rounds(sample(without), args.rounds)
        file = args.folder / f"feed-{name.replace(' ', '-')}.jsonl"
        file.write_text("".join(json.dumps(post, ensure_ascii=False) + "\n" for post in posts), encoding="utf-8")
        feeds[name] = (file, posts)
    one = args.folder / "feed-one.jsonl"
    complete = next(post for post in feeds["all"][1] if has_text(post) and post["audio"] and post["image"])
    one.write_text(json.dumps(complete, ensure_ascii=False) + "\n", encoding="utf-8")
    # The first start finds nothing in the page cache.
    label(args, one, 1)
    starts = [label(args, one, 1) for _ in range(args.repeats)]
    start = sorted(starts, key=lambda run: run.wall_s)[len(starts) // 2]
    runs: dict[str, list[Run]] = {name: [] for name in feeds}
    for number in range(1, args.repeats + 1):
        for name, (file, posts) in feeds.items():
            run = label(args, file, len(posts))
            runs[name].append(run)
            print(f"{name}, run {number}: {len(posts)} posts in {run.wall_s:.1f} s, {start.wall_s:.1f} s of them the start", file=sys.stderr)
    return [summary(name, posts, start, runs[name]) for name, (_, posts) in feeds.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jtav", type=Path, required=True, help="the program")
    parser.add_argument("--model", type=Path, default=REPOSITORY / "models" / "jtav-modern")
    parser.add_argument("--folder", type=Path, required=True, help="for the feeds and their labels")
    parser.add_argument("--device", default="cuda:0", help="cuda:0, or cpu")
    parser.add_argument("--rounds", type=int, default=40, help="of the 64 posts")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each feed, of which medians are told")
    parser.add_argument("--json", action="store_true", help="one line of JSON last")
    args = parser.parse_args()
    found = bench(args)
    for line in found:
        print(f"{line['feed']}: {line['posts_per_s']:.0f} posts/s, {line['cpu_ms_a_post']:.2f} CPU-ms a post, {line['cores_busy']:.1f} of {os.cpu_count()} cores")
    if args.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
