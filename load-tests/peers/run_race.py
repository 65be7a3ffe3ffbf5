"""Races jtav against its peers on one machine: the same feed, the same broker and store, one side after the other.

    python run_race.py --jtav target/release/jtav --feeds stub,light --rounds 3 --seconds 15

Prints progress on stderr and the report on stdout; --out PATH writes PATH.md, PATH.json and PATH.png as well.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException

from compiled import multiplies_bf16
from race import report, runs, say
from race.feed import REPOSITORY, Rounds, posts
from race.processes import load_average, processor, wait_for_quiet
from race.services import Services, Topics, running
from race.sides import FEEDS, Entry, Feed, Starter, default_jtav

# Posts on the topic before a saturated run: more than any side labels in the window and before it.
BACKLOG_A_SECOND = {"stub": 14_000, "light": 2_500, "modern": 1_000, "mixed": 150}
WARMING_SECONDS = 20.0
WARMING_POSTS = {"stub": 350_000, "light": 60_000, "modern": 25_000, "mixed": 4_000}
KILL_POSTS = {"stub": 40_000, "light": 6_000, "modern": 2_400, "mixed": 400}


class Race:
    """One race: what was asked for, and what was measured so far."""

    def __init__(self, args: argparse.Namespace, services: Services) -> None:
        self.args, self.services = args, services
        self.starter = Starter(services, args.jtav, args.weights, args.engine)
        self.count = 0
        self.results: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []

    def tried(self, kind: str, feed: Feed, entry: Entry, run: Callable[[], Any]) -> Any:
        """What `run` gives; where it fails, that is said in the report, and the others race on."""
        try:
            return run()
        except (RuntimeError, TimeoutError, KafkaException) as error:
            self.failures.append({"kind": kind, "feed": feed.name, "side": entry.name, "reason": repr(error)[:2_000]})
            say(f"{feed.name}, {kind}, {entry.name}: {error!r}")
            return None

    def topics(self) -> Topics:
        self.count += 1
        topics = Topics(f"race-{self.count:03}")
        self.services.make(topics)
        return topics

    def keep(self, kind: str, feed: Feed, entry: Entry, number: int, figures: dict[str, Any]) -> None:
        self.results.append({"began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "load": round(load_average(), 2), "kind": kind, "feed": feed.name, "side": entry.name, "program": entry.program, "round": number, **figures})

    def saturated(self, feed: Feed, entry: Entry, rounds: Rounds, number: int) -> float:
        args = self.args
        topics = self.topics()
        backlog = int(BACKLOG_A_SECOND[feed.name] * (args.seconds + args.warm_up)) + 4 * entry.permits
        runs.preload(self.services, topics.posts, rounds, backlog)
        side = self.starter.start(entry, feed, topics)
        try:
            found = runs.saturated(self.services, side, topics, backlog, entry.permits * entry.processes, args.seconds, args.warm_up)
        finally:
            side.stop()
        self.services.drop(topics)
        self.keep("saturated", feed, entry, number, found.as_json())
        say(f"{feed.name}, round {number}, {entry.name}: {found.rate_per_s:.0f} posts/s, {found.cpu_ms_a_post:.3f} CPU-ms a post, "
            f"first label {found.first_label_s:.1f} s, {found.pss_mib:.0f} MiB PSS")  # fmt: skip
        return found.rate_per_s

    def warm_broker(self, feed: Feed, entry: Entry, rounds: Rounds) -> None:
        """A run that counts nowhere: a broker that has just started compiles itself for half a minute, on the cores of whoever is first."""
        say("warming the broker")
        topics = self.topics()
        runs.preload(self.services, topics.posts, rounds, WARMING_POSTS[feed.name])
        side = self.starter.start(entry, feed, topics)
        try:
            runs.saturated(self.services, side, topics, WARMING_POSTS[feed.name], entry.permits * entry.processes, WARMING_SECONDS, 1.0)
        except (RuntimeError, TimeoutError, KafkaException) as error:
            say(f"the run that warms the broker: {error!r}")
        finally:
            side.stop()
        self.services.drop(topics)

    def half_load(self, feed: Feed, entry: Entry, rounds: Rounds, rate_per_s: float, number: int) -> None:
        args = self.args
        topics = self.topics()
        order = {"with_media": feed.with_media, "media_url": self.services.media}
        side = self.starter.start(entry, feed, topics)
        try:
            runs.settle_in(self.services, side, topics, rounds)
            found = runs.paced(self.services, side, topics, order, rate_per_s, args.seconds, args.warm_up)
        finally:
            side.stop()
        self.services.drop(topics)
        self.keep("half load", feed, entry, number, found.as_json())
        say(f"{feed.name}, round {number}, {entry.name} at {rate_per_s:.0f} posts/s: p50 {found.p50_ms:.1f} ms, "
            f"p99 {found.p99_ms:.1f} ms, {found.cpu_ms_a_post:.3f} CPU-ms a post, generator late {found.generator_late_ms:.1f} ms")  # fmt: skip

    def kill(self, feed: Feed, entry: Entry, rounds: Rounds) -> None:
        topics = self.topics()
        backlog = KILL_POSTS[feed.name]
        runs.preload(self.services, topics.posts, rounds, backlog)
        # The least that the broker grants: how long a killed member's partitions stand still.
        found = runs.killed(self.services, lambda: self.starter.start(entry, feed, topics, 6_000), topics, backlog)
        self.services.drop(topics)
        self.keep("kill", feed, entry, 1, found.as_json())
        say(f"{feed.name}, SIGKILL, {entry.name}: {found.without_label} without label, {found.repeated_labels} labels and "
            f"{found.repeated_embeddings} vectors repeated, back after {found.back_after_s:.1f} s")  # fmt: skip


def entries(args: argparse.Namespace) -> list[Entry]:
    made = []
    for program in args.sides.split(","):
        if program == "jtav":
            made += [Entry(program, permits) for permits in args.permits]
        elif program == "python":
            made += [Entry(program, permits, 1) for permits in args.permits]
            made += [Entry(program, max(args.permits), count) for count in args.processes if count > 1]
        elif program == "bytewax":
            made += [Entry(program, max(args.permits), count) for count in args.processes]
        else:
            raise SystemExit(f"no side is called {program}; there are jtav, python and bytewax")
    return made


def run_feed(race: Race, feed: Feed, sides: list[Entry]) -> None:
    args = race.args
    rounds = Rounds(posts(feed.with_media, race.services.media))
    rates: dict[str, list[float]] = {}
    race.warm_broker(feed, sides[-1], rounds)
    if "saturated" in args.kinds:
        for number in range(1, args.rounds + 1):
            for entry in sides:
                rate_per_s = race.tried("saturated", feed, entry, lambda entry=entry: race.saturated(feed, entry, rounds, number))
                if rate_per_s is not None:
                    rates.setdefault(entry.program, []).append(rate_per_s)
    if "half" in args.kinds:
        peers = [rate for program, found in rates.items() if program != "jtav" for rate in found]
        rate_per_s = args.rate or (max(peers) / 2 if peers else 0)
        if not rate_per_s:
            raise SystemExit("half load needs a saturated run of a peer before it, or --rate")
        chosen = [entry for entry in sides if entry.permits == max(args.permits)]
        for number in range(1, args.rounds + 1):
            for entry in chosen:
                race.tried("half load", feed, entry, lambda entry=entry: race.half_load(feed, entry, rounds, rate_per_s, number))
    if "kill" in args.kinds:
        for entry in (entry for entry in sides if entry.permits == max(args.permits) and entry.processes == 1):
            race.tried("kill", feed, entry, lambda entry=entry: race.kill(feed, entry, rounds))


def run_networks(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Forward passes by themselves, in a process of their own; and jtav's, where a file with them was named."""
    program = Path(__file__).with_name("bench_networks.py")
    command = [sys.executable, str(program), "--model", str(REPOSITORY / "models" / "jtav-modern"), "--weights", args.weights, "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    lines = json.loads(found.splitlines()[-1])
    if args.networks_json:
        lines += report.networks_of_jtav(json.loads(Path(args.networks_json).read_text()))
    return lines


def commit() -> str:
    git = ["git", "-C", str(REPOSITORY)]
    found = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    changes = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=False)
    return found.stdout.strip() + ("-dirty" if changes.stdout.strip() else "") if found.returncode == 0 else "unknown"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = lambda text: text.split(",")  # noqa: E731
    numbers = lambda text: [int(word) for word in text.split(",")]  # noqa: E731
    parser.add_argument("--jtav", default=default_jtav(), help="the worker's program")
    parser.add_argument("--weights", default=os.environ.get("JTAV_WEIGHTS_DIR", str(REPOSITORY / "third_party" / "weights")), help="folder of the base weights")
    parser.add_argument("--feeds", type=words, default=["stub", "light", "modern", "mixed"], help=", ".join(FEEDS))
    parser.add_argument("--sides", default="jtav,python", help="of jtav, python, bytewax")
    parser.add_argument("--kinds", type=words, default=["saturated", "half", "kill", "networks"], help="of saturated, half, kill, networks")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="of the window that is measured")
    parser.add_argument("--warm-up", type=float, default=3.0, help="seconds before it")
    parser.add_argument("--permits", type=numbers, default=[64, 512], help="posts inside at once")
    parser.add_argument("--processes", type=numbers, default=[1, 2], help="of the Python sides")
    parser.add_argument("--rate", type=float, help="posts a second at half load, in place of half of the best peer's rate")
    parser.add_argument("--engine", default="openvino_bf16" if multiplies_bf16() else "onnx",
                        help="of the Python sides' networks: onnx, openvino, openvino_bf16, torch [default here: %(default)s]")  # fmt: skip
    parser.add_argument("--networks-json", help="what `jtav bench networks --json` wrote, to stand beside the peers' networks")
    parser.add_argument("--max-load", type=float, default=0.5, help="load average from which on the race waits")
    parser.add_argument("--load-patience", type=float, default=300.0, help="seconds that it waits")
    parser.add_argument("--out", help="path without ending: PATH.md, PATH.json, PATH.png")
    parser.add_argument("--add", action="store_true", help="keep what stands in PATH.json of other feeds and kinds")
    parser.add_argument("--json", action="store_true", help="one line of JSON last")
    args = parser.parse_args()
    for feed in args.feeds:
        if feed not in FEEDS:
            parser.error(f"no feed is called {feed}; there are {', '.join(FEEDS)}")
    return args


