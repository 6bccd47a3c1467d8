"""What becomes of a shadow whose live call is cut short: detached, it runs on, and its leg says what it was asked."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import count

import grpc
import pytest
from support.engines import ARITIES, Mirror, at, hang, mirror
from support.experiments import CONVERSE, GENERATE, INGEST, STREAM_GENERATE, experiment, target
from support.request_ends import RequestEnds
from support.resources import until
from support.wire import request

from shadowmesh.mirror.frames import Abandon, Request, RequestEnd
from shadowmesh.mirror.legs import assemble
from shadowmesh.model import Leg
from shadowmesh.names import CallEnd, DropReason
from shadowmesh.policy.plan import Admission
from shadowmesh.testing import Backend, ReceivedCall

CUT_SHORT = [("CANCELLED", CallEnd.CANCELLED), ("DEADLINE_EXCEEDED", CallEnd.DEADLINE)]
STREAMS = [INGEST, CONVERSE]


class Held:
    """A script that reads all requests, then answers when it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
        asked = list(requests)
        self.go.wait(20)
        yield b"".join(asked)


def shadow_leg(mirrored: Mirror) -> Leg:
    ids = count(1)
    ((_, (leg,), _),) = assemble(mirrored.records[0], new_span_id=lambda: next(ids), digest_key=b"k")
    return leg


@pytest.mark.parametrize("method", [GENERATE, STREAM_GENERATE])
@pytest.mark.parametrize(("status", "end"), CUT_SHORT)
async def test_a_detached_shadow_runs_to_its_own_end(method: str, status: str, end: CallEnd) -> None:
    held = Held()
    with Backend(held) as backend:
        async with mirror(at(backend, on_live_cancel="detach")) as mirrored:
            mirrored.unary(method=method, data=request("asked"))
            await asyncio.to_thread(backend.wait_for_calls, 1)
            mirrored.done(status=status, end=end)
            assert mirrored.engine.open_calls == 1
            held.go.set()
            (record,) = await mirrored.recorded()
    shadow = record.shadows["candidate"]
    assert (shadow.status, shadow.end, shadow.responses) == ("OK", CallEnd.COMPLETED, [request("asked")])
    assert (record.live.end, shadow_leg(mirrored).complete) == (end, True)
    assert (mirrored.outcomes(), mirrored.credit()) == ({(1, "candidate"): 1}, 1)


@pytest.mark.parametrize("method", ARITIES)
async def test_a_detached_shadow_ends_at_its_own_deadline_at_the_latest(method: str) -> None:
    with Backend(hang) as backend:
        async with mirror(at(backend, on_live_cancel="detach", deadline="500ms")) as mirrored:
            mirrored.unary(method=method)
            await asyncio.to_thread(backend.wait_for_calls, 1)
            mirrored.done(status="CANCELLED", end=CallEnd.CANCELLED)
            (record,) = await mirrored.recorded()
    assert (record.shadows["candidate"].status, record.shadows["candidate"].end) == (
        "DEADLINE_EXCEEDED",
        CallEnd.DEADLINE,
    )


@pytest.mark.parametrize("method", STREAMS)
@pytest.mark.parametrize("half_closed", [True, False])
async def test_a_detached_request_stream_is_sent_what_was_captured_then_half_closed_and_its_leg_says_so(
    method: str, half_closed: bool
) -> None:
    held = Held()
    with Backend(held) as backend:
        detached = experiment(target(address=backend.address, on_live_cancel="detach"), protocol="raw")
        async with mirror(detached) as mirrored:
            mirrored.begin(method=method)
            mirrored.feed(Request(1, (1, 2), (b"one", b"two"), 1))
            if half_closed:
                mirrored.feed(RequestEnd(1, 3))
            mirrored.done(status="CANCELLED", end=CallEnd.CANCELLED)
            held.go.set()
            (record,) = await mirrored.recorded()
    assert backend.calls[0].requests == [b"one", b"two"]
    assert backend.calls[0].half_closed
    shadow = record.shadows["candidate"]
    assert (shadow.status, shadow.end, shadow.responses) == ("OK", CallEnd.COMPLETED, [b"onetwo"])
    assert shadow.curtailed is not half_closed
    assert shadow_leg(mirrored).complete is half_closed


