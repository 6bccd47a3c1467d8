"""Other people's interceptors before and after ours, and calls that are none of our business."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import grpc
import grpc.aio
import pytest
from support.calls import ARITIES, SCENARIOS, see
from support.meshes import CARRIERS, config, running_mesh, target
from support.resources import until
from support.scripts import AioScripts, Log, SyncScripts, script
from support.servers import KINDS, interceptor_of, is_aio, live_server
from support.shadows import answering

from shadowmesh.names import META_INSTANCE, META_PAIR_ID, META_ROLE, META_TRACEPARENT, Decision, DropReason, Role
from shadowmesh.policy.funnel import FunnelKey
from shadowmesh.testing import Backend

CHAINED = ("answers", "echoes the request stream", "aborts after a message", "sets a status", "raises", "sees metadata")


class SyncNeighbour(grpc.ServerInterceptor):
    """Wraps the behaviour in the text-book way."""

    def __init__(self, name: str, log: list[str]) -> None:
        self._name = name
        self._log = log

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        arity = next(arity for arity in ARITIES if getattr(handler, arity))
        inner = getattr(handler, arity)

        def behaviour(request: Any, context: Any) -> Any:
            self._log.append(self._name)
            return inner(request, context)

        return getattr(grpc, f"{arity}_rpc_method_handler")(
            behaviour, handler.request_deserializer, handler.response_serializer
        )


class AioNeighbour(grpc.aio.ServerInterceptor):
    """Wraps the behaviour, and iterates over what streams, as most of them do."""

    def __init__(self, name: str, log: list[str]) -> None:
        self._name = name
        self._log = log

    async def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        arity = next(arity for arity in ARITIES if getattr(handler, arity))
        inner = getattr(handler, arity)

        async def one(request: Any, context: Any) -> Any:
            self._log.append(self._name)
            return await inner(request, context)

        async def stream(request: Any, context: Any) -> Any:
            self._log.append(self._name)
            async for message in inner(request, context):
                yield message

        return getattr(grpc, f"{arity}_rpc_method_handler")(
            stream if arity.endswith("stream") else one, handler.request_deserializer, handler.response_serializer
        )


def chain(kind: str, ours: Any, place: int, log: list[str]) -> Sequence[Any]:
    neighbour = AioNeighbour if is_aio(kind) else SyncNeighbour
    others: list[Any] = [neighbour("outer", log), neighbour("inner", log)]
    others.insert(place, ours)
    return others


@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "in the middle", "last"])
@pytest.mark.parametrize(("kind", "carrier"), [pair for pair in CARRIERS if pair[0] in ("sync", "aio")])
def test_our_place_in_a_chain_of_three_changes_nothing(kind: str, carrier: str, place: int) -> None:
    neighbour = AioNeighbour if is_aio(kind) else SyncNeighbour
    bare_log: list[str] = []
    with live_server(kind, lambda: [neighbour("outer", bare_log), neighbour("inner", bare_log)]) as server:
        expected = {(name, arity): see(server, arity, SCENARIOS[name]) for name in CHAINED for arity in ARITIES}
    with ExitStack() as stack:
        backend = stack.enter_context(Backend(answering, workers=64))
        mesh, sink = stack.enter_context(running_mesh(config(target(backend.address)), carrier))
        log: list[str] = []
        server = stack.enter_context(live_server(kind, lambda: chain(kind, interceptor_of(kind, mesh), place, log)))
        for (name, arity), seen in expected.items():
            assert see(server, arity, SCENARIOS[name]) == seen, f"{name}, {arity}"
        assert log == bare_log
        mesh.drain(10)
        assert mesh.faults() == {}
        legs = sink.legs()
        assert len(legs) == 2 * len(expected)
        statuses = [leg.status for leg in sorted(legs, key=lambda leg: leg.started_ns) if leg.role == Role.LIVE]
        assert statuses == [seen.code.name for seen in expected.values()]


def turning_away_sync(request: Any, context: grpc.ServicerContext) -> Any:
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")


async def turning_away_aio(request: Any, context: Any) -> Any:
    await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")


class SyncBouncer(grpc.ServerInterceptor):
    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
        return grpc.unary_unary_rpc_method_handler(
            turning_away_sync, handler.request_deserializer, handler.response_serializer
        )


class AioBouncer(grpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        return grpc.unary_unary_rpc_method_handler(
            turning_away_aio, handler.request_deserializer, handler.response_serializer
        )


@pytest.mark.parametrize(("kind", "carrier"), [pair for pair in CARRIERS if pair[0] in ("sync", "aio")])
def test_a_call_that_an_interceptor_before_ours_turns_away_has_no_legs_and_is_counted(kind: str, carrier: str) -> None:
    with Backend(answering) as backend, running_mesh(config(target(backend.address)), carrier) as (mesh, sink):
        bouncer = AioBouncer() if is_aio(kind) else SyncBouncer()
        with live_server(kind, lambda: [bouncer, interceptor_of(kind, mesh)]) as server:
            assert see(server, "unary_unary", [["send", "x"]]).code is grpc.StatusCode.PERMISSION_DENIED
        mesh.drain(5)
        assert sink.legs() == []
        assert mesh.funnel() == {FunnelKey("x", "candidate", Decision.DROPPED, DropReason.NOT_STARTED): 1}
        assert set(mesh.active().values()) == {0}


class Probe:
    """Keeps the handler object that our interceptor returned."""

    def __init__(self) -> None:
        self.handlers: list[Any] = []


class SyncProbe(Probe, grpc.ServerInterceptor):
    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        self.handlers.append(continuation(handler_call_details))
        return self.handlers[-1]


class AioProbe(Probe, grpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        self.handlers.append(await continuation(handler_call_details))
        return self.handlers[-1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("why", ["not covered", "not sampled", "marked"])
def test_a_call_that_is_not_mirrored_gets_the_untouched_handler(kind: str, why: str) -> None:
    outside, inside = (AioProbe(), AioProbe()) if is_aio(kind) else (SyncProbe(), SyncProbe())
    methods = ("/other.Service/*",) if why == "not covered" else ("*",)
    settings = config(target("127.0.0.1:1", rate=0.0 if why == "not sampled" else 1.0), methods=methods)
    with running_mesh(settings) as (mesh, sink):
        with live_server(kind, lambda: [outside, interceptor_of(kind, mesh), inside]) as server:
            metadata = ((META_ROLE, Role.SHADOW),) if why == "marked" else ()
            assert server.call("unary_unary")(script(["send", "x"]), metadata=metadata, timeout=20) == b"x"
        assert outside.handlers[0] is inside.handlers[0]
        assert sink.legs() == []
        assert (
            mesh.funnel()
            == {
                "not covered": {},
                "not sampled": {FunnelKey("x", "candidate", Decision.NOT_SAMPLED, ""): 1},
                "marked": {FunnelKey("x", "candidate", Decision.DISABLED, DropReason.MARKED): 1},
            }[why]
        )


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_method_stays_unimplemented(kind: str) -> None:
    with running_mesh(config(target("127.0.0.1:1"))) as (mesh, _):
        with live_server(kind, lambda: [interceptor_of(kind, mesh)]) as server:
            unknown: Any = server.channel.unary_unary("/test.Scripted/none")
            with pytest.raises(grpc.RpcError) as refused:
                unknown(b"", timeout=20)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert mesh.funnel() == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_shadow_is_marked_and_carries_its_own_span_and_only_allowed_metadata(kind: str) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    with Backend(answering) as backend:
        settings = config(target(backend.address, metadata=["x-tenant", "x-raw-*"], deadline="7s"))
        with running_mesh(settings) as (mesh, sink):
            with live_server(kind, lambda: [interceptor_of(kind, mesh)]) as server:
                sent = (
                    ("x-tenant", "a"),
                    ("x-tenant", "b"),
                    ("x-raw-bin", b"\x00\xff"),
                    ("x-other", "no"),
                    ("authorization", "secret"),
                    (META_TRACEPARENT, parent),
                    ("tracestate", "k=v"),
                )
                server.call("unary_unary")(script(["send", "x"]), metadata=sent, timeout=20)
                call = backend.wait_for_calls(1)[0]
            mesh.drain(10)
            live, shadow = sorted(sink.legs(), key=lambda leg: leg.role)
        got = dict(call.metadata)
        assert [entry for entry in call.metadata if entry[0].startswith("x-") and "shadowmesh" not in entry[0]] == [
            ("x-tenant", "a"),
            ("x-tenant", "b"),
            ("x-raw-bin", b"\x00\xff"),
        ]
        assert "authorization" not in got
        assert got[META_ROLE] == Role.SHADOW
        assert got[META_PAIR_ID] == live.pair_id == shadow.pair_id
        assert got[META_INSTANCE]
        # The caller's trace, the shadow's own span, and the caller's decision not to sample, passed on.
        assert got[META_TRACEPARENT] == f"00-0af7651916cd43dd8448eb211c80319c-{shadow.span_id:016x}-00"
        assert got["tracestate"] == "k=v"
        assert live.span_id != shadow.span_id
        assert call.deadline is not None
        assert 5 < call.deadline < 7.5
        inbound = next(span for span in sink.spans if span.kind.name == "SERVER")
        assert inbound.parent is not None
        assert f"{inbound.parent.span_id:016x}" == "b7ad6b7169203331"
        assert live.parent_span_id == shadow.parent_span_id == inbound.context.span_id
        shadow_span = next(span for span in sink.spans if span.context.span_id == shadow.span_id)
        assert [link.context.span_id for link in shadow_span.links] == [live.span_id]


@pytest.mark.parametrize("kind", KINDS)
def test_two_servers_that_mirror_to_each_other_stop_after_one_shadow(kind: str) -> None:
    with ExitStack() as stack:
        log_a, log_b = Log(), Log()
        scripts = AioScripts if is_aio(kind) else SyncScripts
        b_mesh, _ = stack.enter_context(running_mesh(config(target("127.0.0.1:1"))))
        b = stack.enter_context(live_server(kind, lambda: [interceptor_of(kind, b_mesh)], handler=scripts(log_b)))
        a_mesh, a_sink = stack.enter_context(running_mesh(config(target(f"127.0.0.1:{b.port}"))))
        a = stack.enter_context(live_server(kind, lambda: [interceptor_of(kind, a_mesh)], handler=scripts(log_a)))
        a.call("unary_unary")(script(["send", "x"]), timeout=20)
        legs = a_sink.wait_for_legs(2)
        assert {leg.status for leg in legs} == {"OK"}
        assert b_mesh.funnel() == {FunnelKey("x", "candidate", Decision.DISABLED, DropReason.MARKED): 1}


def blocking(event: Any) -> Any:
    def play(call: Any, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        event.wait(20)
        yield b"done"

    return play


@pytest.mark.parametrize(("kind", "carrier"), CARRIERS)
def test_what_does_not_fit_is_shed_with_its_reason_and_has_a_leg_that_says_so(kind: str, carrier: str) -> None:
    release = threading.Event()
    with Backend(blocking(release)) as backend:
        settings = config(target(backend.address, max_in_flight=2))
        settings = settings.model_copy(
            update={"mirror": settings.mirror.model_copy(update={"max_message_bytes": 1000})}
        )
        with running_mesh(settings, carrier) as (mesh, sink):
            with live_server(kind, lambda: [interceptor_of(kind, mesh)]) as server:
                for _ in range(5):
                    see(server, "unary_unary", [["send", "x"]])
                backend.wait_for_calls(2)
                see(server, "unary_unary", [["send", "x" * 2000]])
                # Who gets a place is decided behind the calls, some at a time.
                assert until(lambda: sum(mesh.funnel().values()) >= 6)
                release.set()
                # While the server's loop still runs: with the carrier `loop` it is the mirror's as well.
                mesh.drain(10)
            shadows = [leg for leg in sink.legs() if leg.role == Role.SHADOW]
            assert mesh.funnel() == {
                FunnelKey("x", "candidate", Decision.MIRRORED, ""): 2,
                FunnelKey("x", "candidate", Decision.DROPPED, DropReason.CONCURRENCY_LIMIT): 3,
                FunnelKey("x", "candidate", Decision.DROPPED, DropReason.OVERSIZE): 1,
            }
            assert sorted((leg.drop_reason or "", leg.end) for leg in shadows) == sorted(
                [("", "completed")] * 2 + [("concurrency_limit", "shed")] * 3 + [("oversize", "shed")]
            )
            assert set(mesh.active().values()) == {0}
            assert mesh.captured_bytes() == 0
