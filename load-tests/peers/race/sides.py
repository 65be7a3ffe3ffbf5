"""How each side is started."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from race.feed import REPOSITORY
from race.processes import Side
from race.services import Services, Topics

PEERS = REPOSITORY / "load-tests" / "peers"


@dataclass(frozen=True)
class Feed:
    """What is played, and with which networks."""

    name: str
    with_media: bool
    model: str | None

    @property
    def model_path(self) -> str | None:
        return str(REPOSITORY / "models" / self.model) if self.model else None


FEEDS = {
    feed.name: feed
    for feed in (
        Feed("stub", with_media=False, model=None),
        Feed("light", with_media=False, model="jtav-light"),
        Feed("modern", with_media=False, model="jtav-modern"),
        Feed("mixed", with_media=True, model="jtav-modern"),
    )
}


@dataclass(frozen=True)
class Entry:
    """A program with its setting: a line of the table."""

    program: str
    permits: int
    processes: int = 1

    @property
    def name(self) -> str:
        many = f", {self.processes} processes" if self.program != "jtav" and self.processes > 1 else ""
        return f"{self.program}, {self.permits} inside{many}"


class Starter:
    """Starts sides against the services."""

    def __init__(self, services: Services, jtav: str, weights: str, engine: str) -> None:
        self._services, self._jtav, self._weights, self._engine = services, jtav, weights, engine
        self._count = 0

    def start(self, entry: Entry, feed: Feed, topics: Topics, session_timeout_ms: int = 45_000) -> Side:
        self._count += 1
        log = self._services.folder / f"{self._count:03}-{entry.program}-{feed.name}.log"
        make = self._jtav_command if entry.program == "jtav" else self._python_command
        command = make(entry, feed, topics, session_timeout_ms)
        environment = {**os.environ, "JTAV_WEIGHTS_DIR": self._weights, "PYTHONDONTWRITEBYTECODE": "1"}
        # One thread for each forward pass on every side; threads of the pass itself only wait for each other on two cores.
        environment.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
        return Side(command, log, environment)

    def _jtav_command(self, entry: Entry, feed: Feed, topics: Topics, session_timeout_ms: int) -> list[str]:
        services = self._services
        outputs = "\n".join(f'{key}_topic = "{topics.output(name)}"' for key, name in (
            ("sentiment", "sentiment"), ("embeddings", "embeddings"),
            ("dead_letters", "dead-letters"), ("erasures", "erasures"),
        ))  # fmt: skip
        model = f'path = "{feed.model_path}"' if feed.model else "stub = true"
        config = f"""
[kafka]
brokers = "{services.brokers}"
group_id = "{topics.run}-group"
input_topic = "{topics.posts}"
{outputs}
[ingest]
max_in_flight_posts = {entry.permits}
session_timeout_ms = {session_timeout_ms}
drain_timeout_ms = {min(10_000, session_timeout_ms // 2 - 1_000)}
[model]
device = "cpu"
{model}
[cache]
max_bytes = 0
[media]
allow = ["{services.media.removeprefix("http://")}"]
[store]
url = "redis+unix://{services.redis_socket}"
[admin]
listen = "127.0.0.1:0"
"""
        path = services.folder / f"jtav-{self._count:03}.toml"
        path.write_text(config)
        return [self._jtav, "run", "--config", str(path)]

    def _python_command(self, entry: Entry, feed: Feed, topics: Topics, session_timeout_ms: int) -> list[str]:
        services = self._services
        program = {"python": "pipeline.py", "bytewax": "bytewax_flow.py"}[entry.program]
        options = {
            "--brokers": services.brokers,
            "--store": f"unix:{services.redis_socket}",
            "--input-topic": topics.posts,
            "--group": f"{topics.run}-group",
            "--session-timeout-ms": str(session_timeout_ms),
            "--permits": str(entry.permits),
            "--processes": str(entry.processes),
            **{f"--{name}-topic": topics.output(name) for name in ("sentiment", "embeddings", "dead-letters")},
        }
        command = [sys.executable, str(PEERS / program), *(word for option in options.items() for word in option)]
        if not feed.model_path:
            return [*command, "--stub"]
        return [*command, "--model", feed.model_path, "--weights", self._weights, "--engine", self._engine]


def default_jtav() -> str:
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    return str(Path(REPOSITORY, target, "release", "jtav"))
