"""A target that cannot serve is left alone, and tried again; every exchange it misses has a leg that says so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

import grpc
import pytest
from support.engines import Mirror, at, hang, mirror
from support.experiments import CONVERSE, GENERATE, experiment, target

from shadowmesh.mirror.frames import Outcome
from shadowmesh.mirror.legs import assemble
from shadowmesh.model import Leg
from shadowmesh.names import CallEnd, Decision, DropReason
from shadowmesh.policy.plan import Admission
from shadowmesh.testing import Backend, FakeClock, ReceivedCall

OPEN = DropReason.CIRCUIT_OPEN


class Health:
    """A script that answers with a status, and may be told to wait before it does."""

    def __init__(self, status: str = "OK") -> None:
        self.status = status
        self.ready = threading.Event()
        self.ready.set()

    def __call__(self, call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
        self.ready.wait(20)
        if self.status != "OK":
            context.abort(grpc.StatusCode[self.status], "as told")
        yield b"answer"


def breaker(**changes: Any) -> dict[str, Any]:
    return {"window": "1h", "least_calls": 3, "open": "1h", "open_most": "2h", "probes": 2} | changes


async def fail(mirrored: Mirror, serials: Iterator[int]) -> None:
    """Make whole calls until the gate was told to close once more."""
    before = mirrored.gate().count(OPEN)
    while mirrored.gate().count(OPEN) == before:
        await mirrored.play(next(serials))


@pytest.mark.parametrize("method", [GENERATE, CONVERSE])
async def test_a_target_that_fails_is_left_alone(method: str) -> None:
    with Backend(Health("UNAVAILABLE")) as backend:
        async with mirror(at(backend, breaker=breaker())) as mirrored:
            await mirrored.play(1, 2, method=method)
            assert mirrored.gate() == []
            await mirrored.play(3, method=method)
            assert mirrored.gate() == [OPEN]
            await mirrored.play(4, 5, method=method)
            assert mirrored.gate() == [OPEN], "it is said once"
        assert len(backend.calls) == 3
    assert [record.shadows["candidate"].status for record in mirrored.records] == ["UNAVAILABLE"] * 3 + [""] * 2
    assert mirrored.outcomes() == {(call, "candidate"): 1 for call in range(1, 6)}
    assert mirrored.credit() == 5
    assert not mirrored.faults.totals()


async def test_a_shadow_that_its_breaker_sheds_has_a_leg_with_the_reason() -> None:
    with Backend(Health("UNAVAILABLE")) as backend:
        async with mirror(at(backend, breaker=breaker())) as mirrored:
            await mirrored.play(1, 2, 3, 4)
    legs = [shadow(mirrored, number) for number in range(4)]
    assert [(leg.end, leg.drop_reason) for leg in legs] == [(CallEnd.COMPLETED, None)] * 3 + [(CallEnd.SHED, OPEN)]
    assert {leg.decision for leg in legs} == {Decision.MIRRORED}, "as the live side has counted them"
    assert (legs[3].status, legs[3].queue_time, legs[3].complete) == (None, None, False)
    assert len({leg.span_id for leg in legs}) == 4


async def test_of_a_burst_after_the_back_off_only_the_probes_reach_the_target_and_good_ones_close_it() -> None:
    health, serials = Health("UNAVAILABLE"), count(1)
    with Backend(health) as backend:
        async with mirror(at(backend, breaker=breaker(open="30ms"))) as mirrored:
            await fail(mirrored, serials)
            calls, records = len(backend.calls), len(mirrored.records)
            await mirrored.until(lambda: mirrored.gate() == [OPEN, ""])
            health.status = "OK"
            health.ready.clear()
            burst = [next(serials) for _ in range(20)]
            for call in burst:
                mirrored.unary(call)
                mirrored.done(call)
            assert mirrored.gate() == [OPEN, "", OPEN], "closed again while the probes run"
            await asyncio.to_thread(backend.wait_for_calls, calls + 2)
            health.ready.set()
            await mirrored.recorded(records + len(burst))
            assert mirrored.gate() == [OPEN, "", OPEN, ""]
            assert len(backend.calls) == calls + 2
            await mirrored.play(*(next(serials) for _ in range(5)))
        assert len(backend.calls) == calls + 7
    ends = [record.shadows["candidate"].end for record in mirrored.records[records:]]
    assert (ends.count(CallEnd.SHED), ends.count(CallEnd.COMPLETED)) == (18, 7)
    # However it was ended, each was admitted by the live gate and owes it a token.
    assert mirrored.outcomes() == {(call, "candidate"): 1 for call in range(1, next(serials))}


async def test_a_failed_probe_opens_it_again() -> None:
    health, serials = Health("UNAVAILABLE"), count(1)
    with Backend(health) as backend:
        async with mirror(at(backend, breaker=breaker(open="20ms", open_most="40ms"))) as mirrored:
            await fail(mirrored, serials)
            for times in (2, 3, 4):
                await mirrored.until(lambda: mirrored.gate()[-1] == "")
                calls = len(backend.calls)
                await fail(mirrored, serials)
                assert len(backend.calls) == calls + 1
                # By now it may be over again: what is told is a moment ahead of what is recorded.
                assert mirrored.gate()[: 2 * times - 1] == [OPEN, ""] * (times - 1) + [OPEN]


async def test_a_probe_that_shows_nothing_opens_the_gate_for_another() -> None:
    health, serials = Health("UNAVAILABLE"), count(1)
    with Backend(health) as backend:
        async with mirror(at(backend, breaker=breaker(open="20ms", probes=1))) as mirrored:
            await fail(mirrored, serials)
            await mirrored.until(lambda: mirrored.gate()[-1] == "")
            health.ready.clear()
            call = next(serials)
            mirrored.unary(call)
            assert mirrored.gate() == [OPEN, "", OPEN]
            mirrored.done(call, status="CANCELLED", end=CallEnd.CANCELLED)
            await mirrored.recorded(call)
            health.ready.set()
            assert mirrored.gate() == [OPEN, "", OPEN, ""]
            health.status = "OK"
            await mirrored.play(next(serials), next(serials))
            assert mirrored.gate() == [OPEN, "", OPEN, "", OPEN, ""]


async def test_the_back_off_is_measured_by_the_engines_clock() -> None:
    clock = FakeClock()
    with Backend(Health("UNAVAILABLE")) as backend:
        settings = at(backend, breaker=breaker(open="20ms"))
        async with mirror(settings, clock=clock) as mirrored, mirror(settings) as witness:
            await fail(mirrored, count(1))
            await fail(witness, count(1))
            await witness.until(lambda: witness.gate()[-1] == "")
            assert mirrored.gate() == [OPEN], "its own clock stands still"
            clock.advance(0.02)
            await mirrored.until(lambda: mirrored.gate() == [OPEN, ""])


@pytest.mark.parametrize("status", ["INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "UNIMPLEMENTED", "ABORTED"])
async def test_a_status_that_requests_provoke_never_opens_it(status: str) -> None:
    with Backend(Health(status)) as backend:
        async with mirror(at(backend, breaker=breaker())) as mirrored:
            await mirrored.play(*range(1, 10))
            assert mirrored.gate() == []


async def test_a_target_that_never_answers_in_time_is_left_alone() -> None:
    with Backend(hang) as backend:
        async with mirror(at(backend, deadline="30ms", breaker=breaker())) as mirrored:
            await mirrored.play(1, 2, 3)
            assert mirrored.gate() == [OPEN]


async def test_shadows_stopped_with_their_live_call_count_neither_way() -> None:
    with Backend(hang, workers=32) as backend:
        async with mirror(at(backend, breaker=breaker(least_calls=1))) as mirrored:
            for call, end in enumerate([CallEnd.CANCELLED, CallEnd.DEADLINE] * 5, 1):
                mirrored.unary(call)
                mirrored.done(call, status="CANCELLED", end=end)
            await mirrored.recorded(10)
            assert mirrored.gate() == []


async def test_without_a_breaker_a_dead_target_is_called_every_time() -> None:
    with Backend(Health("UNAVAILABLE")) as backend:
        async with mirror(at(backend, breaker=breaker(enabled=False))) as mirrored:
            await mirrored.play(*range(1, 31))
            assert mirrored.gate() == []
        assert len(backend.calls) == 30


async def test_one_target_that_fails_does_not_touch_its_neighbour() -> None:
    with Backend(Health("INTERNAL")) as sick, Backend(Health()) as well:
        settings = experiment(
            target("a", address=sick.address, breaker=breaker()), target("b", address=well.address, breaker=breaker())
        )
        async with mirror(settings) as mirrored:
            await mirrored.play(*range(1, 8), admissions=both())
        assert (mirrored.gate("a"), mirrored.gate("b")) == ([OPEN], [])
        assert (len(sick.calls), len(well.calls)) == (3, 7)


async def test_calls_under_way_when_it_opens_run_on_and_change_nothing() -> None:
    health, serials = Health("UNAVAILABLE"), count(1)
    with Backend(health) as backend:
        async with mirror(at(backend, breaker=breaker())) as mirrored:
            health.ready.clear()
            for call in (next(serials) for _ in range(6)):
                mirrored.unary(call)
                mirrored.done(call)
            await asyncio.to_thread(backend.wait_for_calls, 6)
            health.ready.set()
            await mirrored.recorded(6)
            assert mirrored.gate() == [OPEN]
    assert {record.shadows["candidate"].status for record in mirrored.records} == {"UNAVAILABLE"}


async def test_after_a_drain_no_breaker_opens_the_gate_again() -> None:
    serials = count(1)
    with Backend(Health("UNAVAILABLE")) as backend:
        settings = at(backend, breaker=breaker(open="20ms"))
        async with mirror(settings) as mirrored, mirror(settings) as witness:
            await fail(mirrored, serials)
            await mirrored.engine.drain(0)
            # Its timer was set later than the one that must not fire.
            await fail(witness, count(1))
            await witness.until(lambda: witness.gate()[-1] == "")
            # On a busy machine the time may be over before the drain.
            assert (mirrored.gate()[0], mirrored.gate()[-1]) == (OPEN, DropReason.SHUTDOWN)


async def test_a_closed_engine_leaves_no_timer() -> None:
    serials = count(1)
    with Backend(Health("UNAVAILABLE")) as backend:
        settings = at(backend, breaker=breaker(open="20ms"))
        async with mirror(settings) as witness:
            async with mirror(settings) as mirrored:
                await fail(mirrored, serials)
            said = list(mirrored.gate())
            await fail(witness, count(1))
            await witness.until(lambda: witness.gate()[-1] == "")
            assert mirrored.gate() == said


async def test_exchanges_beyond_the_first_of_a_call_that_the_breaker_shed_are_counted_like_its_legs() -> None:
    with Backend(Health("UNAVAILABLE")) as backend:
        async with mirror(at(backend, breaker=breaker())) as mirrored:
            await mirrored.play(1, 2, 3)
            mirrored.exchanges = 4
            await mirrored.play(4)
    extra = mirrored.replies[-2]
    assert (extra.call, getattr(extra, "exchanges", 0)) == (4, 3)
    assert len(mirrored.said(Outcome)) == 4


def shadow(mirrored: Mirror, number: int) -> Leg:
    ids = count(1)
    ((_, (leg,), _),) = assemble(mirrored.records[number], new_span_id=lambda: next(ids), digest_key=b"k")
    return leg


def both() -> tuple[Admission, ...]:
    return (Admission("a", 1.0), Admission("b", 1.0))
