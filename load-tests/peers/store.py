"""Labels into Redis: jtav's own script, hence the same compare-and-set on the revision, many posts in one round trip."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from pathlib import Path
from typing import Any

import hiredis

SCRIPT_PATH = Path(__file__).resolve().parents[2] / "crates" / "store" / "src" / "apply.lua"
LABEL_TTL_MS = 604_800_000


class StoreError(Exception):
    """What Redis refused."""


class Store(asyncio.Protocol):
    """One connection, commands pipelined. redis-py would do; its bookkeeping for each command costs five times what packing and
    parsing cost in hiredis, which is what is used here directly."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(replyError=StoreError)
        self._waiting: deque[tuple[asyncio.Future[list[Any]], int, list[Any]]] = deque()
        self._transport: asyncio.Transport | None = None
        self._sha = b""
        self._script = SCRIPT_PATH.read_bytes()

    @classmethod
    async def connect(cls, address: str) -> Store:
        """`address` is `unix:/path` or `host:port`."""
        loop = asyncio.get_running_loop()
        if address.startswith("unix:"):
            _, store = await loop.create_unix_connection(cls, address.removeprefix("unix:"))
        else:
            host, port = address.rsplit(":", 1)
            _, store = await loop.create_connection(cls, host, int(port))
        loaded = await store.calls([(b"SCRIPT", b"LOAD", store._script)])
        store._sha = loaded[0]
        assert store._sha.decode() == hashlib.sha1(store._script).hexdigest()
        return store

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while self._waiting:
            future, count, answers = self._waiting[0]
            while len(answers) < count:
                answer = self._reader.gets()
                if answer is False:
                    return
                answers.append(answer)
            self._waiting.popleft()
            if not future.cancelled():
                future.set_result(answers)

    def connection_lost(self, exc: Exception | None) -> None:
        for future, _, _ in self._waiting:
            if not future.done():
                future.set_exception(exc or StoreError("the connection is closed"))
        self._waiting.clear()

    async def calls(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """Sends the commands together and gives their answers in order. A refusal of one is raised."""
        assert self._transport is not None
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((future, len(commands), []))
        self._transport.write(b"".join([hiredis.pack_command(command) for command in commands]))
        answers = await future
        for answer in answers:
            if isinstance(answer, StoreError):
                raise answer
        return answers

    async def apply(self, writes: list[tuple[Any, ...]]) -> list[bytes]:
        """One answer for each write: `written`, `same`, `stale` or `erased`; `writes` as `label_write` makes them."""
        return await self.calls([(b"EVALSHA", self._sha, b"3", *write) for write in writes])

    async def held_sentiment(self, post_id: str, model_version: str) -> bytes | None:
        """The record that a redelivered post was labelled with the first time."""
        key = f"jtav:{{{post_id}}}:{model_version}"
        return (await self.calls([(b"HGET", key, b"sentiment")]))[0]


def label_write(
    post_id: str,
    revision: int,
    partition: int,
    offset: int,
    model_version: str,
    fields: list[Any],
) -> tuple[Any, ...]:
    """Keys and arguments of the script; `fields` are names and values in turn, without those that the script makes of the rest."""
    tag = f"jtav:{{{post_id}}}:"
    return (
        tag + model_version,
        tag + "erased",
        tag + "models",
        LABEL_TTL_MS,
        model_version,
        revision,
        partition,
        offset,
        *fields,
    )