def main() -> None:
    args = arguments()
    sides = entries(args)
    # Whoever ends the race ends its broker, its store and the side that runs, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    load_before = wait_for_quiet(args.max_load, args.load_patience)
    say(f"load average {load_before:.2f}")
    about: dict[str, Any] = {
        "commit": commit(), "processor": processor(), "load_before": load_before, "rounds": args.rounds, "seconds": args.seconds,
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "engine": args.engine,
    }  # fmt: skip
    whole: dict[str, Any] = {"about": about, "results": []}
    try:
        if "networks" in args.kinds:
            whole["networks"] = run_networks(args)
        if set(args.kinds) - {"networks"}:
            with running() as services:
                race = Race(args, services)
                whole["results"], whole["failures"] = race.results, race.failures
                for name in args.feeds:
                    run_feed(race, FEEDS[name], sides)
    finally:
        about["load_after"] = load_average()
        # A race that breaks off has measured something all the same.
        if whole["results"] or whole.get("networks"):
            finish(args, whole)


def finish(args: argparse.Namespace, whole: dict[str, Any]) -> None:
    if args.out and args.add:
        whole = report.added(Path(args.out), whole)
    text = report.markdown(whole)
    print(text)
    if args.out:
        report.write(Path(args.out), whole, text)
    if args.json:
        print(json.dumps(whole))


if __name__ == "__main__":
    main()
