"""A receiver of webhooks: a real HTTP server on a free port that remembers what came, and answers as told."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

SILENCE = "no answer at all"


class Post(NamedTuple):
    """One request; names of headers are in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """What it says."""
        return dict(json.loads(self.body))


class Receiver:
    """
    What a receiver got.

    Args:
        answers: for the first requests, in order: a status, the whole head of an answer, or :data:`SILENCE`; after them
            it is 204.
    """

    def __init__(self, *answers: int | str) -> None:
        self.posts: list[Post] = []
        self.port = 0
        self._answers = list(answers)
        self._changed = asyncio.Condition()
        self._open = asyncio.Event()

    @property
    def url(self) -> str:
        """Where to post."""
        return f"http://127.0.0.1:{self.port}/hooks?of=mine"

    async def until(self, count: int) -> list[Post]:
        """Return the requests once there are so many."""
        async with self._changed, asyncio.timeout(20):
            await self._changed.wait_for(lambda: len(self.posts) >= count)
        return self.posts

    @asynccontextmanager
    async def listening(self, context: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
        """Listen until the end."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self._open.set()
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers["content-length"]))
            answer = self._answers.pop(0) if self._answers else 204
            async with self._changed:
                self.posts.append(Post(head[0], headers, body))
                self._changed.notify_all()
            if answer == SILENCE:
                await self._open.wait()
            elif isinstance(answer, int):
                writer.write(f"HTTP/1.1 {answer} Said\r\ncontent-length: 0\r\n\r\n".encode())
            else:
                writer.write(str(answer).encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
