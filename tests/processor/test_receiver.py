"""OTLP's answers, from a real server on a free port."""

from __future__ import annotations

import gzip
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from support.otlp import METRICS, TRACES, call

from shadowmesh.errors import DecodeError, StartError
from shadowmesh.processor.receiver import Handler, Receiver, Rejected


class Taken:
    """Handlers that remember what they were given."""

    def __init__(self) -> None:
        self.traces: list[bytes] = []
        self.metrics: list[bytes] = []


@asynccontextmanager
async def serving(
    taken: Taken, *, on_traces: Handler | None = None, on_metrics: Handler | None = None, most: int = 10_000
) -> AsyncIterator[tuple[Receiver, str]]:
    receiver = Receiver(
        "127.0.0.1:0",
        on_traces=on_traces or taken.traces.append,
        on_metrics=on_metrics or taken.metrics.append,
        max_message_bytes=most,
    )
    port = await receiver.start()
    try:
        yield receiver, f"127.0.0.1:{port}"
    finally:
        await receiver.stop(0)


async def status_of(address: str, method: str, request: bytes) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call(address)(method, request)
    return error.value.code()


async def test_requests_reach_their_handler_as_bytes_and_success_is_empty() -> None:
    taken = Taken()
    async with serving(taken) as (receiver, address):
        assert await call(address)(TRACES, b"\x0a\x00") == b""
        assert await call(address)(METRICS, b"") == b""
    assert (taken.traces, taken.metrics, receiver.requests.accepted) == ([b"\x0a\x00"], [b""], 2)


async def test_compressed_requests_are_taken_too() -> None:
    taken = Taken()
    async with serving(taken) as (_, address):
        await call(address, compression=grpc.Compression.Gzip)(TRACES, b"x" * 5000)
    assert taken.traces == [b"x" * 5000]


async def test_rejected_items_are_a_partial_success() -> None:
    def reject(_: bytes) -> Rejected:
        return Rejected(3, "bad ids")

    async with serving(Taken(), on_traces=reject, on_metrics=reject) as (_, address):
        spans = ExportTraceServiceResponse.FromString(await call(address)(TRACES, b"")).partial_success
        points = ExportMetricsServiceResponse.FromString(await call(address)(METRICS, b"")).partial_success
    assert (spans.rejected_spans, spans.error_message) == (3, "bad ids")
    assert (points.rejected_data_points, points.error_message) == (3, "bad ids")


async def test_bytes_that_do_not_parse_are_an_invalid_argument_counted_and_survived(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(_: bytes) -> None:
        raise DecodeError("no OTLP")

    taken = Taken()
    async with serving(taken, on_traces=refuse) as (receiver, address):
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                assert await status_of(address, TRACES, b"rubbish") is grpc.StatusCode.INVALID_ARGUMENT
        await call(address)(METRICS, b"fine")
        assert (receiver.requests.invalid, receiver.requests.accepted) == (3, 1)
    assert taken.metrics == [b"fine"]
    assert len(caplog.records) == 1


async def test_a_handler_that_fails_is_never_answered_with_ok() -> None:
    def fail(_: bytes) -> None:
        raise ZeroDivisionError

    async with serving(Taken(), on_traces=fail) as (receiver, address):
        assert await status_of(address, TRACES, b"") is grpc.StatusCode.INTERNAL
        assert receiver.requests.failed == 1


async def test_a_request_over_the_size_is_refused_before_and_after_decompression() -> None:
    taken = Taken()
    async with serving(taken, most=1000) as (_, address):
        assert await status_of(address, TRACES, b"x" * 1001) is grpc.StatusCode.RESOURCE_EXHAUSTED
        bomb = bytes(1_000_000)
        assert len(gzip.compress(bomb)) < 2000
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call(address, compression=grpc.Compression.Gzip)(TRACES, bomb)
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await call(address)(TRACES, b"x" * 1000)
    assert taken.traces == [b"x" * 1000]


async def test_every_other_method_is_unimplemented() -> None:
    async with serving(Taken()) as (_, address):
        logs = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
        assert await status_of(address, logs, b"") is grpc.StatusCode.UNIMPLEMENTED


async def test_a_taken_port_is_one_clear_error() -> None:
    async with serving(Taken()) as (_, address):
        second = Receiver(address, on_traces=lambda _: None, on_metrics=lambda _: None)
        with pytest.raises(StartError, match=rf"cannot listen on {address}.*taken"):
            await second.start()


async def test_stop_is_safe_before_start_and_twice() -> None:
    receiver = Receiver("127.0.0.1:0", on_traces=lambda _: None, on_metrics=lambda _: None)
    await receiver.stop(1)
    await receiver.start()
    await receiver.stop(1)
    await receiver.stop(1)
