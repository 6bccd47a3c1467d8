"""A proxy before several live servers that one name stands for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from support.dns import name_server

from shadowmesh.proxy.server import Proxy
from shadowmesh.proxy.settings import ProxySettings

ADDRESSES = ("127.0.0.1", "127.0.0.2")
ASK, LISTEN = "/acme.Models/Ask", "/acme.Models/Listen"
SHAPES = {ASK: "unary_unary", LISTEN: "unary_stream"}


async def started(address: str) -> tuple[grpc.aio.Server, int]:
    """Start a server that answers with its address."""

    async def ask(request: bytes, context: Any) -> bytes:
        return address.encode().rpartition(b":")[0]

    async def listen(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield await ask(request, context)

    handlers: dict[str, Any] = {
        "Ask": grpc.unary_unary_rpc_method_handler(ask),
        "Listen": grpc.unary_stream_rpc_method_handler(listen),
    }
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("acme.Models", handlers),))
    port = server.add_insecure_port(address)
    await server.start()
    return server, port


@asynccontextmanager
async def two_servers(balancing: str) -> AsyncIterator[tuple[list[grpc.aio.Server], int, Any]]:
    """Run two servers of one name and port behind a proxy; give them, their port, and a channel to the proxy."""
    async with AsyncExitStack() as stack:
        first, port = await started(f"{ADDRESSES[0]}:0")
        second, _ = await started(f"{ADDRESSES[1]}:{port}")
        servers = [first, second]
        authority = stack.enter_context(name_server(*ADDRESSES))
        live = {"address": f"dns://{authority}/live.example:{port}", "balancing": balancing}
        proxy = Proxy(ProxySettings.model_validate({"listen": "127.0.0.1:0", "live": live, "methods": SHAPES}))
        await proxy.start()
        stack.push_async_callback(proxy.close)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{proxy.port}"))
        try:
            yield servers, port, channel
        finally:
            for server in servers:
                await server.stop(0)


async def ask(channel: Any) -> str:
    answer: bytes = await channel.unary_unary(ASK)(b"", timeout=20, wait_for_ready=True)
    return answer.decode()


async def until(channel: Any, wanted: set[str]) -> None:
    """Call until the last answers are those of these servers and of no other."""
    async with asyncio.timeout(30):
        while {await ask(channel) for _ in range(8)} != wanted:
            pass


async def test_each_of_them_gets_its_turn() -> None:
    async with two_servers("round_robin") as (_, _, channel):
        # Until both are connected to.
        await until(channel, set(ADDRESSES))
        assert Counter([await ask(channel) for _ in range(40)]) == dict.fromkeys(ADDRESSES, 20)
        streamed = Counter([part.decode() for _ in range(40) async for part in channel.unary_stream(LISTEN)(b"")])
        assert streamed == dict.fromkeys(ADDRESSES, 20)


async def test_by_default_one_of_them_gets_all() -> None:
    async with two_servers("pick_first") as (_, _, channel):
        assert len({await ask(channel) for _ in range(40)}) == 1


@pytest.mark.parametrize("balancing", ["round_robin", "pick_first"])
async def test_of_one_that_ends_and_comes_back_calls_notice_nothing(balancing: str) -> None:
    async with two_servers(balancing) as (servers, port, channel):
        await until(channel, set(ADDRESSES) if balancing == "round_robin" else {await ask(channel)})
        first = await ask(channel)
        at = ADDRESSES.index(first)
        other = ADDRESSES[1 - at]
        # Politely, as a server that is deployed anew: its calls end, and no new ones come.
        await servers[at].stop(5)
        assert {await ask(channel) for _ in range(40)} == {other}
        servers[at], _ = await started(f"{first}:{port}")
        if balancing == "round_robin":
            await until(channel, set(ADDRESSES))
