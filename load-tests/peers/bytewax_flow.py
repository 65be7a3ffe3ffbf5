"""The same stages as a Bytewax dataflow: what a team that wants a framework to run its loop would write.

Bytewax 0.21 gives its own recovery in place of Kafka's committed offsets: with `--recovery` it snapshots positions every epoch and reads
again from the last snapshot after a crash, at-least-once as well. Store and topics are written from one operator, since a sink of its
own for each would not know when all three have what they need.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from confluent_kafka import OFFSET_BEGINNING

import pipeline
from encoders import load
from records import Post
from store import Store


class _Sink(StatelessSinkPartition[Post]):
    """Labels what arrives together and waits until it is written: Bytewax snapshots only what a sink has returned from."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._loop = asyncio.new_event_loop()
        self._pipeline = self._loop.run_until_complete(self._start(args))

    @staticmethod
    async def _start(args: argparse.Namespace) -> pipeline.Pipeline:
        encoders = load(args)
        await encoders.__aenter__()
        return pipeline.Pipeline(args, encoders, await Store.connect(args.store))

    def write_batch(self, items: list[Post]) -> None:
        self._loop.run_until_complete(self._label(items))

    async def _label(self, items: list[Post]) -> None:
        own = self._pipeline
        polling = asyncio.create_task(self._poll())
        plain = [post for post in items if not (post.body.get("image") or post.body.get("audio"))]
        rich = [post for post in items if post.body.get("image") or post.body.get("audio")]
        size = own.batch_posts
        parts = [plain[at : at + size] for at in range(0, len(plain), size)]
        await asyncio.gather(*map(own.label_texts, parts), *map(own.label_with_media, rich))
        polling.cancel()

    async def _poll(self) -> None:
        while True:
            self._pipeline.producer.poll(0)
            await asyncio.sleep(0.001)

    def close(self) -> None:
        self._pipeline.producer.flush(10)


class LabelSink(DynamicSink[Post]):
    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> _Sink:
        return _Sink(self._args)


def parsed(message: KafkaSourceMessage) -> Post | None:
    try:
        body = orjson.loads(message.value)
        if message.key != body["id"].encode():
            return None
    except (ValueError, KeyError, TypeError):
        return None
    return Post(message.partition, message.offset, message.timestamp[1], time.time_ns() // 1_000_000, body)


def flow(args: argparse.Namespace) -> Dataflow:
    settings = {name: str(value) for name, value in pipeline.consumer_settings(args).items() if name != "bootstrap.servers"}
    settings = {name: value.lower() if value in ("True", "False") else value for name, value in settings.items()}
    source = KafkaSource(
        [args.brokers], [args.input_topic], tail=True, starting_offset=OFFSET_BEGINNING, add_config=settings, batch_size=args.permits
    )
    made = Dataflow("race")
    messages = op.input("posts", made, source)
    op.output("labels", op.filter_map("parse", messages, parsed), LabelSink(args))
    return made


def main() -> None:
    args = pipeline.arguments()
    recovery = Path(tempfile.gettempdir()) / f"bytewax-{args.group}"
    if args.processes > 1 and "BYTEWAX_PROCESS" not in os.environ:
        sys.exit(several(args, recovery))
    number = int(os.environ.get("BYTEWAX_PROCESS", "0"))
    if number == 0 and not recovery.exists():
        recovery.mkdir()
        init_db_dir(recovery, 1)
    addresses = os.environ.get("BYTEWAX_ADDRESSES")
    cli_main(
        flow(args), process_id=number if addresses else None, addresses=addresses.split(";") if addresses else None,
        epoch_interval=timedelta(seconds=1), recovery_config=RecoveryConfig(str(recovery)),
    )  # fmt: skip


def several(args: argparse.Namespace, recovery: Path) -> int:
    """A cluster of processes on this machine, which share the partitions out."""
    if not recovery.exists():
        recovery.mkdir()
        init_db_dir(recovery, args.processes)
    first = 20_000 + os.getpid() % 10_000
    addresses = ";".join(f"127.0.0.1:{first + at}" for at in range(args.processes))
    command = [sys.executable, *sys.argv, "--of-processes", str(args.processes)]
    children = [
        subprocess.Popen(command, env={**os.environ, "BYTEWAX_PROCESS": str(at), "BYTEWAX_ADDRESSES": addresses})
        for at in range(args.processes)
    ]
    return max(child.wait() for child in children)


if __name__ == "__main__":
    main()
