"""What only gRPC has: who is refused before anything of the message was read, and the answers' forms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.raw_http import connected
from support.receiving import Client, ScriptedIntake, receiving

from shadowmesh.errors import OverloadedError
from shadowmesh.processor.intake import Signal
from shadowmesh.processor.otlp_services import SERVICES
from shadowmesh.processor.receiver import Receiver
from shadowmesh.telemetry.faults import Faults

TRACES = SERVICES[Signal.TRACES].method


@asynccontextmanager
async def slow_call(receiver: Receiver, **options: Any) -> AsyncIterator[Any]:
    """A call that has sent its head and not its message."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{receiver.port}") as channel:
        export: Any = channel.stream_unary(TRACES)
        yield export(timeout=20, **options)


async def status_of(call: Any) -> grpc.StatusCode:
    code: grpc.StatusCode = await call.code()
    return code


async def test_a_sender_without_a_token_is_refused_before_its_message(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("known")
    async with (
        receiving(bearer_token={"file": str(tmp_path / "token")}) as receiver,
        slow_call(receiver) as call,
    ):
        assert await status_of(call) is grpc.StatusCode.UNAUTHENTICATED


async def test_two_tokens_are_none(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("known")
    metadata = (("authorization", "Bearer known"), ("authorization", "Bearer known"))
    async with (
        receiving(bearer_token={"file": str(tmp_path / "token")}) as receiver,
        slow_call(receiver, metadata=metadata) as call,
    ):
        assert await status_of(call) is grpc.StatusCode.UNAUTHENTICATED


async def test_a_sender_for_whom_there_is_no_place_is_told_before_its_message() -> None:
    intake = ScriptedIntake()
    intake.open.clear()
    async with receiving(intake, limits={"requests": 1}) as receiver:
        first = asyncio.ensure_future(Client(receiver, "grpc").send(Signal.TRACES, b""))
        await intake.until_begun(1)
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{receiver.port}", options) as channel:
            export: Any = channel.stream_unary(TRACES)
            assert await status_of(export(timeout=20)) is grpc.StatusCode.UNAVAILABLE
        intake.open.set()
        assert (await first).ok


async def test_a_message_that_does_not_come_gives_its_place_back_in_time() -> None:
    async with receiving(limits={"body_time": "500ms", "requests": 1}) as receiver, slow_call(receiver) as call:
        assert await status_of(call) is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "0.5 s" in await call.details()
        assert (await Client(receiver, "grpc").send(Signal.TRACES, b"")).ok
        assert receiver.requests.refused == 1


async def test_a_call_without_a_message_is_refused() -> None:
    async with receiving() as receiver, slow_call(receiver) as call:
        await call.done_writing()
        assert await status_of(call) is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_no_more_messages_are_read_at_once_than_there_is_memory_for() -> None:
    intake = ScriptedIntake()
    async with (
        receiving(intake, max_message_bytes=100_000, limits={"memory": 100_000}) as receiver,
        grpc.aio.insecure_channel(f"127.0.0.1:{receiver.port}") as channel,
    ):
        slow: Any = channel.stream_unary(TRACES)(timeout=20)
        await slow.wait_for_connection()
        # The same connection: what is said on it is heard in this order.
        quick: Any = channel.unary_unary(TRACES)
        waiting = asyncio.ensure_future(status_of(quick(b"\x0a\x00", timeout=20)))
        await asyncio.wait([waiting], timeout=0.2)
        assert intake.begun == 0
        await slow.write(b"")
        await slow.done_writing()
        assert await status_of(slow) is grpc.StatusCode.OK
        assert await waiting is grpc.StatusCode.OK
    assert intake.taken == [(Signal.TRACES, b""), (Signal.TRACES, b"\x0a\x00")]


async def test_every_other_method_is_unimplemented() -> None:
    async with receiving() as receiver, grpc.aio.insecure_channel(f"127.0.0.1:{receiver.port}") as channel:
        other: Any = channel.unary_unary("/opentelemetry.proto.collector.profiles.v1.ProfilesService/Export")
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await other(b"", timeout=20)
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("seconds", [0.0, 0.2, 1.0, 3661.000000001])
async def test_when_to_come_again_is_exact_in_both_forms(seconds: float) -> None:
    async with receiving(ScriptedIntake(OverloadedError("full", retry_after=seconds))) as receiver:
        # Both forms are compared where they are read.
        assert (await Client(receiver, "grpc").send(Signal.TRACES, b"")).retry_after == seconds


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
HALF_A_HEAD = b"\x00\x10\x00\x01\x04\x00\x00\x00\x01x"


@pytest.mark.parametrize(
    ("said", "limit"),
    [(b"", "head_time"), (b"PRI", "head_time"), (PREFACE, "idle_time"), (PREFACE + HALF_A_HEAD, "idle_time")],
)
async def test_a_connection_that_gets_nowhere_ends(said: bytes, limit: str) -> None:
    async with receiving(limits={limit: "50ms"}) as receiver, connected(receiver.port) as client:
        await client.say(said)
        await client.closed()


async def test_one_connection_too_many_is_closed() -> None:
    async with (
        receiving(limits={"connections": 1}) as receiver,
        connected(receiver.port) as first,
    ):
        await first.say(PREFACE)
        async with connected(receiver.port) as second:
            assert await second.closed()


@settings(max_examples=50)
@given(stream=st.binary(max_size=200) | st.binary(max_size=60).map(PREFACE.__add__))
def test_whatever_a_stream_holds_the_next_sender_is_served(stream: bytes) -> None:
    async def attempt() -> None:
        faults = Faults()
        limits = {"head_time": "50ms", "idle_time": "50ms"}
        async with receiving(faults=faults, limits=limits) as receiver:
            async with connected(receiver.port) as client:
                with suppress(ConnectionError):
                    await client.say(stream)
                await client.closed()
            assert (await Client(receiver, "grpc").send(Signal.TRACES, b"")).ok
        assert faults.totals() == {}

    asyncio.run(attempt())


async def test_deflate_is_taken_too() -> None:
    intake = ScriptedIntake()
    async with receiving(intake) as receiver, grpc.aio.insecure_channel(f"127.0.0.1:{receiver.port}") as channel:
        export: Any = channel.unary_unary(TRACES)
        await export(b"\x0a\x00" * 1000, timeout=20, compression=grpc.Compression.Deflate)
    assert intake.taken == [(Signal.TRACES, b"\x0a\x00" * 1000)]
