"""What is captured behind the interceptors: every call whole, or said not to be; and nothing is held afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from support.servers import interceptor_of, is_aio, live_server

from shadowmesh.build import Mesh
from shadowmesh.config import Config
from shadowmesh.mirror.capture_files import read_calls
from shadowmesh.mirror.capture_format import CapturedCall

METHOD = "/acme.Models/Talk"


class Echo(grpc.GenericRpcHandler):
    """Answers every message with itself, and ends with an error after one that asks for it."""

    def __init__(self, kind: str) -> None:
        self._aio = is_aio(kind)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return grpc.stream_stream_rpc_method_handler(self._talk_aio if self._aio else self._talk)

    def _talk(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for message in requests:
            yield message
            if message == b"fail":
                context.abort(grpc.StatusCode.INTERNAL, "as told")

    async def _talk_aio(self, requests: Any, context: Any) -> Any:
        async for message in requests:
            yield message
            if message == b"fail":
                await context.abort(grpc.StatusCode.INTERNAL, "as told")


@contextmanager
def captured(folder: Path, kind: str, **more: Any) -> Iterator[tuple[Any, list[CapturedCall]]]:
    """Give a method of a server that is captured; what was captured is there when the block has ended."""
    calls: list[CapturedCall] = []
    settings = Config.model_validate({"capture": {"to": str(folder), **more}})
    with Mesh(settings, metric_reader=InMemoryMetricReader()) as mesh:
        with live_server(kind, lambda: [interceptor_of(kind, mesh)], handler=Echo(kind)) as server:
            yield server.channel.stream_stream(METHOD), calls
        mesh.close()
        assert not mesh.faults()
        status = mesh.status()["captured"]
        assert (status["queue"]["used"], status["bytes"]["used"]) == (0, 0)
    calls += read_calls(folder)
    assert sum(mesh.captured_calls().values()) == len(calls)


def data(messages: Any) -> list[bytes]:
    return [message.data for message in messages]


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_a_stream_is_captured_with_every_message_its_time_and_its_status(tmp_path: Path, kind: str) -> None:
    sent = [b"%d" % number for number in range(200)]
    with captured(tmp_path, kind) as (talk, calls):
        assert list(talk(iter(sent), timeout=20)) == sent
        with pytest.raises(grpc.RpcError):
            list(talk(iter([b"fail"]), timeout=20))
    whole, failed = calls
    assert (whole.method, whole.arity, whole.status, whole.end, whole.complete) == (
        METHOD,
        "stream_stream",
        "OK",
        "completed",
        True,
    )
    for side in (whole.requests, whole.responses):
        assert data(side) == sent
        times = [message.ns for message in side if message.ns is not None]
        assert times == sorted(times)
        assert len(times) == len(sent)
    assert (failed.status, data(failed.responses)) == ("INTERNAL", [b"fail"])


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_what_does_not_fit_is_left_out_and_said_not_to_be_complete(tmp_path: Path, kind: str) -> None:
    with captured(tmp_path, kind, max_message_bytes=100) as (talk, calls):
        assert list(talk(iter([b"small", b"x" * 1000]), timeout=20)) == [b"small", b"x" * 1000]
    (call,) = calls
    assert (call.complete, call.requests, call.responses, call.status) == (False, (), (), "OK")


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_what_its_client_leaves_is_captured_as_far_as_it_went(tmp_path: Path, kind: str) -> None:
    with captured(tmp_path, kind) as (talk, calls):
        call = talk(iter([b"one"]), timeout=20)
        assert next(call) == b"one"
        call.cancel()
    (call,) = calls
    assert data(call.responses) == [b"one"]