@pytest.mark.parametrize("method", STREAMS)
@pytest.mark.parametrize("says", ["follow", "detach"])
async def test_an_end_of_the_requests_right_before_the_client_has_left_was_none(method: str, says: str) -> None:
    held = Held()
    with Backend(held) as backend, RequestEnds(backend.port) as relay:
        settings = experiment(target(address=relay.address, on_live_cancel=says), protocol="raw")
        async with mirror(settings) as mirrored:
            mirrored.begin(method=method)
            mirrored.feed(Request(1, (1,), (b"one",), 1))
            await asyncio.to_thread(until, lambda: [call.requests for call in backend.calls] == [[b"one"]])
            now_ns = time.monotonic_ns()
            mirrored.feed(RequestEnd(1, now_ns))
            mirrored.done(status="CANCELLED", end=CallEnd.CANCELLED, at_ns=now_ns + 50_000)
            held.go.set()
            (record,) = await mirrored.recorded()
            assert await asyncio.to_thread(until, lambda: relay.ends.total() == 1)
    shadow = record.shadows["candidate"]
    if says == "follow":
        assert (shadow.end, relay.ends) == (CallEnd.CANCELLED, {"reset": 1})
    else:
        assert (shadow.end, shadow.curtailed, relay.ends) == (CallEnd.COMPLETED, True, {"half-closed": 1})


@pytest.mark.parametrize("method", ARITIES)
async def test_a_call_cut_short_before_its_first_request_message_has_nothing_to_detach(method: str) -> None:
    with Backend(Held()) as backend:
        async with mirror(at(backend, on_live_cancel="detach", deadline="1s")) as mirrored:
            mirrored.begin(method=method)
            mirrored.done(status="CANCELLED", end=CallEnd.CANCELLED)
            if ARITIES[method].request_streaming:
                # A stream without messages is a request too.
                (call,) = await asyncio.to_thread(backend.wait_for_calls, 1)
                assert call.requests == []
            (record,) = await mirrored.recorded()
    assert not shadow_leg(mirrored).complete
    assert mirrored.outcomes() == {(1, "candidate"): 1}
    if not ARITIES[method].request_streaming:
        assert record.shadows["candidate"].end == CallEnd.CANCELLED
        assert backend.calls == []


async def test_each_target_has_its_own_say() -> None:
    held = Held()
    with Backend(held) as backend:
        settings = experiment(
            target("a", address=backend.address),
            target("b", address=backend.address, on_live_cancel="detach"),
        )
        async with mirror(settings) as mirrored:
            mirrored.unary(admissions=(Admission("a", 1.0), Admission("b", 1.0)))
            await asyncio.to_thread(backend.wait_for_calls, 2)
            mirrored.done(status="CANCELLED", end=CallEnd.CANCELLED)
            await mirrored.until(lambda: mirrored.outcomes() == {(1, "a"): 1})
            held.go.set()
            (record,) = await mirrored.recorded()
    assert (record.shadows["a"].end, record.shadows["b"].end) == (CallEnd.CANCELLED, CallEnd.COMPLETED)


async def test_requests_that_were_let_go_cut_a_detached_shadow_too() -> None:
    with Backend(hang) as backend:
        async with mirror(at(backend, on_live_cancel="detach")) as mirrored:
            mirrored.begin(method=CONVERSE)
            mirrored.feed(Request(1, (1,), (request(),), 1), Abandon(1, DropReason.OVERSIZE))
            mirrored.done(status="CANCELLED", end=CallEnd.CANCELLED)
            (record,) = await mirrored.recorded()
    assert record.shadows["candidate"].end == CallEnd.CUT


async def test_a_drain_cuts_detached_shadows_after_its_grace() -> None:
    with Backend(hang) as backend:
        async with mirror(at(backend, on_live_cancel="detach")) as mirrored:
            mirrored.unary()
            await asyncio.to_thread(backend.wait_for_calls, 1)
            mirrored.done(status="CANCELLED", end=CallEnd.CANCELLED)
            await asyncio.wait_for(mirrored.engine.drain(0), 20)
            assert mirrored.records[0].shadows["candidate"].end == CallEnd.CUT
            assert backend.calls[0].ended.wait(20)
