"""
What the command keeps in memory: what its streams may hold, and nothing of what has gone through.

Where it mirrors, also what ``mirror.capture_bytes`` lets it keep: whether the shadow reads nothing, or answers so
quickly that its answers wait for the end of the live ones.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from support.peers import stopped_peer
from support.resources import rss_of

STREAMS, MESSAGES, SIZE = 200, 200, 20_000
"""Together 800 MB."""
WINDOW = 65_536
HELD = 2 * WINDOW * STREAMS + 60_000_000
"""What the process may grow by: a window and a buffer of each stream, and grpc's own for them; 86 MB."""
CAPTURED = 16_000_000
"""What it may keep of live messages, and as much of shadows' answers."""
MIRRORED = 3 * CAPTURED + 60_000_000
"""What it may grow by on top where it mirrors; the rest is grpc's, for as many calls more."""
SHADOWS = ("none", "blocked", "quick")
LARGE = 50_000_000
_RETURNED = {"MALLOC_MMAP_THRESHOLD_": "8192", "MALLOC_TRIM_THRESHOLD_": "8192"}
"""glibc gives back at once what is freed: else what was held for a moment would look as if it were held still."""
_MANY = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
# A reader that takes no more than it reads: else what is on its way would wait at the client.
_SLOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", WINDOW))


