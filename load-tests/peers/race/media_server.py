"""Serves a folder of media over HTTP on loopback, from memory; outside of both sides and of their accounts.

python media_server.py FOLDER FILE writes its address to FILE once it listens.
"""

from __future__ import annotations

import asyncio
import mimetypes
import sys
from pathlib import Path

import uvloop


def answers(folder: Path) -> dict[bytes, bytes]:
    """Request target to whole answer."""
    made = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            body = path.read_bytes()
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
            made[f"/{path.relative_to(folder)}".encode()] = head.encode() + body
    return made


NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


class Connection(asyncio.Protocol):
    """GET alone, kept alive."""

    files: dict[bytes, bytes] = {}

    def __init__(self) -> None:
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            words = self._read[:end].split(b" ", 2)
            self._read = self._read[end + 4 :]
            target = words[1] if len(words) > 1 else b""
            self._transport.write(self.files.get(target, NOT_FOUND))


async def serve(folder: Path, address: Path) -> None:
    Connection.files = answers(folder)
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    part = address.with_suffix(".part")
    part.write_text(f"http://127.0.0.1:{port}")
    part.rename(address)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
