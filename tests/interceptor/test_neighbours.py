"""Neighbours that do unusual things: what they and the client see is what they would see without us."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio
import pytest
from support.meshes import config, running_mesh, target
from support.servers import interceptor_of, is_aio, live_server
from support.shadows import answering

from shadowmesh.model import Leg
from shadowmesh.names import CallEnd, Role
from shadowmesh.testing import Backend, echo

COLOURS = ("sync", "aio")


class One(grpc.GenericRpcHandler):
    """Serves every method by one handler."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handler


class SyncOuter(grpc.ServerInterceptor):
    """Puts what ``wrap`` makes of a handler in its place."""

    def __init__(self, wrap: Callable[[Any], Any]) -> None:
        self._wrap = wrap

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        return self._wrap(continuation(handler_call_details))


class AioOuter(grpc.aio.ServerInterceptor):
    """Puts what ``wrap`` makes of a handler in its place."""

    def __init__(self, wrap: Callable[[Any], Any]) -> None:
        self._wrap = wrap

    async def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        return self._wrap(await continuation(handler_call_details))


def legs_of(
    kind: str, handler: Any, call: Callable[[grpc.Channel], Any], wrap: Callable[[Any], Any] | None = None
) -> tuple[Any, Leg, Backend]:
    """Make one call through our interceptor, ``wrap`` before it; return what came, the live leg and the shadow."""
    outer = AioOuter if is_aio(kind) else SyncOuter
    with Backend(echo) as backend, running_mesh(config(target(backend.address))) as (mesh, sink):
        chain = [outer(wrap)] if wrap is not None else []
        with live_server(kind, lambda: [*chain, interceptor_of(kind, mesh)], handler=One(handler)) as server:
            answer = call(server.channel)
            mesh.drain(2)
        assert mesh.faults() == {}
        assert mesh.captured_bytes() == 0
        return answer, next(leg for leg in sink.legs() if leg.role == Role.LIVE), backend


class NoCode:
    """A context of somebody's that passes on only what its author thought of."""

    def __init__(self, context: Any) -> None:
        self.time_remaining = context.time_remaining
        self.invocation_metadata = context.invocation_metadata
        if hasattr(context, "add_callback"):
            self.add_callback = context.add_callback
            self.is_active = context.is_active


@pytest.mark.parametrize("kind", COLOURS)
def test_a_context_that_hides_the_status_costs_the_status_and_not_the_call(kind: str) -> None:
    async def aio(request: bytes, context: Any) -> bytes:
        return request

    def wrap(handler: Any) -> Any:
        inner = handler.unary_unary

        async def hiding(request: Any, context: Any) -> Any:
            return await inner(request, NoCode(context))

        return grpc.unary_unary_rpc_method_handler(
            hiding if is_aio(kind) else lambda request, context: inner(request, NoCode(context)),
            handler.request_deserializer,
            handler.response_serializer,
        )

    handler: Any = grpc.unary_unary_rpc_method_handler(aio if is_aio(kind) else lambda request, context: request)
    answer, live, _ = legs_of(kind, handler, lambda channel: _unary(channel, b"hi"), wrap)
    assert answer == b"hi"
    assert live.end == CallEnd.COMPLETED


def _unary(channel: grpc.Channel, request: bytes) -> Any:
    call: Any = channel.unary_unary("/a.B/c")
    return call(request, timeout=10)


def _stream(channel: grpc.Channel, request: Any, arity: str = "unary_stream") -> list[bytes]:
    call: Any = getattr(channel, arity)("/a.B/c")
    return list(call(request, timeout=10))


def test_a_handler_may_close_its_request_iterator() -> None:
    async def first_of(requests: AsyncIterator[bytes], context: Any) -> bytes:
        async with aclosing(aiter(requests)) as messages:  # type: ignore[type-var]
            async for message in messages:
                return bytes(message)
        return b""

    def call(channel: grpc.Channel) -> Any:
        multicallable: Any = channel.stream_unary("/a.B/c")
        return multicallable(iter([b"one", b"two"]), timeout=10)

    assert legs_of("aio", grpc.stream_unary_rpc_method_handler(first_of), call)[0] == b"one"


def test_a_synchronous_handler_on_an_aio_server_may_return_a_list() -> None:
    handler: Any = grpc.unary_stream_rpc_method_handler(lambda request, context: [b"1", b"2"])
    answer, live, _ = legs_of("aio sync-servicer", handler, lambda channel: _stream(channel, b"hi"))
    assert answer == [b"1", b"2"]
    assert live.status == "OK"


@pytest.mark.parametrize("kind", COLOURS)
def test_an_interceptor_before_ours_still_reads_the_marks_on_a_handler(kind: str) -> None:
    async def aio(request: bytes, context: Any) -> bytes:
        return request

    def sync(request: bytes, context: Any) -> bytes:
        return request

    behaviour: Any = aio if is_aio(kind) else sync
    behaviour.role_required = "admin"
    seen: list[tuple[str, str]] = []

    def wrap(handler: Any) -> Any:
        seen.append((handler.unary_unary.role_required, handler.unary_unary.__name__))
        return handler

    legs_of(kind, grpc.unary_unary_rpc_method_handler(behaviour), lambda channel: _unary(channel, b"hi"), wrap)
    assert seen == [("admin", behaviour.__name__)]


