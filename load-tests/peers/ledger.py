"""Which offsets may be committed: of each partition those before the first post that is not settled."""

from __future__ import annotations

from collections import deque


class Ledger:
    """Per partition the offsets that were read, in order, and which of them are settled.

    Posts with media settle long after posts of text behind them, so a commit of the newest settled offset would lose the
    slow ones in a crash.
    """

    def __init__(self) -> None:
        self._read: dict[int, deque[int]] = {}
        self._settled: dict[int, set[int]] = {}
        self._position: dict[int, int] = {}
        self._committed: dict[int, int] = {}

    def read(self, partition: int, offset: int) -> None:
        """A record was taken in; offsets of a partition come in ascending order."""
        offsets = self._read.get(partition)
        if offsets is None:
            offsets = self._read[partition] = deque()
            self._settled[partition] = set()
        offsets.append(offset)

    def settle(self, partition: int, offset: int) -> None:
        """The record's labels are acknowledged, or it needs none. Of a partition that was lost meanwhile nothing counts."""
        settled = self._settled.get(partition)
        if settled is not None:
            settled.add(offset)

    def take_positions(self) -> list[tuple[int, int]]:
        """Partitions whose position has moved since the last call, and the offset that comes next there."""
        moved = []
        for partition, offsets in self._read.items():
            settled = self._settled[partition]
            while offsets and offsets[0] in settled:
                offset = offsets.popleft()
                settled.discard(offset)
                self._position[partition] = offset + 1
            position = self._position.get(partition)
            if position is not None and position != self._committed.get(partition):
                self._committed[partition] = position
                moved.append((partition, position))
        return moved

    def forget(self, partition: int) -> None:
        """The partition belongs to somebody else now."""
        for table in (self._read, self._settled, self._position, self._committed):
            table.pop(partition, None)
