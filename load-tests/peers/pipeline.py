"""The peer: what a careful Python engineer would put where `jtav run` stands.

One event loop (uvloop) does the bookkeeping for micro-batches of posts; networks, decoders and front ends run in threads, where
numpy, Pillow, libsndfile, PyTorch and OpenVINO release the interpreter lock. Kafka by librdkafka, as in jtav, with the same
settings. At-least-once: offsets are committed only after store and both topics have acknowledged.

    python pipeline.py --brokers 127.0.0.1:9092 --store unix:/run/redis.sock --stub
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
from typing import Any

import orjson
import uvloop
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

import records
from batching import Batcher
from encoders import Encoders, load
from ledger import Ledger
from records import Post
from store import Store

COMMIT_INTERVAL_S = 1.0
IDLE_S = 0.002
WRITE_ATTEMPTS = 5


def consumer_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Those of jtav's consumer."""
    return {
        "bootstrap.servers": args.brokers,
        "group.id": args.group,
        "partition.assignment.strategy": "cooperative-sticky",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": args.session_timeout_ms,
        "heartbeat.interval.ms": min(3_000, args.session_timeout_ms // 3),
        "queued.max.messages.kbytes": 1_024,
        "fetch.queue.backoff.ms": 10,
        "fetch.wait.max.ms": 100,
        "isolation.level": "read_committed",
        "check.crcs": True,
    }


def producer_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Those of jtav's producer."""
    return {
        "bootstrap.servers": args.brokers,
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",
        "compression.type": "zstd",
        "linger.ms": 5,
        "batch.size": 262_144,
        "queue.buffering.max.messages": 20_000,
    }


class Delivery:
    """Counts the acknowledgements of a batch of records."""

    __slots__ = ("error", "future", "open")

    def __init__(self, records_count: int) -> None:
        self.open = records_count
        self.error: KafkaError | None = None
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __call__(self, error: KafkaError | None, _message: Any) -> None:
        if error is not None:
            self.error = error
        self.open -= 1
        if self.open == 0 and not self.future.done():
            self.future.set_result(None)


class Pipeline:
    """Posts from the input topic to the store and the output topics."""

    def __init__(self, args: argparse.Namespace, encoders: Encoders, store: Store) -> None:
        self.args, self.encoders, self.store = args, encoders, store
        self.consumer = Consumer(consumer_settings(args))
        self.producer = Producer(producer_settings(args))
        self.ledger = Ledger()
        self.inside = 0
        # Two batches or more under way, so that encoding, store and broker overlap.
        self.batch_posts = max(1, min(encoders.batch_posts, args.permits // 2))
        self.waiting: list[Post] = []
        self.free_streams = encoders.text_streams
        self.tasks: set[asyncio.Task[None]] = set()
        self.stopping = False
        self.fuse_one: Batcher[Post] = Batcher(encoders.fuse, 64)
        self.text_one: Batcher[Post] = Batcher(encoders.encode_texts, 32)
        self.publish_one: Batcher[Post] = Batcher(self.publish, 64, streams=4)

    async def run(self) -> None:
        """Until SIGTERM; then what is inside is finished and committed."""
        self.consumer.subscribe([self.args.input_topic], on_revoke=self.on_revoke, on_lost=self.on_revoke)
        next_commit = time.monotonic() + COMMIT_INTERVAL_S
        while not (self.stopping and self.inside == 0):
            room = self.args.permits - self.inside
            # Called on the loop's own thread: with a time-out of 0 it only takes what librdkafka has fetched already, which costs
            # less than a thread that hands batches over and fights for the interpreter lock.
            wanted = 0 if self.stopping else min(room, self.batch_posts)
            messages = self.consumer.consume(wanted, 0) if wanted else self.keep_alive()
            self.producer.poll(0)
            if messages:
                self.take_in(messages)
            now = time.monotonic()
            if now >= next_commit:
                next_commit = now + COMMIT_INTERVAL_S
                self.commit(asynchronous=True)
            await asyncio.sleep(0 if messages else IDLE_S)
        self.producer.flush(10)
        self.commit(asynchronous=False)
        self.consumer.close()

    def keep_alive(self) -> list[Any]:
        """Nothing is taken while there is no room; librdkafka's own threads keep the session."""
        return []

    def on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.commit(asynchronous=False)
        for partition in partitions:
            self.ledger.forget(partition.partition)

    def commit(self, asynchronous: bool) -> None:
        positions = self.ledger.take_positions()
        if positions:
            offsets = [TopicPartition(self.args.input_topic, *position) for position in positions]
            self.consumer.commit(offsets=offsets, asynchronous=asynchronous)

    def take_in(self, messages: list[Any]) -> None:
        plain: list[Post] = []
        received_at_ms = time.time_ns() // 1_000_000
        for message in messages:
            if message.error():
                if message.error().fatal():
                    raise SystemExit(f"the consumer is dead: {message.error()}")
                continue
            partition, offset = message.partition(), message.offset()
            self.ledger.read(partition, offset)
            try:
                body = orjson.loads(message.value())
                post_id = body["id"]
                if message.key() != post_id.encode():
                    raise ValueError("the key is not the id")
            except (ValueError, KeyError, TypeError, AttributeError):
                self.set_aside(message.key(), message.value(), "invalid_post")
                self.ledger.settle(partition, offset)
                continue
            post = Post(partition, offset, message.timestamp()[1], received_at_ms, body)
            self.inside += 1
            if body.get("image") or body.get("audio"):
                self.spawn([post], self.label_with_media(post))
            else:
                plain.append(post)
        self.waiting += plain
        self.pump()

    def pump(self) -> None:
        """Texts that wait go together as soon as there is somebody to encode them: batches are small when little comes and large when
        the machine is busy, and nothing waits for one to fill."""
        while self.waiting and self.free_streams:
            batch = self.waiting[: self.batch_posts]
            del self.waiting[: self.batch_posts]
            self.free_streams -= 1
            self.spawn(batch, self.label_texts(batch))

    def spawn(self, posts: list[Post], work: Any) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self.tasks.discard(task)
            self.inside -= len(posts)
            if not task.cancelled() and task.exception() is not None:
                # Every post is read again by whoever takes over, from the committed offset.
                print(f"given up: {task.exception()!r}", file=sys.stderr, flush=True)
                os._exit(1)

        task.add_done_callback(done)

    async def label_texts(self, posts: list[Post]) -> None:
        """Posts of text go through every stage together."""
        try:
            await self.encoders.label_texts(posts)
        finally:
            self.free_streams += 1
        self.pump()
        usable = self.with_parts(posts)
        if usable:
            await self.publish(usable)

    async def label_with_media(self, post: Post) -> None:
        """A post with media waits for nobody else's."""
        encode = self.encoders
        await asyncio.gather(self.text_one(post), encode.encode_medium(post, "image"), encode.encode_medium(post, "audio"))
        if self.with_parts([post]):
            await self.fuse_one(post)
            await self.publish_one(post)

    def with_parts(self, posts: list[Post]) -> list[Post]:
        """Posts of which something can be used; the others end here."""
        usable = []
        for post in posts:
            if post.parts:
                usable.append(post)
                continue
            if post.absent:
                self.set_aside(post.body["id"].encode(), orjson.dumps(post.body), "no_modality")
            self.ledger.settle(post.partition, post.offset)
        return usable

    def set_aside(self, key: bytes | None, value: bytes | None, reason: str) -> None:
        self.producer.produce(self.args.dead_letters_topic, value, key, headers={"jtav-dl-reason": reason})

    async def publish(self, posts: list[Post]) -> None:
        """Store first, then both topics; settled when everything is acknowledged."""
        encoders, args = self.encoders, self.args
        made = records.make_all(posts, encoders.model_version, encoders.covered)
        answers = await self.retried(lambda: self.store.apply([write for _, _, _, write in made]))
        outgoing = []
        for post, (sentiment, embedding, identity, _), answer in zip(posts, made, answers, strict=True):
            if answer == b"same":
                # Redelivered: what the store shows is what the topics must say.
                sentiment = await self.store.held_sentiment(post.body["id"], encoders.model_version) or sentiment
            elif answer != b"written":
                continue
            outgoing.append((post.body["id"], sentiment, embedding, identity))
        if outgoing:
            delivery = Delivery(2 * len(outgoing))
            produce, version = self.producer.produce, encoders.model_version
            for key, sentiment, embedding, identity in outgoing:
                headers = [("jtav-event-id", identity), ("jtav-model-version", version)]
                produce(args.sentiment_topic, sentiment, key, headers=headers, on_delivery=delivery)
                produce(args.embeddings_topic, embedding, key, headers=headers, on_delivery=delivery)
            await delivery.future
            if delivery.error is not None:
                raise RuntimeError(f"a record was not taken: {delivery.error}")
        settle = self.ledger.settle
        for post in posts:
            settle(post.partition, post.offset)

    async def retried(self, attempt: Any) -> list[bytes]:
        for tried in range(1, WRITE_ATTEMPTS + 1):
            try:
                return await asyncio.wait_for(attempt(), 10)
            except (OSError, asyncio.TimeoutError):
                if tried == WRITE_ATTEMPTS:
                    raise
                await asyncio.sleep(0.05 * 2**tried)
                self.store = await Store.connect(self.args.store)
        raise AssertionError


async def serve(args: argparse.Namespace) -> None:
    encoders = load(args)
    store = await Store.connect(args.store)
    pipeline = Pipeline(args, encoders, store)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: setattr(pipeline, "stopping", True))
    # What is loaded stays for good: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    print("ready", file=sys.stderr, flush=True)
    async with encoders:
        await pipeline.run()


def parent(args: argparse.Namespace) -> int:
    """Starts the processes, which share the partitions out as members of one group, and ends with them."""
    command = [sys.executable, *sys.argv, "--processes", "1", "--of-processes", str(args.processes)]
    children = [subprocess.Popen(command) for _ in range(args.processes)]

    def forward(number: int, _frame: Any) -> None:
        for child in children:
            child.send_signal(number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    return max(child.wait() for child in children)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--store", required=True, help="unix:/path/of/socket or host:port")
    parser.add_argument("--input-topic", default="posts")
    parser.add_argument("--sentiment-topic", default="sentiment")
    parser.add_argument("--embeddings-topic", default="embeddings")
    parser.add_argument("--dead-letters-topic", default="dead-letters")
    parser.add_argument("--group", default="peer")
    parser.add_argument("--session-timeout-ms", type=int, default=45_000)
    parser.add_argument("--permits", type=int, default=512, help="posts inside at once, in each process")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--of-processes", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--model", help="folder of a checkpoint")
    parser.add_argument("--weights", help="folder of the base weights")
    parser.add_argument("--engine", choices=("onnx", "openvino", "openvino_bf16", "torch"), default="onnx")
    parser.add_argument("--stub", action="store_true", help="fixed vectors in place of the networks, as jtav's model.stub")
    args = parser.parse_args()
    if not args.stub and not args.model:
        parser.error("--model FOLDER or --stub")
    return args


if __name__ == "__main__":
    given = arguments()
    if given.processes > 1:
        sys.exit(parent(given))
    uvloop.run(serve(given))
