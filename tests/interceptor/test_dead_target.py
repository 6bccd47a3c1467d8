"""A target that is dead costs the live calls nothing once its breaker is open, and every exchange is accounted for."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from support.meshes import CARRIERS, config, refusing_address, running_mesh, target
from support.resources import until
from support.scripts import script
from support.servers import Server, interceptor_of, live_server

from shadowmesh.build import Mesh
from shadowmesh.compare.comparison import compare
from shadowmesh.model import Leg
from shadowmesh.names import CallEnd, Decision, DropReason, Role
from shadowmesh.processor.funnel import Account
from shadowmesh.processor.pairing import Pairing
from shadowmesh.testing import Backend, ReceivedCall, SpanSink

OPEN = (Decision.DROPPED, DropReason.CIRCUIT_OPEN)
MIRRORED = (Decision.MIRRORED, "")
BREAKER: dict[str, Any] = {"window": "1h", "least_calls": 3, "open": "1h", "open_most": "1h", "probes": 2}
pytestmark = pytest.mark.parametrize(("kind", "carrier"), CARRIERS)


def decided(mesh: Mesh) -> Counter[tuple[str, str]]:
    return Counter({(key.decision, key.drop_reason): times for key, times in mesh.funnel().items()})


def call_until(mesh: Mesh, server: Server, wanted: tuple[str, str], *, beyond: int = 0, most: int = 5_000) -> None:
    """Make live calls until one more than ``beyond`` was decided so."""
    for _ in range(most):
        if decided(mesh)[wanted] > beyond:
            return
        assert server.call("unary_unary")(script(["send", "one"]), timeout=20) == b"one"
    raise AssertionError(f"no call of {most} was decided {wanted}: {decided(mesh)}")


def all_decided(mesh: Mesh) -> Counter[tuple[str, str]]:
    """Return the funnel when nothing waits to be counted."""
    assert until(lambda: mesh.status()["buffers"]["queue"]["used"] == 0)
    return decided(mesh)


def account(mesh: Mesh, legs: list[Leg]) -> Account:
    """Return what a processor would make of these legs and this funnel."""
    pairing, outcomes = Pairing(100_000, 60.0), Counter[str]()
    for leg in legs:
        _, ended = pairing.add(leg, 0.0)
        outcomes.update(compare(one.pair).outcome for one in ended)
    decisions, reasons = Counter[str](), Counter[str]()
    for (decision, reason), times in decided(mesh).items():
        decisions[decision] += times
        reasons.update({reason: times} if reason else {})
    return Account("x", "candidate", decisions, reasons, outcomes, sum(pairing.waiting().values()))


def check_conservation(mesh: Mesh, sink: SpanSink) -> list[Leg]:
    """Check that legs and funnel agree, word by word, and return the shadow legs in the order of their calls."""
    mesh.drain(20)
    # A shadow starts a moment after its call, and one that is shed at once: only live legs tell their order.
    called = {leg.pair_id: leg.started_ns for leg in sink.legs() if leg.role == Role.LIVE}
    shadows = sorted((leg for leg in sink.legs() if leg.role == Role.SHADOW), key=lambda leg: called[leg.pair_id])
    by_decision = Counter(leg.decision for leg in shadows)
    assert by_decision == Counter(account(mesh, []).decisions)
    assert account(mesh, sink.legs()).missing == 0
    assert account(mesh, sink.legs()).waiting == 0
    assert set(mesh.active().values()) == {0}
    assert (mesh.captured_bytes(), mesh.faults()) == (0, {})
    return shadows


def test_a_dead_target_opens_its_breaker_and_then_costs_no_shadow_and_no_capture(kind: str, carrier: str) -> None:
    with ExitStack() as stack:
        dead = target(stack.enter_context(refusing_address()), breaker=BREAKER, max_in_flight=1000)
        mesh, sink = stack.enter_context(running_mesh(config(dead), carrier))
        server = stack.enter_context(live_server(kind, lambda: [interceptor_of(kind, mesh)]))
        call_until(mesh, server, OPEN)
        before = all_decided(mesh)
        # Every arity, and one that is under way while we look.
        for arity in ("unary_unary", "stream_unary"):
            request: Any = script(["send", "one"])
            assert server.call(arity)(iter([request]) if arity.startswith("stream") else request, timeout=20) == b"one"
        requests = iter([script(["read"], ["send", "two"]), b"x" * 100_000])
        conversation = server.call("stream_stream")(requests, timeout=20)
        assert next(conversation).startswith(b"read x")
        # The calls before are soon recorded; the one under way holds nothing.
        assert until(lambda: mesh.captured_bytes() == 0)
        assert set(mesh.active().values()) == {0}
        assert list(conversation) == [b"two"]
        assert all_decided(mesh) == before + Counter({OPEN: 3})
        shadows = check_conservation(mesh, sink)
    ends = Counter((leg.status, leg.end, leg.drop_reason) for leg in shadows)
    assert ends[None, CallEnd.SHED, DropReason.CIRCUIT_OPEN] >= 4
    assert ends["UNAVAILABLE", CallEnd.COMPLETED, None] >= 3
    assert sum(ends.values()) == before.total() + 3


def test_a_target_that_recovers_is_probed_and_mirrored_again_and_the_funnel_adds_up(kind: str, carrier: str) -> None:
    healthy = threading.Event()

    def flaky(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        if not healthy.is_set():
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        yield b"well"

    with ExitStack() as stack:
        backend = stack.enter_context(Backend(flaky))
        quick = {**BREAKER, "open": "30ms", "open_most": "30ms"}
        mesh, sink = stack.enter_context(
            running_mesh(config(target(backend.address, breaker=quick, max_in_flight=1000)), carrier)
        )
        server = stack.enter_context(live_server(kind, lambda: [interceptor_of(kind, mesh)]))
        call_until(mesh, server, OPEN)
        healthy.set()

        def well() -> bool:
            """What comes while probes are under way is shed, and the funnel need not know of it."""
            call_until(mesh, server, MIRRORED, beyond=all_decided(mesh)[MIRRORED])
            return Counter(leg.status for leg in sink.legs())["OK"] >= 2 + 10

        assert until(well)
        call_until(mesh, server, MIRRORED, beyond=all_decided(mesh)[MIRRORED] + 10)
        shadows = check_conservation(mesh, sink)
    statuses = [leg.status for leg in shadows]
    assert statuses[0] == "UNAVAILABLE"
    assert statuses[-10:] == ["OK"] * 10
    # Mirrored by the funnel's word or shed by it: each has its leg, and what the engine shed names the same reason.
    assert {leg.drop_reason for leg in shadows if leg.end == CallEnd.SHED} == {DropReason.CIRCUIT_OPEN}


@pytest.mark.parametrize("arity", ["unary_unary", "unary_stream"])
def test_a_detached_shadow_outlives_a_live_call_that_was_cancelled(kind: str, carrier: str, arity: str) -> None:
    go = threading.Event()

    def held(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        go.wait(20)
        yield b"late"

    with ExitStack() as stack:
        backend = stack.enter_context(Backend(held))
        settings = config(target(backend.address, on_live_cancel="detach"))
        mesh, sink = stack.enter_context(running_mesh(settings, carrier))
        server = stack.enter_context(live_server(kind, lambda: [interceptor_of(kind, mesh)]))
        multicallable = server.call(arity)
        call = (multicallable if arity.endswith("stream") else multicallable.future)(script(["wait"]))
        server.log.wait_for("waiting")
        backend.wait_for_calls(1)
        call.cancel()
        server.release()
        server.log.wait_for("ended")
        go.set()
        sink.wait_for_legs(2)
        (shadow,) = check_conservation(mesh, sink)
        (live,) = (leg for leg in sink.legs() if leg.role == Role.LIVE)
    assert (live.status, live.end) == ("CANCELLED", CallEnd.CANCELLED)
    assert (shadow.status, shadow.end, shadow.complete) == ("OK", CallEnd.COMPLETED, True)
