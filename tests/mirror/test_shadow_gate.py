"""Shadows behind a gate: what is shed never reaches its backend, what is changed arrives changed, and all have legs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from support.engines import ARITIES, Mirror, at, hang, mirror
from support.experiments import CONVERSE, GENERATE, INGEST, STREAM_GENERATE, experiment, target
from support.wire import last_delta, request, response

from shadowmesh.mirror.frames import Request, RequestEnd
from shadowmesh.mirror.legs import assemble
from shadowmesh.model import Leg
from shadowmesh.names import CallEnd, Decision, DropReason
from shadowmesh.policy.plan import Admission
from shadowmesh.schema import messages
from shadowmesh.testing import Backend, FakeClock, ReceivedCall

TOOLS: Any = [messages.Tool(name="search")]
BOTH = (Admission("a", 1.0), Admission("b", 1.0))


def answer(call: ReceivedCall, requests: Iterator[bytes], context: object) -> Iterator[bytes]:
    """Answer each request of a Converse at once, any other call when it was read."""
    for data in requests:
        if call.method == CONVERSE:
            yield last_delta("four", messages.GenerateRequest.FromString(data).request_id)
    if call.method != CONVERSE:
        yield response("four")


def legs(mirrored: Mirror, key: bytes = b"k") -> list[Leg]:
    """Return the shadow legs of the only call."""
    ids = count(1)
    exchanges = assemble(mirrored.records[0], new_span_id=lambda: next(ids), digest_key=key)
    return [leg for _, shadows, _ in exchanges for leg in shadows]


def model_of(data: bytes) -> str:
    return str(messages.GenerateRequest.FromString(data).model)


@pytest.mark.parametrize("method", [GENERATE, STREAM_GENERATE, CONVERSE])
@pytest.mark.parametrize(("data", "reason"), [(request(tools=TOOLS), "unsafe"), (b"\xff", "unreadable")])
async def test_an_unsafe_or_unreadable_request_is_shed_before_its_shadow_is_called(
    method: str, data: bytes, reason: str
) -> None:
    with Backend(answer) as backend:
        async with mirror(at(backend)) as mirrored:
            mirrored.unary(method=method, data=data)
            assert mirrored.outcomes() == {(1, "candidate"): 1}
            mirrored.done()
            await mirrored.recorded()
    (leg,) = legs(mirrored)
    assert (leg.end, leg.drop_reason, leg.decision, leg.status) == (CallEnd.SHED, reason, Decision.MIRRORED, None)
    assert (leg.concurrency, leg.queue_time, leg.request_digest) == (None, None, None)
    assert (backend.calls, mirrored.credit(), mirrored.faults.totals()) == ([], 1, {})


async def test_an_unsafe_method_is_shed_whatever_its_request_says() -> None:
    with Backend(answer) as backend:
        settings = experiment(target(address=backend.address), effects={CONVERSE: "unsafe"})
        async with mirror(settings) as mirrored:
            mirrored.begin(method=CONVERSE)
            assert mirrored.outcomes() == {(1, "candidate"): 1}
            mirrored.feed(Request(1, (1,), (request(),), 1), RequestEnd(1, 2))
            mirrored.done()
            await mirrored.recorded()
    (leg,) = legs(mirrored)
    assert (leg.end, leg.drop_reason, backend.calls) == (CallEnd.SHED, DropReason.UNSAFE, [])


async def test_each_target_decides_and_changes_for_itself() -> None:
    with Backend(answer) as backend:
        settings = experiment(
            target("a", address=backend.address),
            target("b", address=backend.address, allow_unsafe=["*"], transform={"model": "m-2"}),
        )
        async with mirror(settings) as mirrored:
            mirrored.unary(data=request(model="m-1", tools=TOOLS), admissions=BOTH)
            mirrored.done()
            await mirrored.recorded()
    assert [call.requests for call in backend.calls] == [[request(model="m-2")]]
    shed, sent = legs(mirrored)
    assert (shed.drop_reason, shed.fields.request_model) == ("unsafe", "m-1")
    assert (sent.status, sent.fields.request_model) == ("OK", "m-2")
    assert shed.request_digest is None
    assert sent.request_digest is not None
    # The live request stays as it came.
    assert mirrored.records[0].requests == [request(model="m-1", tools=TOOLS)]


@pytest.mark.parametrize("method", ARITIES)
async def test_every_request_message_of_every_arity_is_changed(method: str) -> None:
    with Backend(answer) as backend:
        async with mirror(at(backend, transform={"model": "m-2"})) as mirrored:
            mirrored.begin(method=method)
            if method == INGEST:
                asked = [messages.IngestRequest(text=text).SerializeToString() for text in "abc"]
            else:
                asked = [request(one, model="m-1") for one in "abc"]
            if not ARITIES[method].request_streaming:
                asked = asked[:1]
            for data in asked:
                mirrored.feed(Request(1, (1,), (data,), 0))
            mirrored.feed(RequestEnd(1, 2))
            mirrored.done()
            await mirrored.recorded()
    (call,) = backend.calls
    kind = messages.IngestRequest if method == INGEST else messages.GenerateRequest
    assert [kind.FromString(data).model for data in call.requests] == ["m-2"] * len(asked)
    assert all(leg.fields.request_model == "m-2" and leg.request_digest for leg in legs(mirrored))


async def test_a_digest_tells_equal_requests_from_others_and_nothing_to_who_has_not_the_key() -> None:
    with Backend(answer) as backend:
        settings = experiment(
            target("a", address=backend.address, transform={"seed": 1}),
            target("b", address=backend.address, transform={"seed": 1}),
            target("c", address=backend.address, transform={"seed": 2}),
        )
        async with mirror(settings) as mirrored:
            mirrored.unary(admissions=(*BOTH, Admission("c", 1.0)))
            mirrored.done()
            await mirrored.recorded()
    digests = [leg.request_digest for leg in legs(mirrored)]
    assert digests[0] == digests[1] != digests[2]
    assert digests[0] != legs(mirrored, key=b"another")[0].request_digest


async def test_a_request_that_is_not_changed_has_no_digest() -> None:
    with Backend(answer) as backend:
        async with mirror(at(backend)) as mirrored:
            await mirrored.play(1)
    assert legs(mirrored)[0].request_digest is None
    assert backend.calls[0].requests == [request()]


async def test_a_stream_is_cut_at_the_first_message_that_does_not_pass_and_keeps_what_ended_before() -> None:
    with Backend(answer) as backend:
        async with mirror(at(backend)) as mirrored:
            mirrored.begin(method=CONVERSE)
            mirrored.feed(Request(1, (1,), (request("one"),), 1))
            (call,) = await asyncio.to_thread(backend.wait_for_calls, 1)
            shadow = mirrored.engine._open[1].running["candidate"].shadow
            async with asyncio.timeout(20):
                while not shadow.observation.responses:  # noqa: ASYNC110  # a thread of grpc fills it and tells nobody
                    await asyncio.sleep(0)
            mirrored.feed(Request(1, (2, 3), (request("two", tools=TOOLS), request("three")), 0), RequestEnd(1, 4))
            await mirrored.until(lambda: bool(mirrored.outcomes()))
            mirrored.done()
            await mirrored.recorded()
    assert call.requests == [request("one")]
    one, two, three = legs(mirrored)
    assert (one.status, one.end, one.complete, one.drop_reason) == ("OK", CallEnd.COMPLETED, True, None)
    for leg in (two, three):
        assert (leg.end, leg.complete, leg.drop_reason) == (CallEnd.CUT, False, "unsafe")


async def test_a_request_stream_is_called_when_its_first_message_has_passed_and_not_before() -> None:
    with Backend(answer) as backend:
        async with mirror(at(backend)) as mirrored:
            mirrored.begin(1, method=CONVERSE)
            mirrored.begin(2, method=INGEST)
            # Nothing has to be read of the second one.
            assert [call.method for call in await asyncio.to_thread(backend.wait_for_calls, 1)] == [INGEST]
            mirrored.feed(Request(1, (1,), (request(),), 1))
            await asyncio.to_thread(backend.wait_for_calls, 2)
            for call in (1, 2):
                mirrored.feed(RequestEnd(call, 2))
                mirrored.done(call)
            await mirrored.recorded(2)


async def test_a_live_call_that_leaves_before_its_first_message_takes_the_waiting_shadow_along() -> None:
    with Backend(answer) as backend:
        async with mirror(at(backend)) as mirrored:
            mirrored.begin(method=CONVERSE)
            mirrored.done(status="CANCELLED", end=CallEnd.CANCELLED)
            await mirrored.recorded()
    (leg,) = legs(mirrored)
    assert (leg.status, leg.end, leg.complete, backend.calls) == ("CANCELLED", CallEnd.CANCELLED, False, [])


async def test_a_drain_cuts_a_shadow_that_waits_for_its_first_message() -> None:
    with Backend(hang) as backend:
        async with mirror(at(backend)) as mirrored:
            mirrored.begin(method=CONVERSE)
            await mirrored.engine.drain(0)
    (leg,) = legs(mirrored)
    assert (leg.end, backend.calls, mirrored.outcomes()) == (CallEnd.CUT, [], {(1, "candidate"): 1})


async def test_probes_of_a_breaker_are_not_used_up_by_what_is_shed() -> None:
    with Backend(answer) as backend:
        breaker = {"window": "1h", "least_calls": 1, "open": "1ms", "open_most": "1ms", "probes": 1}
        async with mirror(at(backend, breaker=breaker)) as mirrored:
            guard = mirrored.engine._experiments._in_force["summaries"].targets["candidate"].peer.guard
            guard._breaker._open(0.0, 0)
            guard._breaker.wake(1)
            for call in (1, 2, 3):
                mirrored.unary(call, data=request(tools=TOOLS))
                mirrored.done(call)
            mirrored.unary(4)
            mirrored.done(4)
            records = await mirrored.recorded(4)
    assert [record.shadows["candidate"].drop_reason for record in records] == ["unsafe"] * 3 + [""]
    assert len(backend.calls) == 1


async def test_a_target_none_of_whose_shadows_is_sent_is_found_though_all_are_counted_as_mirrored() -> None:
    clock = FakeClock()
    with Backend(answer) as backend:
        async with mirror(at(backend), clock=clock) as mirrored:
            for call in range(1, 41):
                mirrored.unary(call, data=request(tools=TOOLS))
                mirrored.done(call)
                clock.advance(1.0)
            await mirrored.recorded(40)
            found = {"self-check: summaries/candidate none of 31 shadows was sent: 31 unsafe": 1}
            assert mirrored.faults.totals() == found
            mirrored.unary(41)
            mirrored.done(41)
            await mirrored.recorded(41)
            assert mirrored.faults.totals() == found
        assert len(backend.calls) == 1
