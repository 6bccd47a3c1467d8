"""An interceptor before ours catches what a handler raises: the live leg has the end that the client saw."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from support.meshes import config, running_mesh, target
from support.servers import interceptor_of, is_aio, live_server

from shadowmesh.model import Leg
from shadowmesh.names import CallEnd, Role
from shadowmesh.testing import Backend, echo

KINDS = ("sync", "aio")
# Kept, as one that reports errors keeps them: with the traceback, and so all that the frames of the call refer to.
kept: list[Exception] = []


class MissingError(Exception):
    """What the handlers raise."""


class Handlers(grpc.GenericRpcHandler):
    """Raise at once, or after a message."""

    def __init__(self, kind: str) -> None:
        unary, stream = (_unary_aio, _stream_aio) if kind == "aio" else (_unary, _stream)
        self._unary: Any = grpc.unary_unary_rpc_method_handler(unary)
        self._stream: Any = grpc.unary_stream_rpc_method_handler(stream)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._stream if handler_call_details.method == "/a.B/Stream" else self._unary


async def _unary_aio(request: bytes, context: Any) -> bytes:
    raise MissingError


async def _stream_aio(request: bytes, context: Any) -> AsyncIterator[bytes]:
    yield request
    raise MissingError


def _unary(request: bytes, context: Any) -> bytes:
    raise MissingError


def _stream(request: bytes, context: Any) -> Iterator[bytes]:
    yield request
    raise MissingError


class Sync(grpc.ServerInterceptor):
    """Makes NOT_FOUND of the exception, or ``answer``."""

    def __init__(self, answer: bytes | None = None) -> None:
        self._answer = answer

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        inner = continuation(handler_call_details)

        def unary(request: Any, context: Any) -> Any:
            try:
                return inner.unary_unary(request, context)
            except MissingError as error:
                kept.append(error)
                return self._answer or context.abort(grpc.StatusCode.NOT_FOUND, "no such model")

        def stream(request: Any, context: Any) -> Iterator[Any]:
            try:
                yield from inner.unary_stream(request, context)
            except MissingError as error:
                kept.append(error)
                context.abort(grpc.StatusCode.NOT_FOUND, "no such model")

        return _like(inner, unary, stream)


class Aio(grpc.aio.ServerInterceptor):
    """The same in a loop."""

    def __init__(self, answer: bytes | None = None) -> None:
        self._answer = answer

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        inner = await continuation(handler_call_details)

        async def unary(request: Any, context: Any) -> Any:
            try:
                return await inner.unary_unary(request, context)
            except MissingError as error:
                kept.append(error)
                return self._answer or await context.abort(grpc.StatusCode.NOT_FOUND, "no such model")

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                async for message in inner.unary_stream(request, context):
                    yield message
            except MissingError as error:
                kept.append(error)
                await context.abort(grpc.StatusCode.NOT_FOUND, "no such model")

        return _like(inner, unary, stream)


def _like(inner: Any, unary: Any, stream: Any) -> Any:
    if inner.response_streaming:
        return grpc.unary_stream_rpc_method_handler(stream, inner.request_deserializer, inner.response_serializer)
    return grpc.unary_unary_rpc_method_handler(unary, inner.request_deserializer, inner.response_serializer)


def live_leg(kind: str, method: str, *others: Any) -> tuple[grpc.StatusCode, Leg]:
    """Make one call and return the client's status and the live leg, which must come while the server runs."""
    with (
        Backend(echo) as backend,
        running_mesh(config(target(backend.address))) as (mesh, sink),
        live_server(kind, lambda: [*others, interceptor_of(kind, mesh)], handler=Handlers(kind)) as server,
    ):
        call: Any = server.channel.unary_stream(method)
        answers = call(b"hi", timeout=10)
        with contextlib.suppress(grpc.RpcError):
            list(answers)
        legs = sink.wait_for_legs(2)
        assert mesh.faults() == {}
    return answers.code(), next(leg for leg in legs if leg.role == Role.LIVE)


@pytest.fixture(autouse=True)
def _none_kept() -> Iterator[None]:
    yield
    kept.clear()


@pytest.mark.parametrize("method", ["/a.B/Unary", "/a.B/Stream"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_status_that_an_interceptor_before_ours_makes_of_an_exception_is_the_live_legs(
    kind: str, method: str
) -> None:
    code, live = live_leg(kind, method, Aio() if is_aio(kind) else Sync())
    assert code is grpc.StatusCode.NOT_FOUND
    assert (live.status, live.end) == ("NOT_FOUND", CallEnd.COMPLETED)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_an_interceptor_before_ours_gives_instead_is_the_live_legs(kind: str) -> None:
    code, live = live_leg(kind, "/a.B/Unary", Aio(b"instead") if is_aio(kind) else Sync(b"instead"))
    assert code is grpc.StatusCode.OK
    assert (live.status, live.end, live.message_count) == ("OK", CallEnd.COMPLETED, 1)


@pytest.mark.parametrize("method", ["/a.B/Unary", "/a.B/Stream"])
@pytest.mark.parametrize("kind", [*KINDS, "aio sync-servicer"])
def test_an_exception_that_nobody_catches_is_unknown(kind: str, method: str) -> None:
    code, live = live_leg(kind, method)
    assert code is grpc.StatusCode.UNKNOWN
    assert (live.status, live.end) == ("UNKNOWN", CallEnd.COMPLETED)
