"""Dynamic batching: what waits goes together, nothing waits for a batch to fill."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Batcher(Generic[Item]):
    """Runs `work` on all items that came while its last call ran, at most `most_items` of them, in `streams` calls at once."""

    def __init__(self, work: Callable[[list[Item]], Awaitable[None]], most_items: int, streams: int = 1) -> None:
        self._work = work
        self._most_items = most_items
        self._free_streams = streams
        self._waiting: list[tuple[Item, asyncio.Future[None]]] = []
        self._running: set[asyncio.Task[None]] = set()

    def __call__(self, item: Item) -> asyncio.Future[None]:
        """Done when the item's batch is done; raises what its batch raised."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._free_streams:
            self._free_streams -= 1
            task = asyncio.create_task(self._run())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return future

    async def _run(self) -> None:
        # One turn of the loop: whoever comes in the same turn is in the same batch.
        await asyncio.sleep(0)
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most_items], self._waiting[self._most_items :]
            try:
                await self._work([item for item, _ in batch])
            except Exception as error:  # noqa: BLE001  (the items' owners decide)
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            else:
                for _, future in batch:
                    if not future.done():
                        future.set_result(None)
        self._free_streams += 1
