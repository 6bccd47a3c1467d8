"""14. The live call ends first, its client leaves or resets: the shadow follows, and has its own deadline."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from support.calls import SCENARIOS, see
from support.meshes import target
from support.scripts import script
from support.shadows import hanging
from support.worlds import LIVE, WORLDS, World, world

from shadowmesh.names import CallEnd
from shadowmesh.policy.experiment import TargetSettings
from shadowmesh.testing import Backend, ReceivedCall


def begun(it: World, arity: str) -> Any:
    """Begin a call that waits for its end in the handler."""
    steps = script(["wait"])
    request: Any = iter([steps]) if arity.startswith("stream") else steps
    multicallable = it.server.call(arity)
    call = (multicallable if arity.endswith("stream") else multicallable.future)(request, timeout=20)
    it.server.log.wait_for("waiting")
    return call


@pytest.mark.parametrize("arity", ["unary_unary", "stream_stream"])
@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_when_the_client_leaves_the_shadow_stops_after_as_long_as_the_live_call_ran(
    kind: str, carrier: str, arity: str
) -> None:
    with Backend(hanging) as backend, world(kind, carrier, target(backend.address)) as it:
        call = begun(it, arity)
        received = backend.wait_for_calls(1)[0]
        call.cancel()
        assert received.ended.wait(30)
        legs = it.settle(1, grace=5)
        live, shadow = legs[LIVE][0], legs["candidate"][0]
        assert (live.status, live.end) == ("CANCELLED", CallEnd.CANCELLED)
        assert (shadow.status, shadow.end) == ("CANCELLED", CallEnd.CANCELLED)
        # Not sooner than the live call, and not a whole deadline later.
        assert live.duration * 0.9 <= shadow.duration < live.duration + 5


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_client_whose_connection_breaks_has_left_too(kind: str, carrier: str) -> None:
    with Backend(hanging) as backend, world(kind, carrier, target(backend.address)) as it:
        call = begun(it, "unary_stream")
        received = backend.wait_for_calls(1)[0]
        it.server.channel.close()
        assert call.code() is grpc.StatusCode.CANCELLED
        assert received.ended.wait(30)
        legs = it.settle(1, grace=5)
        assert {legs[name][0].end for name in (LIVE, "candidate")} == {CallEnd.CANCELLED}


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_shadow_outlives_a_live_call_that_went_well_until_its_own_deadline(kind: str, carrier: str) -> None:
    with Backend(hanging) as backend, world(kind, carrier, target(backend.address, deadline="2s")) as it:
        # The live deadline is far longer, or there is none: neither is inherited.
        see(it.server, "unary_unary", SCENARIOS["answers"], timeout=100)
        call: Any = it.server.call("unary_stream")(script(["send", "one"]))
        assert list(call) == [b"one"]
        for received in backend.wait_for_calls(2):
            assert received.deadline is not None
            assert received.deadline < 2.5, "and a rounding"
        legs = it.settle(2, grace=10)
        assert [(leg.status, leg.end) for leg in legs["candidate"]] == [("DEADLINE_EXCEEDED", CallEnd.DEADLINE)] * 2
        assert [leg.status for leg in legs[LIVE]] == ["OK", "OK"]


def slow(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """Answer when the live call has long been over: the requests end with it."""
    list(requests)
    yield b"late"


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_live_deadline_that_passes_does_not_shorten_the_shadows_own(kind: str, carrier: str) -> None:
    with Backend(slow) as backend, world(kind, carrier, target(backend.address, deadline="30s")) as it:
        seen = see(it.server, "unary_unary", SCENARIOS["answers"], timeout=5)
        assert seen.code is grpc.StatusCode.OK
        received = backend.wait_for_calls(1)[0]
        assert received.deadline is not None
        assert received.deadline > 20
        assert it.settle(1, grace=5)["candidate"][0].status == "OK"


@pytest.mark.skipif("on_live_cancel" not in TargetSettings.model_fields, reason="shadows always follow here")
@pytest.mark.parametrize("arity", ["unary_unary", "stream_stream"])
@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_detached_shadow_runs_on_when_the_client_leaves(kind: str, carrier: str, arity: str) -> None:
    going = threading.Event()

    def patient(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        list(requests)
        going.wait(20)
        yield b"done"

    with Backend(patient) as backend, world(kind, carrier, target(backend.address, on_live_cancel="detach")) as it:
        call = begun(it, arity)
        received = backend.wait_for_calls(1)[0]
        call.cancel()
        it.server.log.wait_for("ended")
        assert not received.ended.is_set()
        going.set()
        assert received.ended.wait(30)
        legs = it.settle(1, grace=5)
        assert legs[LIVE][0].end == CallEnd.CANCELLED
        assert (legs["candidate"][0].status, legs["candidate"][0].end) == ("OK", CallEnd.COMPLETED)
