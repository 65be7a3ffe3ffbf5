"""The three kinds of runs: saturated, at half load, and with a SIGKILL."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from race.feed import Rounds, number_of
from race.processes import Side
from race.services import PARTITIONS, Services, Topics

START_PATIENCE_S = 180.0
# Nothing for so long: whatever has no label by now gets none.
QUIET_S = 20.0
MOST_WARM_UP_S = 60.0


def preload(services: Services, topic: str, rounds: Rounds, posts: int) -> None:
    """Puts the first posts of the feed on the topic before the side is started."""
    producer = Producer({
        "bootstrap.servers": services.brokers, "partitioner": "murmur2_random", "compression.type": "zstd",
        "linger.ms": 50, "queue.buffering.max.messages": 200_000,
    })  # fmt: skip
    for number in range(posts):
        key, value = rounds.record(number)
        producer.produce(topic, value, key, timestamp=int(time.time() * 1000))
        if number % 1_000 == 0:
            producer.poll(0)
        while len(producer) > 100_000:
            producer.poll(0.1)
    if producer.flush(60):
        raise SystemExit("the broker did not take the feed")


class Reader:
    """A plain consumer of a topic from its begin."""

    def __init__(self, services: Services, topic: str) -> None:
        self._consumer = Consumer({
            "bootstrap.servers": services.brokers, "group.id": "race-reader", "enable.auto.commit": False,
            "fetch.wait.max.ms": 20, "queued.max.messages.kbytes": 65_536,
        })  # fmt: skip
        self._consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])

    def take(self, timeout_s: float = 0.05) -> list[Any]:
        messages = self._consumer.consume(2_000, timeout_s)
        return [message for message in messages if message.error() is None]

    def close(self) -> None:
        self._consumer.close()


@dataclass
class Saturated:
    """A backlog, as fast as it goes."""

    labels: int
    seconds: float
    rate_per_s: float
    cpu_ms_a_post: float
    first_label_s: float
    rss_mib: float
    pss_mib: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def tail_of(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-15:])


def _first(side: Side, reader: Reader) -> set[bytes]:
    """Waits for the first labels; keys of those that came together."""
    while True:
        keys = {message.key() for message in reader.take(0.02)}
        if keys:
            return keys
        if not side.is_alive():
            raise RuntimeError(f"the side ended before its first label:\n{tail_of(side.log)}")
        if time.monotonic() - side.started_s > START_PATIENCE_S:
            raise RuntimeError(f"no label within {START_PATIENCE_S:.0f} s:\n{tail_of(side.log)}")


def saturated(
    services: Services, side: Side, topics: Topics, posts: int, permits: int, seconds: float, warm_up_s: float
) -> Saturated:
    """Counts labels and CPU time in a window that begins `warm_up_s` after the first label, and not before as many labels were read as
    posts may be inside: until then more posts come in than leave, and their work would count without their labels."""
    reader, seen = Reader(services, topics.output("sentiment")), set[bytes]()

    def look() -> bool:
        before = len(seen)
        seen.update(message.key() for message in reader.take())
        return len(seen) > before

    try:
        seen.update(_first(side, reader))
        first_s = time.monotonic() - side.started_s
        warm_until, patience_until = time.monotonic() + warm_up_s, time.monotonic() + MOST_WARM_UP_S
        while time.monotonic() < warm_until or (len(seen) < permits and time.monotonic() < patience_until):
            look()
        # Labels come in batches: the window begins and ends with the arrival of one, or a slow side would be off by a batch.
        while not look():
            if not side.is_alive() or time.monotonic() > patience_until:
                raise RuntimeError(f"no label in the window; were {posts} posts too few?\n{tail_of(side.log)}")
        begin = last = Moment(time.monotonic(), side.cpu_s(), len(seen))
        rss, pss = side.memory_mib()
        next_memory_s = begin.at_s + 2.0
        while len(seen) < posts and time.monotonic() < begin.at_s + seconds and side.is_alive():
            # The first look after a pause is cheap; while labels come all the time, five times a second are enough.
            if look() and (now_s := time.monotonic()) > last.at_s + 0.2:
                last = Moment(now_s, side.cpu_s(), len(seen))
            if time.monotonic() >= next_memory_s:
                next_memory_s += 2.0
                now_rss, now_pss = side.memory_mib()
                rss, pss = max(rss, now_rss), max(pss, now_pss)
        labels, window_s = last.labels - begin.labels, last.at_s - begin.at_s
        if labels == 0:
            raise RuntimeError(f"no label in the window; were {posts} posts too few?\n{tail_of(side.log)}")
        spent_s = last.cpu_s - begin.cpu_s
        return Saturated(labels, window_s, labels / window_s, 1e3 * spent_s / labels, first_s, rss, pss)
    finally:
        reader.close()


@dataclass(frozen=True)
class Moment:
    """When so many labels were there, and what they had cost."""

    at_s: float
    cpu_s: float
    labels: int


# Numbers of posts that only warm a side up; no run is so long.
WARMING = 10_000_000


def settle_in(services: Services, side: Side, topics: Topics, rounds: Rounds, posts: int = 256) -> None:
    """Lets a side load, warm up and take its partitions, with posts that count for nothing."""
    producer = Producer({"bootstrap.servers": services.brokers, "partitioner": "murmur2_random"})
    for number in range(WARMING, WARMING + posts):
        key, value = rounds.record(number)
        producer.produce(topics.posts, value, key)
    producer.flush(30)
    reader = Reader(services, topics.output("sentiment"))
    try:
        seen = _first(side, reader)
        deadline = time.monotonic() + MOST_WARM_UP_S
        while len(seen) < posts and time.monotonic() < deadline:
            seen.update(message.key() for message in reader.take())
    finally:
        reader.close()


@dataclass
class Paced:
    """An open loop at a given rate."""

    rate_per_s: float
    labels: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_ms_a_post: float
    generator_late_ms: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def quantile(ascending: list[float], share: float) -> float:
    """The smallest value that so many are not above."""
    return ascending[min(len(ascending) - 1, max(0, -(-int(share * len(ascending) * 1_000_000) // 1_000_000) - 1))]


def paced(
    services: Services, side: Side, topics: Topics, feed: dict[str, Any], rate_per_s: float, seconds: float, warm_up_s: float
) -> Paced:
    """Posts come when they are due, whatever the side does; latency counts from that moment to the reader's."""
    reader = Reader(services, topics.output("sentiment"))
    report = services.folder / f"{topics.run}-generator.json"
    order = {**feed, "brokers": services.brokers, "topic": topics.posts, "rate_per_s": rate_per_s,
             "seconds": warm_up_s + seconds, "report": str(report)}  # fmt: skip
    program = Path(__file__).with_name("generator.py")
    generator = subprocess.Popen([sys.executable, str(program), json.dumps(order)], stdout=subprocess.PIPE, text=True)
    assert generator.stdout is not None
    try:
        start_s = float(generator.stdout.readline())
        first = int(rate_per_s * warm_up_s)
        posts = int(rate_per_s * (warm_up_s + seconds))
        latencies_ms: list[float] = []
        seen, last_s, begin_cpu_s = 0, time.time(), None
        while seen < posts and time.time() < max(last_s, start_s + warm_up_s + seconds) + QUIET_S:
            messages, now_s = reader.take(0.01), time.time()
            if begin_cpu_s is None and now_s >= start_s + warm_up_s:
                begin_cpu_s = side.cpu_s()
            for message in messages:
                number = number_of(message.key().decode())
                if number >= WARMING:
                    continue
                seen, last_s = seen + 1, now_s
                if number >= first:
                    latencies_ms.append(1e3 * (now_s - (start_s + number / rate_per_s)))
        spent_s = side.cpu_s() - (begin_cpu_s or 0.0)
        generator.wait(30)
        late_ms = json.loads(report.read_text())["late_ms"]
        latencies_ms.sort()
        if not latencies_ms:
            raise RuntimeError(f"no label at {rate_per_s:.0f} posts a second:\n{tail_of(side.log)}")
        return Paced(
            rate_per_s, len(latencies_ms), quantile(latencies_ms, 0.5), quantile(latencies_ms, 0.99), latencies_ms[-1],
            1e3 * spent_s / len(latencies_ms), late_ms,
        )  # fmt: skip
    finally:
        reader.close()
        if generator.poll() is None:
            generator.kill()
            generator.wait()


