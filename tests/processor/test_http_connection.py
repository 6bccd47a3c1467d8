"""Clients that take their time, and too many of them, on a real port."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from support.raw_http import connected
from support.receiving import ROOTS, Client, ScriptedIntake, receiving

from shadowmesh.processor.intake import Signal

HEAD = b"POST /v1/traces HTTP/1.1\r\nhost: test\r\n"
FILES = Path(ROOTS).parent


@pytest.mark.parametrize("said", [b"", b"P", HEAD, HEAD + b"x: " + b"y" * 10_000])
async def test_a_head_that_does_not_come_in_time_ends_the_connection(said: bytes) -> None:
    async with receiving(limits={"head_time": "50ms"}) as receiver, connected(receiver.http_port) as client:
        await client.say(said)
        assert await client.closed()


async def test_a_head_that_keeps_coming_ends_the_connection_too() -> None:
    async with receiving(limits={"head_time": "100ms"}) as receiver, connected(receiver.http_port) as client:
        await client.say(HEAD)

        async def drip() -> None:
            while True:
                await client.say(b"x: y\r\n")
                await asyncio.sleep(0.01)

        dripping = asyncio.ensure_future(drip())
        assert await client.closed()
        dripping.cancel()
        await asyncio.wait([dripping])


async def test_the_second_head_of_a_connection_has_as_long_as_the_first() -> None:
    async with receiving(limits={"head_time": "50ms"}) as receiver, connected(receiver.http_port) as client:
        await client.post("/v1/traces")
        assert (await client.answer()).status == 200
        await client.say(HEAD)
        assert await client.closed()


async def test_a_connection_without_requests_ends() -> None:
    async with receiving(limits={"idle_time": "50ms"}) as receiver, connected(receiver.http_port) as client:
        await client.post("/v1/traces")
        assert (await client.answer()).status == 200
        assert await client.closed()


async def test_a_head_that_is_too_long_is_refused() -> None:
    async with receiving() as receiver, connected(receiver.http_port) as client:
        await client.say(HEAD + b"x: " + b"y" * 40_000)
        assert (await client.answer()).status in (400, 431)


async def test_a_request_that_is_being_taken_in_has_all_the_time_it_needs() -> None:
    intake = ScriptedIntake()
    intake.open.clear()
    limits = {"head_time": "20ms", "idle_time": "20ms", "body_time": "20ms"}
    async with receiving(intake, limits=limits) as receiver, connected(receiver.http_port) as client:
        await client.post("/v1/traces")
        await client.post("/v1/traces", b"\x0a\x00")
        await intake.until_begun(1)
        async with connected(receiver.http_port) as other:
            # Long enough for every limit.
            assert await other.closed()
        intake.open.set()
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]


async def test_the_connection_that_was_silent_longest_makes_room_for_a_new_one() -> None:
    async with (
        receiving(limits={"connections": 2}) as receiver,
        connected(receiver.http_port) as first,
        connected(receiver.http_port) as second,
    ):
        for client in (first, second, first):
            await client.post("/v1/traces")
            assert (await client.answer()).status == 200
        async with connected(receiver.http_port) as third:
            await third.post("/v1/traces")
            assert (await third.answer()).status == 200
            assert await second.closed()
            await first.post("/v1/traces")
            assert (await first.answer()).status == 200


async def test_where_every_connection_is_busy_the_new_one_is_closed() -> None:
    intake = ScriptedIntake()
    intake.open.clear()
    async with receiving(intake, limits={"connections": 1}) as receiver, connected(receiver.http_port) as client:
        await client.post("/v1/traces")
        await intake.until_begun(1)
        async with connected(receiver.http_port) as late:
            assert await late.closed()
        intake.open.set()
        assert (await client.answer()).status == 200
        assert (await Client(receiver, "json").send(Signal.TRACES, b"{}")).ok


async def large(_: Request) -> PlainTextResponse:
    return PlainTextResponse("x" * 8_000_000)


LARGE = Route("/large", large)
GET_LARGE = b"GET /large HTTP/1.1\r\nhost: test\r\n\r\n"


async def test_a_client_that_has_read_its_answer_after_all_stays() -> None:
    limits = {"head_time": "500ms"}
    async with receiving(limits=limits, routes=(LARGE,)) as receiver, connected(receiver.http_port) as client:
        await client.say(GET_LARGE)
        assert len((await client.answer()).body) == 8_000_000
        async with connected(receiver.http_port) as other:
            assert await other.closed()
        await client.post("/v1/traces")
        assert (await client.answer()).status == 200


async def test_a_client_that_does_not_read_its_answer_ends_and_makes_room() -> None:
    limits = {"connections": 1, "head_time": "50ms"}
    async with receiving(limits=limits, routes=(LARGE,)) as receiver, connected(receiver.http_port) as client:
        # The second answer waits for the first.
        await client.say(GET_LARGE * 2)

        async def served() -> bool:
            async with connected(receiver.http_port) as other:
                with suppress(ConnectionError, asyncio.IncompleteReadError):
                    await other.post("/v1/traces")
                    return (await other.answer()).status == 200
            return False

        async with asyncio.timeout(20):
            while not await served():
                pass


async def test_a_tls_handshake_that_does_not_come_in_time_ends_the_connection() -> None:
    tls = {"certificate": str(FILES / "server.pem"), "key": str(FILES / "server.key")}
    async with receiving(tls=tls, limits={"head_time": "50ms"}) as receiver:
        for said in (b"", b"\x16\x03\x01", HEAD):
            async with connected(receiver.http_port) as client:
                await client.say(said)
                await client.closed()


async def test_closing_waits_for_no_client() -> None:
    async with (
        receiving() as receiver,
        connected(receiver.http_port) as idle,
        connected(receiver.http_port) as slow,
        connected(receiver.http_port) as silent,
    ):
        await idle.post("/v1/traces")
        assert (await idle.answer()).status == 200
        await slow.post("/v1/traces", b"\x0a", length=2)
        await silent.say(HEAD)
        await asyncio.wait_for(receiver.close(), 5)
        for client in (idle, slow, silent):
            await client.closed()
