"""How jtav's cost grows: with workers, with the length of a feed, with the posts that may be inside.

    python growth.py --jtav target/release/jtav
    python growth.py --parts workers --feed light

Broker, store and this program run on one half of the cores, the workers on the other, so that none takes from what is measured. Stub
networks unless --feed says otherwise. Prints tables in Markdown, and progress on stderr.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition

from race import runs, say
from race.feed import Rounds, posts
from race.processes import Side, load_average, processor, stats
from race.services import PARTITIONS, Services, Topics, running
from race.sides import FEEDS, Entry, Feed, Starter, default_jtav

SETTLED_S = 3.0
LOOK_S = 0.5
PATIENCE_S = 60.0


def halves() -> tuple[set[int], set[int]]:
    """Cores of the workers, and those of everything else."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("growth is measured on two cores or more: workers and broker would share the only one")
    middle = len(cores) // 2
    return set(cores[:middle]), set(cores[middle:])


@contextmanager
def on(cores: set[int]) -> Iterator[None]:
    """What is started within runs on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_s_of(word: bytes) -> float:
    """CPU time of the program whose command line holds a word."""
    for stat in stats():
        try:
            if word in Path(f"/proc/{stat.pid}/cmdline").read_bytes() and stat.pid != os.getpid():
                return stat.cpu_s
        except OSError:
            continue
    raise SystemExit(f"no process has {word!r} in its command line")


class Counter:
    """Records on a topic, by its ends: reading them would cost what is measured."""

    def __init__(self, services: Services, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": services.brokers, "group.id": "growth"})
        self._partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]

    def count(self) -> int:
        # A topic that has just been made may have no leader for a moment.
        for _ in range(50):
            try:
                return sum(self._consumer.get_watermark_offsets(partition, timeout=10)[1] for partition in self._partitions)
            except KafkaException:
                time.sleep(0.1)
        raise SystemExit("the broker does not tell the ends of a topic")

    def close(self) -> None:
        self._consumer.close()


@dataclass
class Look:
    """What was there at one moment."""

    at_s: float
    labels: int
    workers_s: float
    kafka_s: float
    redis_s: float


class Growth:
    """Runs on one backlog, each with a group and output topics of its own."""

    def __init__(self, args: argparse.Namespace, services: Services, feed: Feed, cores: set[int]) -> None:
        self.args, self.services, self.feed, self.cores = args, services, feed, cores
        self.starter = Starter(services, args.jtav, args.weights, "onnx")
        self.input = Topics("growth")
        services.make(self.input)
        say(f"{args.posts} posts on the topic")
        runs.preload(services, self.input.posts, Rounds(posts(feed.with_media, services.media)), args.posts)
        self.count = 0

    def look(self, counter: Counter, sides: list[Side]) -> Look:
        workers_s = sum(side.cpu_s() for side in sides)
        return Look(time.monotonic(), counter.count(), workers_s, cpu_s_of(b"kafka.Kafka"), cpu_s_of(b"redis-server"))

    @contextmanager
    def workers(self, count: int, permits: int) -> Iterator[tuple[list[Side], Counter]]:
        self.count += 1
        run = Topics(f"growth-{self.count}")
        self.services.make(run)
        topics = Topics(run.run, self.input.posts)
        counter = Counter(self.services, run.output("sentiment"))
        with on(self.cores):
            sides = [self.starter.start(Entry("jtav", permits), self.feed, topics) for _ in range(count)]
        try:
            until = time.monotonic() + PATIENCE_S
            # All partitions have moved: every worker that gets one has it.
            while counter.count() < 4 * permits * count:
                if time.monotonic() > until or not all(side.is_alive() for side in sides):
                    raise SystemExit(f"no labels:\n{runs.tail_of(sides[0].log)}")
                time.sleep(0.1)
            time.sleep(SETTLED_S)
            yield sides, counter
        finally:
            for side in sides:
                side.stop()
            counter.close()
            self.services.drop(run)

    def windows(self, sides: list[Side], counter: Counter, seconds: float) -> list[tuple[Look, Look]]:
        looks = [self.look(counter, sides)]
        while looks[-1].at_s < looks[0].at_s + seconds and looks[-1].labels < self.args.posts:
            time.sleep(LOOK_S)
            looks.append(self.look(counter, sides))
        pairs = list(zip(looks, looks[1:]))
        return [(a, b) for a, b in pairs if b.labels > a.labels and b.labels < self.args.posts]

    def warm(self) -> None:
        """A broker that has just started compiles itself, at the cost of whoever is first."""
        say("warming the broker")
        with self.workers(1, 512) as (sides, counter):
            self.windows(sides, counter, 2 * self.args.seconds)

    def with_workers(self) -> None:
        found: dict[int, list[list[float]]] = {1: [], 2: [], 4: []}
        for number in range(self.args.rounds):
            for count, lines in found.items():
                say(f"round {number + 1}: {count} worker(s)")
                with self.workers(count, 512) as (sides, counter):
                    windows = self.windows(sides, counter, self.args.seconds)
                    rate = statistics.median((b.labels - a.labels) / (b.at_s - a.at_s) for a, b in windows)
                    cost = [cost_ms(windows, of) for of in ("workers_s", "kafka_s", "redis_s")]
                    lines.append([rate, *cost, sum(side.memory_mib()[1] for side in sides)])
        print("\n| workers | posts/s | CPU-ms a post | Kafka | Redis | memory PSS, MiB |\n|--:|--:|--:|--:|--:|--:|")
        for count, lines in found.items():
            rate, own, kafka, redis, pss = (statistics.median(column) for column in zip(*lines))
            print(f"| {count} | {rate:.0f} | {own:.3f} | {kafka:.3f} | {redis:.3f} | {pss:.0f} |", flush=True)

    def with_length(self) -> None:
        """The store's cost stands beside it: where both rise together, the machine has become slower."""
        print("\n| posts of the feed | CPU-ms a post | Redis | jtav by Redis |\n|--:|--:|--:|--:|")
        with self.workers(1, 512) as (sides, counter):
            found = self.windows(sides, counter, 3600)
            whole = found[-1][1].labels
            for tenth in range(10):
                low, high = whole * tenth // 10, whole * (tenth + 1) // 10
                part = [(a, b) for a, b in found if low <= a.labels < high]
                if part:
                    own, redis = cost_ms(part, "workers_s"), cost_ms(part, "redis_s")
                    print(f"| to {high} | {own:.3f} | {redis:.3f} | {own / redis:.2f} |", flush=True)

    def with_posts_inside(self) -> None:
        print("\n| posts that may be inside | memory PSS, MiB | a post more, kB |\n|--:|--:|--:|")
        before: tuple[int, float] | None = None
        for permits in (64, 512, 2_048):
            with self.workers(1, permits) as (sides, counter):
                seen = []
                until = time.monotonic() + self.args.seconds
                while time.monotonic() < until:
                    time.sleep(1)
                    seen.append(sides[0].memory_mib()[1])
            most = max(seen)
            more = "" if before is None else f"{(most - before[1]) * 1024 / (permits - before[0]):.1f}"
            print(f"| {permits} | {most:.0f} | {more} |", flush=True)
            before = before or (permits, most)