class Server(grpc.GenericRpcHandler):
    """Sends as fast as it may, reads when it is told to, and counts both."""

    def __init__(self) -> None:
        self.sent = 0
        self.read = asyncio.Event()

    def service(self, handler_call_details: Any) -> Any:
        return {
            "/acme.Models/Listen": grpc.unary_stream_rpc_method_handler(self._listen),
            "/acme.Models/Tell": grpc.stream_unary_rpc_method_handler(self._tell),
            "/acme.Models/Ask": grpc.unary_unary_rpc_method_handler(self._ask),
        }.get(handler_call_details.method)

    async def _listen(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(MESSAGES):
            yield bytes(SIZE)
            self.sent += 1

    async def _tell(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        await self.read.wait()
        return str([len(message) async for message in requests].count(SIZE)).encode()

    async def _ask(self, request: bytes, context: Any) -> bytes:
        return request


@asynccontextmanager
async def serving(*more: Any) -> AsyncIterator[tuple[Server, int]]:
    one = Server()
    server = grpc.aio.server(handlers=[one], options=(*_MANY, ("grpc.so_reuseport", 0), *more))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield one, port
    finally:
        await server.stop(0)


@asynccontextmanager
async def shadowed(shadow: str) -> AsyncIterator[dict[str, Any]]:
    """Run a shadow, and give the part of the configuration that mirrors every call to it."""
    if shadow == "none":
        yield {}
        return
    async with AsyncExitStack() as stack:
        if shadow == "blocked":
            address = stack.enter_context(stopped_peer())
        else:
            server, port = await stack.enter_async_context(serving())
            server.read.set()
            address = f"127.0.0.1:{port}"
        target = {"name": "candidate", "address": address, "max_in_flight": STREAMS, "breaker": {"enabled": False}}
        experiment = {"name": "x", "methods": ["/acme.Models/*"], "targets": [target]}
        yield {
            "experiments": [experiment],
            "mirror": {"capture_bytes": CAPTURED, "harm_guard": {"enabled": False}},
        }


@asynccontextmanager
async def proxied(
    tmp_path: Path, live_options: Any = (), *, shadow: str = "none"
) -> AsyncIterator[tuple[Server, Any, Callable[[], int]]]:
    """Run the command before a server; give the server, a channel, and how many bytes the process holds."""
    async with serving(*live_options) as (live, port), shadowed(shadow) as mirrored:
        shapes = {"Listen": "unary_stream", "Tell": "stream_unary", "Ask": "unary_unary"}
        methods = {f"/acme.Models/{name}": shape for name, shape in shapes.items()}
        proxy = {"live": {"address": f"127.0.0.1:{port}"}, "window": WINDOW, "methods": methods}
        file = tmp_path / "shadowmesh.yaml"
        file.write_text(json.dumps({"proxy": proxy, **mirrored}))
        async with command(file) as (channel, held):
            yield live, channel, held


@asynccontextmanager
async def command(file: Path) -> AsyncIterator[tuple[Any, Callable[[], int]]]:
    command = [sys.executable, "-P", "-m", "shadowmesh", "proxy", "--config", str(file), "--listen", "127.0.0.1:0"]
    environment = os.environ | _RETURNED
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, env=environment)
    try:
        assert process.stdout is not None
        address = (await process.stdout.readline()).split()[2].decode()
        async with grpc.aio.insecure_channel(address, options=(*_MANY, *_SLOW)) as channel:
            yield channel, lambda: rss_of(process.pid)
    finally:
        process.kill()
        await process.communicate()


async def quiet(count: Callable[[], int]) -> None:
    """Return when nothing more comes: nobody says that he waits, so this is seen by looking again."""
    before = -1
    while before != (now := count()):
        before = now
        await asyncio.sleep(0.5)


def most_of(shadow: str) -> int:
    return HELD if shadow == "none" else HELD + MIRRORED


@pytest.mark.parametrize("shadow", SHADOWS)
async def test_streams_whose_clients_read_slowly_hold_a_window_each(tmp_path: Path, shadow: str) -> None:
    async with proxied(tmp_path, shadow=shadow) as (live, channel, held):
        assert await channel.unary_unary("/acme.Models/Ask")(b"x") == b"x"
        before = held()
        calls = [channel.unary_stream("/acme.Models/Listen")(b"") for _ in range(STREAMS)]
        for call in calls:
            assert await call.read() == bytes(SIZE)
        await quiet(lambda: live.sent)
        assert live.sent < STREAMS * MESSAGES / 2
        # Shadows may still be answering, as fast as they are read.
        await quiet(lambda: held() >> 22)
        most = held()
        for _ in range(MESSAGES - 1):
            for call in calls:
                assert await call.read() == bytes(SIZE)
            most = max(most, held())
        assert most - before < most_of(shadow)
        assert [await call.read() for call in calls] == [grpc.aio.EOF] * STREAMS


@pytest.mark.parametrize("shadow", SHADOWS)
async def test_streams_whose_server_reads_slowly_hold_a_window_each(tmp_path: Path, shadow: str) -> None:
    async with proxied(tmp_path, _SLOW, shadow=shadow) as (live, channel, held):
        assert await channel.unary_unary("/acme.Models/Ask")(b"x") == b"x"
        before = most = held()
        written = 0

        async def write(call: Any) -> None:
            nonlocal written, most
            for _ in range(MESSAGES):
                await call.write(bytes(SIZE))
                written += 1
                if not written % STREAMS:
                    most = max(most, held())
            await call.done_writing()

        calls = [channel.stream_unary("/acme.Models/Tell")() for _ in range(STREAMS)]
        writing = asyncio.gather(*map(write, calls))
        await quiet(lambda: written)
        assert written < STREAMS * MESSAGES / 2
        live.read.set()
        await writing
        assert [await call for call in calls] == [str(MESSAGES).encode()] * STREAMS
        assert most - before < most_of(shadow)


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_large_messages_go_through_compressed_or_not_and_do_not_add_up(
    tmp_path: Path, compression: grpc.Compression
) -> None:
    async with proxied(tmp_path) as (_, channel, held):
        ask = channel.unary_unary("/acme.Models/Ask")
        assert await ask(b"x") == b"x"
        before = held()
        after = []
        for _ in range(8):
            assert await ask(bytes(LARGE), compression=compression) == bytes(LARGE)
            after.append(held())
        # The allocator keeps some copies for the next ones.
        assert max(after) - before < 4 * LARGE
        assert max(after[4:]) - max(after[:4]) < LARGE
