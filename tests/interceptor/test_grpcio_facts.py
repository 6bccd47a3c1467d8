"""Facts about grpcio that the interceptor stands on; what the other files here do not show already."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import grpc.aio
import pytest
from opentelemetry import trace
from support.meshes import CARRIERS, config, running_mesh, target
from support.scripts import script
from support.servers import interceptor_of, is_aio, live_server
from support.shadows import answering

from shadowmesh.names import Decision, DropReason, Role
from shadowmesh.policy.funnel import FunnelKey
from shadowmesh.testing import Backend

PLAIN = [pair for pair in CARRIERS if pair[0] in ("sync", "aio") and pair[1] != "wire"]


class One(grpc.GenericRpcHandler):
    """Serves every method by one handler."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handler


def unary(behaviour: Callable[..., Any], **serializers: Any) -> grpc.GenericRpcHandler:
    return One(grpc.unary_unary_rpc_method_handler(behaviour, **serializers))


def failing(data: bytes) -> Any:
    raise ValueError("no")


def outcome(multicallable: Any, arity: str) -> tuple[str, str | None, Any]:
    try:
        answer = multicallable(b"hi", timeout=10)
        return "OK", None, answer if arity == "unary_unary" else list(answer)
    except grpc.RpcError as error:
        return error.code().name, error.details(), None


def both_ways(kind: str, carrier: str, handler: grpc.GenericRpcHandler, arity: str = "unary_unary") -> tuple[Any, Any]:
    """Return what a client gets without us, and with us; and check that with us both legs came."""
    results = []
    for mirrored in (False, True):
        with Backend(answering) as backend, running_mesh(config(target(backend.address)), carrier) as (mesh, _):
            interceptors = (lambda mesh=mesh: [interceptor_of(kind, mesh)]) if mirrored else (list)
            with live_server(kind, interceptors, handler=handler) as server:
                multicallable: Any = getattr(server.channel, arity)("/a.B/c")
                results.append(outcome(multicallable, arity))
                mesh.drain(10)
            assert mesh.faults() == {}
            assert set(mesh.active().values()) <= {0}
    return results[0], results[1]


@pytest.mark.parametrize(("kind", "carrier"), PLAIN)
def test_a_request_that_cannot_be_deserialised_fails_as_it_does_without_us(kind: str, carrier: str) -> None:
    async def coroutine(request: Any, context: Any) -> bytes:
        return b""

    handler = unary(coroutine if is_aio(kind) else lambda request, context: b"", request_deserializer=failing)
    bare, ours = both_ways(kind, carrier, handler)
    assert ours == bare
    assert ours[0] == ("UNKNOWN" if is_aio(kind) else "INTERNAL")


@pytest.mark.parametrize(("kind", "carrier"), PLAIN)
def test_a_response_that_cannot_be_serialised_fails_as_it_does_without_us(kind: str, carrier: str) -> None:
    async def coroutine(request: Any, context: Any) -> bytes:
        return b"x"

    handler = unary(coroutine if is_aio(kind) else lambda request, context: b"x", response_serializer=failing)
    bare, ours = both_ways(kind, carrier, handler)
    assert ours == bare
    assert ours[0] == ("UNKNOWN" if is_aio(kind) else "INTERNAL")


@pytest.mark.parametrize(("kind", "carrier"), PLAIN)
def test_a_handler_that_returns_none_fails_as_it_does_without_us(kind: str, carrier: str) -> None:
    async def coroutine(request: Any, context: Any) -> None:
        return None

    bare, ours = both_ways(kind, carrier, unary(coroutine if is_aio(kind) else lambda request, context: None))
    assert ours == bare


