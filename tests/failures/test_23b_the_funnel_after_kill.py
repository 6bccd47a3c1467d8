"""23b. The funnel reconciles after kill -9 of the child: the live process owns it, and knows what was lost."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from support import conversations
from support.calls import ARITIES, SCENARIOS, see
from support.collector import spans_in
from support.meshes import config, target
from support.otlp import TRACES
from support.resources import children, until
from support.servers import interceptor_of, live_server
from support.shadows import hanging
from support.traffic import Traffic
from support.worlds import World, with_mirror, world

from shadowmesh.build import Mesh
from shadowmesh.config import Config
from shadowmesh.names import Decision, DropReason, Role
from shadowmesh.schema.messages import GenerateRequest
from shadowmesh.telemetry.settings import OtlpSettings
from shadowmesh.testing import Backend, ReceivedCall, SpanSink

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
        assert all(call.ended.wait(30) for call in backend.calls)
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


EXCHANGES = 600
"""On one call: more than an exporter sends at once."""


class Receiver:
    """Takes the first spans it is sent, takes or refuses the second, and leaves what follows unanswered."""

    def __init__(self, *, refuses: bool) -> None:
        self.sink = SpanSink()
        self.asked_again = threading.Event()
        self.let_go = threading.Event()
        self._refuses = refuses
        self._number = 0

    def __call__(self, call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        body = b"".join(requests)
        if call.method != TRACES:
            yield b""
            return
        self._number += 1
        if self._number > 2:
            self.asked_again.set()
            self.let_go.wait(30)
            context.abort(grpc.StatusCode.UNAVAILABLE, "as the test says")
        if self._number == 2 and self._refuses:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "as the test says")
        self.sink.export([*spans_in(body)])
        yield b""


@contextmanager
def exporting_to(settings: Config, receiver: Receiver) -> Iterator[Mesh]:
    with Backend(receiver, workers=4) as collector:
        otlp = OtlpSettings(endpoint=f"http://{collector.address}")
        telemetry = settings.telemetry.model_copy(update={"otlp": otlp})
        mesh = Mesh(settings.model_copy(update={"telemetry": telemetry}))
        try:
            yield mesh
        finally:
            receiver.let_go.set()
            mesh.close(0)


def conversing(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    for data in requests:
        yield from (delta.SerializeToString() for delta in conversations.answer(GenerateRequest.FromString(data)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("refuses", [False, True])
def test_exchanges_of_one_call_of_which_some_were_exported_or_lost_before_the_kill_are_counted_once(
    kind: str, refuses: bool
) -> None:
    before = children()
    receiver = Receiver(refuses=refuses)
    with Backend(conversing, workers=16) as backend:
        # The second call and the third are shed there, and have legs that say so.
        slow = target(backend.address, "slow", max_rate=0.001, burst=1)
        settings = with_mirror(config(target(backend.address), slow), carrier="process")
        with exporting_to(settings, receiver) as mesh:
            handler = conversations.Conversation(kind)
            with live_server(kind, lambda: [interceptor_of(kind, mesh)], handler=handler) as server:
                conversations.converse(server, 1)
                receiver.sink.wait_for_legs(3)
                conversations.converse(server, EXCHANGES, "a")
                assert receiver.asked_again.wait(20)
                # What the worker heard of the second export it says before the word that this call is over.
                conversations.converse(server, 1)
                backend.wait_for_calls(4)
                assert until(lambda: not any(mesh.active().values()))
                os.kill(the_child(before), signal.SIGKILL)
                assert until(lambda: mesh.status()["carrier"]["restarts"] == 1)
            funnel = mesh.funnel()
            lost = {one["name"]: one["lost"] for one in mesh.status()["experiments"][0]["targets"]}
        seen = Counter(leg.target for leg in receiver.sink.legs() if leg.role == Role.SHADOW)
    assert {(key.target, key.decision, key.drop_reason): count for key, count in funnel.items()} == {
        ("candidate", Decision.MIRRORED, ""): EXCHANGES + 2,
        ("slow", Decision.MIRRORED, ""): 1,
        ("slow", Decision.DROPPED, DropReason.RATE_LIMIT): EXCHANGES + 1,
    }
    for name in ("candidate", "slow"):
        assert seen[name] + sum(lost[name].values()) == EXCHANGES + 2
        assert (seen[name] > 1, lost[name].get("export", 0) > 0) == (not refuses, refuses)
        assert 1 < lost[name]["worker"] < EXCHANGES + 1
