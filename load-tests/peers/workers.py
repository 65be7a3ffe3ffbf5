"""Threads that take the latest stage first, so that posts leave before others come in."""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from collections.abc import Callable
from typing import Any

FUSE, ENCODE, TEXT, DECODE, NEVER = range(5)


class Workers:
    """A plain pool serves in the order of arrival: with hundreds of posts inside each would wait behind all others at every stage, and
    labels would come in bursts."""

    def __init__(self, threads: int) -> None:
        self._orders: queue.PriorityQueue[tuple[int, int, Callable[[], None]]] = queue.PriorityQueue()
        self._number = itertools.count()
        self._threads = [threading.Thread(target=self._work, name=f"worker-{at}", daemon=True) for at in range(threads)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while True:
            priority, _, order = self._orders.get()
            if priority == NEVER:
                return
            order()

    def run(self, priority: int, work: Callable[..., Any], *given: Any) -> asyncio.Future[Any]:
        """The result of `work(*given)` on one of the threads."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def tell(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def order() -> None:
            if future.cancelled():
                return
            try:
                result, error = work(*given), None
            except BaseException as raised:  # noqa: BLE001  (it is the caller's)
                result, error = None, raised
            loop.call_soon_threadsafe(tell, result, error)

        self._orders.put((priority, next(self._number), order))
        return future

    def stop(self) -> None:
        for _ in self._threads:
            self._orders.put((NEVER, next(self._number), lambda: None))
        for thread in self._threads:
            thread.join()