@pytest.mark.parametrize(("kind", "carrier"), PLAIN)
def test_partials_are_told_apart_as_grpc_tells_them_apart(kind: str, carrier: str) -> None:
    async def coroutine(prefix: bytes, request: bytes, context: Any) -> bytes:
        return prefix + request

    async def generator(prefix: bytes, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield prefix + request

    def plain(prefix: bytes, request: bytes, context: Any) -> bytes:
        return prefix + request

    def iterator(prefix: bytes, request: bytes, context: Any) -> Iterator[bytes]:
        return iter([prefix + request])

    one, many = (coroutine, generator) if is_aio(kind) else (plain, iterator)
    bare, ours = both_ways(kind, carrier, unary(functools.partial(one, b"> ")))
    assert ours == bare == ("OK", None, b"> hi")
    streaming = One(grpc.unary_stream_rpc_method_handler(functools.partial(many, b"> ")))
    bare, ours = both_ways(kind, carrier, streaming, "unary_stream")
    assert ours == bare == ("OK", None, [b"> hi"])


@pytest.mark.parametrize("carrier", ["thread"])
def test_a_response_stream_that_is_no_iterator_fails_as_it_does_without_us(carrier: str) -> None:
    handler = One(grpc.unary_stream_rpc_method_handler(lambda request, context: [b"a list"]))
    bare, ours = both_ways("sync", carrier, handler, "unary_stream")
    assert ours == bare
    assert ours[0] == "UNKNOWN"


def test_a_handler_that_takes_a_callback_stays_untouched_and_is_counted() -> None:
    def behaviour(request: bytes, context: Any, send: Callable[[Any], None]) -> None:
        send(b"one")
        send(None)

    behaviour.experimental_non_blocking = True  # type: ignore[attr-defined]
    handler = One(grpc.unary_stream_rpc_method_handler(behaviour))
    with running_mesh(config(target("127.0.0.1:1"))) as (mesh, sink):
        with live_server("sync", lambda: [interceptor_of("sync", mesh)], handler=handler) as server:
            multicallable: Any = server.channel.unary_stream("/a.B/c")
            assert list(multicallable(b"", timeout=10)) == [b"one"]
        assert mesh.funnel() == {FunnelKey("x", "candidate", Decision.DROPPED, DropReason.UNSUPPORTED_HANDLER): 1}
        assert sink.legs() == []


@pytest.mark.parametrize(("kind", "carrier"), PLAIN)
def test_a_context_attribute_survives_where_grpc_lets_it(kind: str, carrier: str) -> None:
    def sync(request: bytes, context: Any) -> bytes:
        context.tenant = "t"
        return bytes(context.tenant, "ascii")

    async def aio(request: bytes, context: Any) -> bytes:
        try:
            context.tenant = "t"
        except AttributeError:
            return b"refused"
        return b"kept"

    bare, ours = both_ways(kind, carrier, unary(aio if is_aio(kind) else sync))
    assert ours == bare


@pytest.mark.parametrize(("kind", "carrier"), PLAIN)
def test_an_abort_that_the_handler_swallows_still_ends_the_call_with_its_status(kind: str, carrier: str) -> None:
    def sync(request: bytes, context: Any) -> bytes:
        try:
            context.abort(grpc.StatusCode.NOT_FOUND, "first")
        except Exception:  # noqa: BLE001 - what abort raises on a synchronous server
            context.abort(grpc.StatusCode.INTERNAL, "second")
        return b""

    async def aio(request: bytes, context: Any) -> bytes:
        with contextlib.suppress(grpc.aio.AbortError):
            await context.abort(grpc.StatusCode.NOT_FOUND, "first")
        return b"swallowed"

    bare, ours = both_ways(kind, carrier, unary(aio if is_aio(kind) else sync))
    assert ours == bare


@pytest.mark.parametrize(("kind", "carrier"), PLAIN)
def test_a_large_message_reaches_the_client_whole_and_is_not_mirrored(kind: str, carrier: str) -> None:
    with Backend(answering) as backend, running_mesh(config(target(backend.address)), carrier) as (mesh, sink):

        async def aio(request: bytes, context: Any) -> bytes:
            return request

        handler = unary(aio if is_aio(kind) else lambda request, context: request)
        with live_server(kind, lambda: [interceptor_of(kind, mesh)], handler=handler) as server:
            big = b"x" * (4 * 1024 * 1024 - 100)
            multicallable: Any = server.channel.unary_unary("/a.B/c")
            assert multicallable(big, timeout=20) == big
            mesh.drain(10)
        statuses = {leg.role: leg.status for leg in sink.legs()}
        assert statuses[Role.LIVE] == "OK"
        assert mesh.captured_bytes() == 0


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_it_lives_beside_the_opentelemetry_instrumentation_and_makes_no_second_server_span(kind: str) -> None:
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.grpc")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    theirs = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(theirs))
    with Backend(answering) as backend, running_mesh(config(target(backend.address))) as (mesh, sink):
        interceptor = (
            instrumentation.aio_server_interceptor(tracer_provider=provider)
            if is_aio(kind)
            else instrumentation.server_interceptor(tracer_provider=provider)
        )

        async def aio(request: bytes, context: Any) -> bytes:
            return request

        handler = unary(aio if is_aio(kind) else lambda request, context: request)
        with live_server(kind, lambda: [interceptor, interceptor_of(kind, mesh)], handler=handler) as server:
            multicallable: Any = server.channel.unary_unary("/a.B/c")
            assert multicallable(b"hi", timeout=10) == b"hi"
            mesh.drain(10)
        (server_span,) = theirs.get_finished_spans()
        legs = sink.legs()
        assert len(legs) == 2
        assert {leg.trace_id for leg in legs} == {server_span.context.trace_id}
        assert {leg.parent_span_id for leg in legs} == {server_span.context.span_id}
        assert [span for span in sink.spans if span.kind.name == "SERVER"] == []


def refusing_after_one(call: Any, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    next(requests)
    yield from ()
    context.abort(grpc.StatusCode.NOT_FOUND, "enough")


@pytest.mark.parametrize(("kind", "carrier"), PLAIN)
def test_a_shadow_that_ends_a_request_stream_early_keeps_its_own_status(kind: str, carrier: str) -> None:
    """grpc.aio would report INTERNAL for many of these (grpc/grpc#36066)."""
    with Backend(refusing_after_one, workers=64) as backend, ExitStack() as stack:
        mesh, sink = stack.enter_context(running_mesh(config(target(backend.address, max_in_flight=100)), carrier))
        server = stack.enter_context(live_server(kind, lambda: [interceptor_of(kind, mesh)]))
        for _ in range(25):
            requests = iter([script(["read_all"]), *[b"x" * 1000] * 20])
            assert len(list(server.call("stream_stream")(requests, timeout=20))) == 20
        mesh.drain(10)
        shadows = [leg for leg in sink.legs() if leg.role == Role.SHADOW]
    assert [leg.status for leg in shadows] == ["NOT_FOUND"] * 25


@pytest.mark.parametrize(("kind", "carrier"), PLAIN)
def test_the_current_span_of_a_handler_is_the_one_it_would_have_without_us(kind: str, carrier: str) -> None:
    def span_id() -> bytes:
        return str(trace.get_current_span().get_span_context().span_id).encode()

    async def aio(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(3):
            yield span_id()

    def sync(request: bytes, context: Any) -> Iterator[bytes]:
        for _ in range(3):
            yield span_id()

    handler = One(grpc.unary_stream_rpc_method_handler(aio if is_aio(kind) else sync))
    bare, ours = both_ways(kind, carrier, handler, "unary_stream")
    assert ours == bare == ("OK", None, [b"0"] * 3)