@dataclass
class Killed:
    """One SIGKILL in the midst of a backlog, and a new start."""

    posts: int
    labelled_before: int
    without_label: int
    repeated_labels: int
    repeated_embeddings: int
    back_after_s: float
    dead_letters: int = 0
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def killed(services: Services, start: Any, topics: Topics, posts: int, kill_after_s: float = 2.0) -> Killed:
    """`start` starts the side; it is killed `kill_after_s` after its first label and started again."""
    labels: Counter[str] = Counter()
    vectors: Counter[str] = Counter()
    reader, vector_reader = Reader(services, topics.output("sentiment")), Reader(services, topics.output("embeddings"))

    def look(timeout_s: float) -> int:
        found = reader.take(timeout_s)
        labels.update(message.key().decode() for message in found)
        vectors.update(message.key().decode() for message in vector_reader.take(0.0))
        return len(found)

    side: Side = start()
    try:
        while not look(0.02):
            if not side.is_alive() or time.monotonic() - side.started_s > START_PATIENCE_S:
                raise RuntimeError(f"no label:\n{tail_of(side.log)}")
        until = time.monotonic() + kill_after_s
        while time.monotonic() < until:
            look(0.02)
        side.kill()
        killed_s = time.monotonic()
        # What the broker had taken before is no repetition.
        while look(1.0):
            pass
        before = len(labels)
        side = start()
        back_s, last_s = None, time.monotonic()
        while len(labels) < posts or time.monotonic() < last_s + 3.0:
            if look(0.1):
                last_s = time.monotonic()
                back_s = back_s or last_s - killed_s
            elif time.monotonic() > last_s + QUIET_S + (60.0 if back_s is None else 0.0):
                break
            elif len(labels) >= posts and time.monotonic() > last_s + 3.0:
                break
        while look(1.0):
            pass
        return Killed(
            posts, before, posts - len(labels), sum(labels.values()) - len(labels), sum(vectors.values()) - len(vectors),
            back_s or float("nan"),
        )  # fmt: skip
    finally:
        side.stop()
        reader.close()
        vector_reader.close()
