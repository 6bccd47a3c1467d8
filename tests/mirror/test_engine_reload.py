"""A reload swaps targets under running calls: nothing in flight dies, nothing removed goes on, what stays is kept."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import grpc
import pytest
from support.engines import mirror
from support.experiments import CONVERSE, GENERATE, experiment, target
from support.relay import Relay

from shadowmesh.mirror.frames import Reload, RequestEnd
from shadowmesh.mirror.legs import assemble
from shadowmesh.names import CallEnd, DropReason
from shadowmesh.policy.plan import Admission
from shadowmesh.testing import Backend, ReceivedCall

OPEN, REMOVED, SHUTDOWN = DropReason.CIRCUIT_OPEN, DropReason.REMOVED, DropReason.SHUTDOWN
BREAKER: dict[str, Any] = {"window": "1h", "least_calls": 2, "open": "1h", "open_most": "1h", "probes": 1}
BOTH = (Admission("a", 1.0), Admission("b", 1.0))
OTHER = experiment(name="other")


class Gate:
    """A script that answers when it is told to."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def __call__(self, call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
        list(requests)
        self.open.wait(20)
        yield b"answer"


def answering(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
    yield b"".join(requests)


def failing(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
    yield from ()
    context.abort(grpc.StatusCode.UNAVAILABLE, "always")


# --- what is removed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [GENERATE, CONVERSE])
@pytest.mark.parametrize("change", ["experiment removed", "target removed", "address changed"])
async def test_a_pair_in_flight_survives_its_target_whose_connection_is_closed_as_soon_as_nothing_runs_on_it(
    method: str, change: str
) -> None:
    gate = Gate()
    with Backend(gate) as backend, Relay(backend.port) as relay:
        async with mirror(experiment(target(address=relay.address))) as mirrored:
            for call in (1, 2):
                mirrored.unary(call, method)
            await asyncio.to_thread(backend.wait_for_calls, 2)
            after = {"target removed": [experiment(target("else"))], "address changed": [experiment(target())]}
            mirrored.reload(*after.get(change, []))
            mirrored.done(1)
            mirrored.done(2)
            assert (relay.accepted, relay.ended) == (1, 0)
            gate.open.set()
            records = await mirrored.recorded(2)
            await asyncio.to_thread(relay.wait_for_ends, 1)
    assert [record.shadows["candidate"].status for record in records] == ["OK", "OK"]
    assert not mirrored.faults.totals()


async def test_a_removed_target_without_calls_is_closed_at_once() -> None:
    with Backend(answering) as backend, Relay(backend.port) as relay:
        async with mirror(experiment(target(address=relay.address))) as mirrored:
            await mirrored.play(1)
            mirrored.reload(OTHER)
            await asyncio.to_thread(relay.wait_for_ends, 1)


async def test_the_live_gate_hears_of_what_was_removed_and_of_what_comes_back() -> None:
    both, one = experiment(target("a"), target("b")), experiment(target("a"))
    async with mirror(both, OTHER) as mirrored:
        mirrored.reload(one)
        assert (mirrored.gate("a"), mirrored.gate("b"), mirrored.gate()) == ([], [REMOVED], [REMOVED])
        mirrored.reload(both, OTHER)
        assert (mirrored.gate("a"), mirrored.gate("b"), mirrored.gate()) == ([], [REMOVED, ""], [REMOVED, ""])


@pytest.mark.parametrize("left", ["neighbour", "nothing"])
async def test_a_call_admitted_before_a_reload_that_begins_after_it_has_a_leg_that_says_its_target_was_removed(
    left: str,
) -> None:
    with Backend(answering) as backend:
        a, b = target("a", address=backend.address), target("b", address=backend.address)
        async with mirror(experiment(a, b)) as mirrored:
            mirrored.reload(*([experiment(b)] if left == "neighbour" else []))
            mirrored.unary(admissions=BOTH)
            mirrored.done()
            (record,) = await mirrored.recorded()
        assert len(backend.calls) == (1 if left == "neighbour" else 0)
    ids = count(1)
    ((_, legs, _),) = assemble(record, new_span_id=lambda: next(ids), digest_key=b"k")
    removed = (CallEnd.SHED, REMOVED)
    assert [(leg.end, leg.drop_reason) for leg in legs] == [
        removed,
        (CallEnd.COMPLETED, None) if left == "neighbour" else removed,
    ]
    assert mirrored.outcomes() == {(1, "a"): 1, (1, "b"): 1}
    assert not mirrored.faults.totals()


async def test_the_breaker_of_a_removed_target_never_wakes() -> None:
    quick = {**BREAKER, "open": "20ms"}
    with Backend(failing) as backend:
        settings = experiment(target(address=backend.address, breaker=quick))
        async with mirror(settings) as mirrored, mirror(settings) as witness:
            await mirrored.play(1)
            mirrored.unary(2)
            mirrored.done(2)
            # At once, and before any timer: recorded it is a moment later.
            await mirrored.until(lambda: mirrored.gate() == [OPEN])
            mirrored.reload(OTHER)
            await mirrored.recorded(2)
            # Its timer was set later than the one that must not fire.
            await witness.play(1, 2)
            await witness.until(lambda: witness.gate() == [OPEN, ""])
            assert mirrored.gate() == [OPEN, REMOVED]


async def test_a_shadow_that_fails_after_its_target_was_removed_tells_the_gate_nothing() -> None:
    gate = Gate()

    def late(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
        gate.open.wait(20)
        yield from failing(call, requests, context)

    with Backend(late) as backend:
        async with mirror(experiment(target(address=backend.address, breaker=BREAKER))) as mirrored:
            for call in range(1, 6):
                mirrored.unary(call)
                mirrored.done(call)
            await asyncio.to_thread(backend.wait_for_calls, 5)
            mirrored.reload()
            gate.open.set()
            await mirrored.recorded(5)
            assert mirrored.gate() == [REMOVED]


# --- what stays -----------------------------------------------------------------------------------------------


async def test_a_target_that_stays_the_same_server_keeps_its_connection_whatever_becomes_of_its_limits() -> None:
    with Backend(answering) as backend, Relay(backend.port) as relay:
        before = target(address=relay.address)
        changes: list[dict[str, Any]] = [{}, {"rate": 0.5}, {"max_in_flight": 3}, {"metadata": ["x-user"]}]
        async with mirror(experiment(before)) as mirrored:
            await mirrored.play(1)
            for call, change in enumerate(changes, 2):
                mirrored.reload(experiment(before | change), OTHER)
                await mirrored.play(call)
            assert (relay.accepted, relay.ended) == (1, 0)
            mirrored.reload(experiment(before | {"version": "2"}))
            await mirrored.play(6)
            await asyncio.to_thread(relay.wait_for_ends, 1)
            assert relay.accepted == 2


async def test_new_settings_of_a_target_that_keeps_its_connection_hold_at_once() -> None:
    with Backend(answering) as backend:
        before = target(address=backend.address, deadline="5s")
        async with mirror(experiment(before)) as mirrored:
            await mirrored.play(1)
            mirrored.reload(experiment(before | {"deadline": "50s", "metadata": ["x-user"]}))
            await mirrored.play(2, metadata=(("x-user", "u"),))
    first, second = backend.calls
    assert first.deadline is not None
    assert second.deadline is not None
    assert first.deadline < 6
    assert second.deadline > 40
    assert ("x-user", "u") in second.metadata


async def test_an_open_breaker_outlives_a_reload_and_the_live_gate_is_told_again() -> None:
    with Backend(failing) as backend:
        sick = target(address=backend.address, breaker=BREAKER)
        async with mirror(experiment(sick)) as mirrored:
            await mirrored.play(1, 2)
            assert mirrored.gate() == [OPEN]
            mirrored.reload(experiment(sick | {"rate": 0.1}))
            assert mirrored.gate() == [OPEN, OPEN], "a gate made anew knows nothing of it"
            await mirrored.play(3)
        assert len(backend.calls) == 2


async def test_another_server_begins_with_a_closed_breaker() -> None:
    with Backend(failing) as sick, Backend(answering) as well:
        async with mirror(experiment(target(address=sick.address, breaker=BREAKER))) as mirrored:
            await mirrored.play(1, 2)
            mirrored.reload(experiment(target(address=well.address, breaker=BREAKER)))
            assert mirrored.gate() == [OPEN, ""]
            await mirrored.play(3)
        assert len(well.calls) == 1


async def test_calls_in_flight_are_counted_across_a_reload() -> None:
    gate = Gate()
    with Backend(gate) as backend:
        settings = experiment(target(address=backend.address))
        async with mirror(settings) as mirrored:
            mirrored.unary(1)
            await asyncio.to_thread(backend.wait_for_calls, 1)
            mirrored.reload(settings, OTHER)
            mirrored.unary(2)
            await asyncio.to_thread(backend.wait_for_calls, 2)
            mirrored.done(2)
            mirrored.done(1)
            gate.open.set()
            records = await mirrored.recorded(2)
    second = next(record for record in records if record.begin.call == 2)
    assert second.live.concurrency == 2.0
    assert (second.shadows["candidate"].concurrency or 0.0) > 1.0


async def test_a_reload_that_cannot_be_read_closes_nothing() -> None:
    with Backend(answering) as backend, Relay(backend.port) as relay:
        async with mirror(experiment(target(address=relay.address))) as mirrored:
            await mirrored.play(1)
            mirrored.feed(Reload(0, b"[{}]"))
            await mirrored.play(2)
            assert (relay.accepted, relay.ended) == (1, 0)


# --- the end --------------------------------------------------------------------------------------------------


async def test_closing_closes_what_is_in_force_and_what_was_removed_under_a_running_call() -> None:
    with ExitStack() as stack:
        backend = stack.enter_context(Backend(Gate()))
        kept, removed = (stack.enter_context(Relay(backend.port)) for _ in range(2))
        a, b = target("a", address=kept.address), target("b", address=removed.address)
        async with mirror(experiment(a, b)) as mirrored:
            mirrored.unary(admissions=BOTH)
            await asyncio.to_thread(backend.wait_for_calls, 2)
            mirrored.reload(experiment(a))
            mirrored.done()
            await mirrored.engine.drain(0)
        await asyncio.to_thread(kept.wait_for_ends, 1)
        await asyncio.to_thread(removed.wait_for_ends, 1)
        for call in backend.calls:
            assert call.ended.wait(20)


async def test_a_call_that_begins_after_a_drain_is_shed_with_a_leg_and_recorded_by_the_close() -> None:
    with Backend(answering) as backend:
        async with mirror(experiment(target(address=backend.address))) as mirrored:
            await mirrored.engine.drain(0)
            mirrored.unary(pages=2)
            mirrored.unary(2, CONVERSE)
            mirrored.feed(RequestEnd(2, 1))
            mirrored.done(2)
            await mirrored.engine.close()
            assert len(mirrored.records) == 2
        assert backend.calls == []
    for record in mirrored.records:
        shadow = record.shadows["candidate"]
        assert (shadow.end, shadow.drop_reason) == (CallEnd.SHED, SHUTDOWN)
    assert {record.begin.call: record.live.end for record in mirrored.records} == {
        1: CallEnd.CUT,
        2: CallEnd.COMPLETED,
    }
    assert (mirrored.outcomes(), mirrored.credit()) == ({(1, "candidate"): 1, (2, "candidate"): 1}, 3)


async def test_a_reload_after_a_drain_opens_nothing() -> None:
    async with mirror(experiment(target("a"))) as mirrored:
        await mirrored.engine.drain(0)
        mirrored.reload(experiment(target("a"), target("b")))
        assert (mirrored.gate("a"), mirrored.gate("b")) == ([SHUTDOWN, SHUTDOWN], [SHUTDOWN])
