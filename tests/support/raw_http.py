"""HTTP by hand, for clients that break off, dawdle, or send what no library would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple


class RawAnswer(NamedTuple):
    """One answer as it came: its status, its head in lower case, its body."""

    status: int
    head: str
    body: bytes


class RawHttp:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def say(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def post(self, path: str, body: bytes = b"", *, headers: str = "", length: int | None = None) -> None:
        """Send a request, or the beginning of one whose ``length`` is more than its body's."""
        size = len(body) if length is None else length
        kind = "" if "content-type" in headers else "content-type: application/x-protobuf\r\n"
        head = f"POST {path} HTTP/1.1\r\nhost: test\r\n{kind}content-length: {size}\r\n{headers}\r\n"
        await self.say(head.encode() + body)

    async def answer(self) -> RawAnswer:
        """Read one answer."""
        head = (await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 20)).decode().lower()
        lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await asyncio.wait_for(self._reader.readexactly(int(lines.get("content-length", "0"))), 20)
        return RawAnswer(int(head.split()[1]), head, body)

    async def closed(self) -> bool:
        """Wait until the other end closes; return whether it said nothing more."""
        try:
            return await asyncio.wait_for(self._reader.read(), 20) == b""
        except ConnectionError:
            return True


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[RawHttp]:
    """Connect to a port of this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield RawHttp(reader, writer)
    finally:
        writer.close()
