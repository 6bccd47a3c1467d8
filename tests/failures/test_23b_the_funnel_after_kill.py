"""23b. The funnel reconciles after kill -9 of the child: the live process owns it, and knows what was lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import grpc
import pytest
from support.calls import ARITIES, SCENARIOS, see
from support.meshes import target
from support.resources import children, until
from support.shadows import hanging
from support.traffic import Traffic
from support.worlds import World, world

from shadowmesh.names import Decision, Role
from shadowmesh.testing import Backend, ReceivedCall

pytest.importorskip("shadowmesh.mirror.process")

KINDS = ("sync", "aio")


def answering(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    yield b"".join(requests)


def the_child(before: list[int]) -> int:
    """Return the child that the carrier has started since."""
    assert until(lambda: len(set(children()) - set(before)) == 1)
    return next(iter(set(children()) - set(before)))


def accounted(it: World, calls: int) -> None:
    """Check that every exchange is in the funnel once, nothing is in flight, and no leg came that it does not know."""
    assert it.counted() == {"candidate": calls}
    assert until(lambda: not any(it.mesh.active().values()))
    assert until(lambda: it.mesh.captured_bytes() == 0)
    mirrored = sum(count for key, count in it.mesh.funnel().items() if key.decision == Decision.MIRRORED)
    shadows = [leg for leg in it.sink.legs() if leg.role == Role.SHADOW and leg.drop_reason is None]
    assert len({leg.pair_id for leg in shadows}) == len(shadows) <= mirrored


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_in_flight_when_the_child_was_killed_is_accounted_for(kind: str) -> None:
    before = children()
    with Backend(hanging, workers=64) as backend, world(kind, "process", target(backend.address)) as it:
        for arity in ARITIES * 2:
            see(it.server, arity, SCENARIOS["answers"])
        backend.wait_for_calls(2 * len(ARITIES))
        os.kill(the_child(before), signal.SIGKILL)
        # The backend hears of it, and nothing of theirs stays in flight here.
        assert all(call.ended.wait(10) for call in backend.calls)
        accounted(it, 2 * len(ARITIES))


@pytest.mark.parametrize("kind", KINDS)
def test_live_calls_go_on_and_are_mirrored_again_after_the_child_was_killed(kind: str) -> None:
    before = children()
    with Backend(answering, workers=64) as backend, world(kind, "process", target(backend.address)) as it:
        traffic = Traffic(it.server)
        traffic.run(50)
        first = the_child(before)
        os.kill(first, signal.SIGKILL)
        traffic.run(50)
        assert until(lambda: bool(set(children()) - {*before, first}), 20), "no child was started again"
        calls = 100
        reached = len(backend.calls)

        def mirrored_again() -> bool:
            nonlocal calls
            traffic.run(10)
            calls += 10
            return len(backend.calls) > reached

        assert until(mirrored_again, 20)
        assert traffic.failures == []
        it.mesh.drain(5)
        accounted(it, calls)


@pytest.mark.parametrize("kind", KINDS)
def test_a_child_that_is_stopped_never_holds_up_a_live_call(kind: str) -> None:
    before = children()
    with Backend(answering, workers=64) as backend, world(kind, "process", target(backend.address)) as it:
        traffic = Traffic(it.server)
        traffic.run(20)
        child = the_child(before)
        os.kill(child, signal.SIGSTOP)
        try:
            traffic.run(400)
        finally:
            os.kill(child, signal.SIGCONT)
        assert traffic.failures == []
        it.mesh.drain(10)
        accounted(it, 420)
