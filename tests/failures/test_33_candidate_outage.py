"""33. An outage of the candidate: its breaker opens, probes and closes; who shares its node is protected from it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from time import monotonic
from typing import Any

import grpc
import pytest
from support import peers
from support.experiments import GENERATE
from support.meshes import target
from support.models import Model, RefusalError
from support.resources import until
from support.shadows import answering
from support.traffic import Traffic
from support.wire import request
from support.worlds import WORLDS, World, world

from shadowmesh.names import Decision, DropReason
from shadowmesh.testing import Backend, ReceivedCall

PLACES = (("sync", "thread"), ("aio", "loop"), ("sync", "process"))
STORM, CLIENTS, IN_FLIGHT = 100, 8, 6
BREAKER: dict[str, Any] = {"window": "1h", "least_calls": 10, "open": "1h", "open_most": "1h", "probes": 2}
MIRRORED, OPEN = (Decision.MIRRORED, ""), (Decision.DROPPED, DropReason.CIRCUIT_OPEN)


def failing(status: str) -> Callable[..., Iterator[bytes]]:
    def play(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        yield from ()
        context.abort(grpc.StatusCode[status], "out of order")

    return play


def never(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    yield from ()
    call.ended.wait(20)


def told(it: World, name: str = "candidate") -> str | None:
    """Return why the status says that a target gets nothing."""
    targets = it.mesh.status()["experiments"][0]["targets"]
    reason: str | None = next(one["shed_reason"] for one in targets if one["name"] == name)
    return reason


def run(it: World, traffic: Traffic, calls: int) -> None:
    """Make calls, and wait until it is known of all what becomes of their shadows: that is counted behind the calls."""
    traffic.run(calls)
    assert until(lambda: set(it.counted().values()) == {traffic.made}), it.mesh.funnel()


@pytest.mark.parametrize("outage", ["refuses connections", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "never answers"])
@pytest.mark.parametrize(("kind", "carrier"), PLACES)
def test_in_a_storm_of_calls_a_broken_candidate_gets_a_few_and_its_neighbour_all(
    kind: str, carrier: str, outage: str
) -> None:
    with ExitStack() as stack:
        well = stack.enter_context(Backend(answering, workers=64))
        sick = None
        if outage == "refuses connections":
            address = stack.enter_context(peers.refused())
        else:
            sick = stack.enter_context(Backend(never if outage == "never answers" else failing(outage), workers=32))
            address = sick.address
        broken = target(address, breaker=BREAKER, max_in_flight=IN_FLIGHT, deadline="150ms")
        it = stack.enter_context(world(kind, carrier, broken, target(well.address, "well", max_in_flight=10_000)))
        traffic = Traffic(it.server, clients=CLIENTS)

        def opened() -> bool:
            run(it, traffic, CLIENTS)
            return told(it) == DropReason.CIRCUIT_OPEN

        assert until(opened, 30)
        reached = it.decided()[MIRRORED]
        traffic.run(STORM)
        assert traffic.failures == []
        it.mesh.drain(10)
        assert it.decided()[OPEN] >= STORM
        # Those that were under way when it opened, and not one of the storm.
        assert it.decided()[MIRRORED] <= reached + IN_FLIGHT
        assert reached <= BREAKER["least_calls"] + IN_FLIGHT + CLIENTS
        assert sick is None or len(sick.calls) <= it.decided()[MIRRORED]
        assert it.decided("well") == {MIRRORED: it.counted()["well"]}
        assert len(well.calls) == it.counted()["well"] == it.counted()["candidate"]


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_when_the_outage_is_over_a_few_probes_find_out_and_everything_flows_again(kind: str, carrier: str) -> None:
    healthy = threading.Event()

    def flaky(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        return (answering if healthy.is_set() else failing("UNAVAILABLE"))(call, requests, context)

    quick = {**BREAKER, "open": "50ms", "open_most": "50ms"}
    with (
        Backend(flaky, workers=64) as backend,
        world(kind, carrier, target(backend.address, breaker=quick, max_in_flight=10_000)) as it,
    ):
        traffic = Traffic(it.server, clients=CLIENTS)
        # The calls of the time in which a worker starts would be thousands, and more than it exports before it ends.
        traffic.run(1)
        it.sink.wait_for_legs(2)

        def shut_out() -> bool:
            traffic.run(CLIENTS)
            return it.decided().get(OPEN, 0) > STORM

        assert until(shut_out, 30)
        healthy.set()

        def flows() -> bool:
            before = it.decided()
            run(it, traffic, STORM)
            # Only when the probes are over is it known what they have shown.
            assert until(lambda: not any(it.mesh.active().values()))
            return it.decided()[OPEN] == before[OPEN] and told(it) is None

        assert until(flows, 30)
        # Of the storm before, some may have been shed behind the probes, which the funnel knows nothing of.
        run(it, traffic, STORM)
        assert traffic.failures == []
        it.mesh.drain(10)

        def answered() -> int:
            return Counter(leg.status for leg in it.sink.legs() if leg.target == "candidate")["OK"]

        # What a drain leaves to be exported arrives a little later.
        assert until(lambda: answered() >= STORM)


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_however_hard_the_storm_the_candidate_s_node_has_no_more_shadows_than_it_may(kind: str, carrier: str) -> None:
    running, peak, changing = 0, 0, threading.Lock()

    def works(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        nonlocal running, peak
        with changing:
            running += 1
            peak = max(peak, running)
        call.ended.wait(0.02)
        with changing:
            running -= 1
        yield b"".join(requests)

    with (
        Backend(works, workers=64) as backend,
        world(kind, carrier, target(backend.address, max_in_flight=IN_FLIGHT)) as it,
    ):
        traffic = Traffic(it.server, clients=4 * IN_FLIGHT)
        traffic.run(STORM)
        assert traffic.failures == []
        it.mesh.drain(10)
        assert it.decided()[Decision.DROPPED, DropReason.CONCURRENCY_LIMIT] > 0
    assert 1 <= peak <= IN_FLIGHT


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_shadow_that_takes_the_live_model_its_memory_is_stopped_for_good(kind: str, carrier: str) -> None:
    busy = threading.Event()

    def works(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        busy.set()
        call.ended.wait(0.005)
        busy.clear()
        yield b"".join(requests)

    def answer(data: bytes) -> bytes:
        if busy.is_set():
            raise RefusalError(grpc.StatusCode.RESOURCE_EXHAUSTED, "no memory left")
        return data

    guard = {"enabled": True, "slot": "50ms", "one_off_in": 4, "alpha": 0.5, "error_margin": 0.0}
    with (
        Backend(works) as backend,
        world(
            kind,
            carrier,
            target(backend.address, max_in_flight=1),
            handler=Model(kind, answer),
            mirror={"harm_guard": guard},
        ) as it,
    ):
        live: Any = it.server.channel.unary_unary(GENERATE)
        deadline = monotonic() + 120
        while it.mesh.status()["harm_guard"]["harm"] != "errors":
            assert monotonic() < deadline, it.mesh.status()["harm_guard"]
            with suppress(grpc.RpcError):
                live(request(), timeout=20)
        assert until(lambda: not any(it.mesh.active().values()))
        busy.clear()
        sent, stopped = len(backend.calls), (Decision.DISABLED, DropReason.HARM)
        before = it.decided().get(stopped, 0)
        for _ in range(50):
            assert live(request(), timeout=20) == request()
        assert (it.decided()[stopped], len(backend.calls)) == (before + 50, sent)
