"""What the command keeps in memory: what its streams may hold, and nothing of what has gone through."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from support.resources import rss_of

STREAMS, MESSAGES, SIZE = 200, 200, 20_000
"""Together 800 MB."""
WINDOW = 65_536
HELD = 2 * WINDOW * STREAMS + 60_000_000
"""What the process may grow by: a window and a buffer of each stream, and grpc's own for them; 86 MB."""
LARGE = 50_000_000
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
async def proxied(tmp_path: Path, live_options: Any = ()) -> AsyncIterator[tuple[Server, Any, Callable[[], int]]]:
    """Run the command before a server; give the server, a channel, and how many bytes the process holds."""
    live = Server()
    options = (*_MANY, ("grpc.so_reuseport", 0), *live_options)
    server = grpc.aio.server(handlers=[live], options=options)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    file = tmp_path / "shadowmesh.yaml"
    shapes = "{'*Listen': unary_stream, '*Tell': stream_unary, '*Ask': unary_unary}".replace("*", "/acme.Models/")
    file.write_text(f"proxy: {{live: {{address: '127.0.0.1:{port}'}}, window: {WINDOW}, methods: {shapes}}}")
    command = [sys.executable, "-P", "-m", "shadowmesh", "proxy", "--config", str(file), "--listen", "127.0.0.1:0"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        address = (await process.stdout.readline()).split()[2].decode()
        async with grpc.aio.insecure_channel(address, options=(*_MANY, *_SLOW)) as channel:
            yield live, channel, lambda: rss_of(process.pid)
    finally:
        process.kill()
        await process.communicate()
        await server.stop(0)


async def quiet(count: Callable[[], int]) -> None:
    """Return when nothing more comes: nobody says that he waits, so this is seen by looking again."""
    before = -1
    while before != (now := count()):
        before = now
        await asyncio.sleep(0.5)


async def test_streams_whose_clients_read_slowly_hold_a_window_each(tmp_path: Path) -> None:
    async with proxied(tmp_path) as (live, channel, held):
        assert await channel.unary_unary("/acme.Models/Ask")(b"x") == b"x"
        before = held()
        calls = [channel.unary_stream("/acme.Models/Listen")(b"") for _ in range(STREAMS)]
        for call in calls:
            assert await call.read() == bytes(SIZE)
        await quiet(lambda: live.sent)
        assert live.sent < STREAMS * MESSAGES / 2
        most = held()
        for _ in range(MESSAGES - 1):
            for call in calls:
                assert await call.read() == bytes(SIZE)
            most = max(most, held())
        assert most - before < HELD
        assert [await call.read() for call in calls] == [grpc.aio.EOF] * STREAMS


async def test_streams_whose_server_reads_slowly_hold_a_window_each(tmp_path: Path) -> None:
    async with proxied(tmp_path, _SLOW) as (live, channel, held):
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
        assert most - before < HELD


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
