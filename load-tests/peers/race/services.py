"""Kafka, Redis and the server of media that all sides use."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from confluent_kafka.admin import AdminClient, NewTopic

from race.feed import REPOSITORY, SAMPLE_FEED

PARTITIONS = 4
OUTPUTS = ("sentiment", "embeddings", "dead-letters", "erasures")


@dataclass(frozen=True)
class Topics:
    """Of one run, fresh; one that reads what is there already names the topic."""

    run: str
    reads: str | None = None

    @property
    def posts(self) -> str:
        return self.reads or f"{self.run}-posts"

    def output(self, name: str) -> str:
        return f"{self.run}-{name}"

    def all(self) -> list[str]:
        return [self.posts, *(self.output(name) for name in OUTPUTS)]


@dataclass
class Services:
    """Where they are."""

    brokers: str
    redis_socket: Path
    media: str
    folder: Path

    def make(self, topics: Topics) -> None:
        """Makes the topics and waits until they are there, and empties the store."""
        admin = AdminClient({"bootstrap.servers": self.brokers})
        for made in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in topics.all()], operation_timeout=60, request_timeout=60).values():
            made.result(60)
        redis.Redis(unix_socket_path=str(self.redis_socket)).flushall()

    def drop(self, topics: Topics) -> None:
        """Deletes them: a race of many runs would fill the disk. Nothing hangs on when that is done."""
        AdminClient({"bootstrap.servers": self.brokers}).delete_topics(topics.all(), operation_timeout=0)


def _start_redis(folder: Path) -> tuple[subprocess.Popen[bytes], Path]:
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is missing; `make setup` installs it")
    socket = folder / "redis.sock"
    options = ["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", str(socket), "--dir", str(folder)]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            redis.Redis(unix_socket_path=str(socket)).ping()
            return process, socket
        except redis.ConnectionError:
            time.sleep(0.05)
    raise SystemExit("redis-server does not answer")


def _start_media(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    address = folder / "media.address"
    server = Path(__file__).with_name("media_server.py")
    process = subprocess.Popen([sys.executable, str(server), str(SAMPLE_FEED), str(address)])
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if address.exists():
            return process, address.read_text()
        time.sleep(0.05)
    raise SystemExit("the media server does not start")


@contextmanager
def running() -> Iterator[Services]:
    """Starts all three and ends them with the race."""
    kafka = str(REPOSITORY / "scripts" / "kafka-local.sh")
    folder = Path(tempfile.mkdtemp(prefix="jtav-race-"))
    started: list[subprocess.Popen[bytes]] = []
    try:
        options = ["--dir", str(folder / "kafka"), "--heap", "768"]
        brokers = subprocess.run([kafka, "start", *options], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        redis_process, socket = _start_redis(folder)
        started.append(redis_process)
        media_process, media = _start_media(folder)
        started.append(media_process)
        yield Services(brokers, socket, media, folder)
    finally:
        for process in started:
            process.terminate()
            process.wait()
        subprocess.run([kafka, "wipe", "--dir", str(folder / "kafka")], check=False)
        shutil.rmtree(folder, ignore_errors=True)