@pytest.mark.parametrize("kind", COLOURS)
def test_a_request_that_an_interceptor_before_ours_has_read_reaches_the_shadow_too(kind: str) -> None:
    async def join_aio(requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"".join([message async for message in requests])

    def wrap(handler: Any) -> Any:
        inner = handler.stream_unary

        async def peeking_aio(requests: Any, context: Any) -> Any:
            first = await anext(aiter(requests))

            async def all_of_them() -> AsyncIterator[bytes]:
                yield first
                async for message in requests:
                    yield message

            return await inner(all_of_them(), context)

        def peeking(requests: Any, context: Any) -> Any:
            first = next(requests)

            def all_of_them() -> Iterator[bytes]:
                yield first
                yield from requests

            return inner(all_of_them(), context)

        return grpc.stream_unary_rpc_method_handler(
            peeking_aio if is_aio(kind) else peeking, handler.request_deserializer, handler.response_serializer
        )

    handler: Any = grpc.stream_unary_rpc_method_handler(
        join_aio if is_aio(kind) else lambda requests, context: b"".join(requests)
    )

    def call(channel: grpc.Channel) -> Any:
        multicallable: Any = channel.stream_unary("/a.B/c")
        return multicallable(iter([b"a", b"b", b"c"]), timeout=10)

    answer, _, backend = legs_of(kind, handler, call, wrap)
    assert answer == b"abc"
    assert backend.calls[0].requests == [b"a", b"b", b"c"]


@pytest.mark.parametrize("kind", COLOURS)
def test_a_stream_that_an_interceptor_before_ours_ends_early_is_not_called_cancelled(kind: str) -> None:
    async def many_aio(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(3):
            yield request

    def many(request: bytes, context: Any) -> Iterator[bytes]:
        for _ in range(3):
            yield request

    def wrap(handler: Any) -> Any:
        inner = handler.unary_stream

        async def enough_aio(request: Any, context: Any) -> AsyncIterator[bytes]:
            messages = inner(request, context)
            yield await anext(messages)
            await messages.aclose()

        def enough(request: Any, context: Any) -> Iterator[bytes]:
            yield next(inner(request, context))

        return grpc.unary_stream_rpc_method_handler(
            enough_aio if is_aio(kind) else enough, handler.request_deserializer, handler.response_serializer
        )

    handler: Any = grpc.unary_stream_rpc_method_handler(many_aio if is_aio(kind) else many)
    answer, live, _ = legs_of(kind, handler, lambda channel: _stream(channel, b"hi"), wrap)
    assert answer == [b"hi"]
    assert (live.status, live.end) == (None, CallEnd.CUT)


def test_a_response_that_is_none_ends_as_the_server_ends_it() -> None:
    async def aio(request: bytes, context: Any) -> None:
        return None

    answer, live, _ = legs_of("aio", grpc.unary_unary_rpc_method_handler(aio), lambda channel: _unary(channel, b"hi"))
    assert (answer, live.status) == (b"", "OK")

    def refused(channel: grpc.Channel) -> str:
        with pytest.raises(grpc.RpcError) as error:
            _unary(channel, b"hi")
        return str(error.value.code().name)

    handler: Any = grpc.unary_unary_rpc_method_handler(lambda request, context: None)
    code, live, _ = legs_of("sync", handler, refused)
    assert code == live.status == "INTERNAL"


FORKING = """
import os, sys
from concurrent import futures
import grpc
import shadowmesh

mesh = shadowmesh.Mesh.from_file(sys.argv[1])
mesh.interceptor()
mesh.start()
child = os.fork()
if child == 0:
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
mesh.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_from_a_running_mesh_ends_like_any_other(tmp_path: Any) -> None:
    file = tmp_path / "shadowmesh.yaml"
    file.write_text(config(target("127.0.0.1:1")).model_dump_json())
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "7\n"), result.stderr


def test_a_second_event_loop_goes_on_where_the_first_one_ended() -> None:
    """The carrier ``loop`` binds to the loop that is there, and to the next one after that is closed."""
    with Backend(answering) as backend, running_mesh(config(target(backend.address)), "loop") as (mesh, sink):
        interceptor = mesh.aio_interceptor()

        async def aio(request: bytes, context: Any) -> bytes:
            return request

        handler = One(grpc.unary_unary_rpc_method_handler(aio))
        for number in (1, 2):
            with live_server("aio", lambda: [interceptor], handler=handler) as server:
                assert _unary(server.channel, b"hi") == b"hi"
                backend.wait_for_calls(number)
                sink.wait_for_legs(2 * number)
        assert sum(mesh.funnel().values()) == 2