def cost_ms(found: list[tuple[Look, Look]], of: str) -> float:
    return statistics.median(1e3 * (getattr(b, of) - getattr(a, of)) / (b.labels - a.labels) for a, b in found)


PARTS = {"workers": Growth.with_workers, "length": Growth.with_length, "inside": Growth.with_posts_inside}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jtav", default=default_jtav(), help="the worker's program [default: %(default)s]")
    parser.add_argument("--weights", default=os.environ.get("JTAV_WEIGHTS_DIR", "third_party/weights"), help="folder of the base weights")
    parser.add_argument("--feed", default="stub", choices=["stub", "light", "modern"], help="which networks [default: %(default)s]")
    parser.add_argument("--posts", type=int, default=400_000, help="on the topic [default: %(default)s]")
    parser.add_argument("--rounds", type=int, default=3, help="of workers; medians are told [default: %(default)s]")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement [default: %(default)s]")
    parser.add_argument("--parts", type=lambda text: text.split(","), default=list(PARTS), help=f"of {', '.join(PARTS)}")
    args = parser.parse_args()
    for part in args.parts:
        if part not in PARTS:
            parser.error(f"no part is called {part}; there are {', '.join(PARTS)}")
    return args


def main() -> None:
    args = arguments()
    of_workers, of_others = halves()
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}, {processor()}, load before {load_average():.2f}; workers on "
          f"{len(of_workers)} core(s), broker, store and counting on {len(of_others)}; feed {args.feed}")  # fmt: skip
    with on(of_others), running() as services:
        growth = Growth(args, services, FEEDS[args.feed], of_workers)
        growth.warm()
        for part in args.parts:
            say(part)
            PARTS[part](growth)


if __name__ == "__main__":
    main()
