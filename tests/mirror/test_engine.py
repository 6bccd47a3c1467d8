"""
The engine, told by frames what a live call did, with a real backend to mirror to and a recorder that only listens.

Whatever becomes of a call: it is recorded once, each shadow that was admitted has one outcome, and all its credit comes
back.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.engines import ARITIES, answer, at, free_port, hang, mirror
from support.experiments import CONVERSE, GENERATE, INGEST, STREAM_GENERATE, experiment, target
from support.records import begin
from support.wire import request, response

from shadowmesh.mirror.frames import (
    Abandon,
    Caller,
    Credit,
    Drain,
    Extra,
    Frame,
    LiveDone,
    Outcome,
    Reload,
    Request,
    RequestEnd,
    Response,
    Settled,
    State,
)
from shadowmesh.names import CallEnd, DropReason
from shadowmesh.policy.plan import Admission
from shadowmesh.testing import Backend, ReceivedCall, echo

# --- every arity ----------------------------------------------------------------------------------------------


async def test_a_unary_call_is_mirrored_recorded_and_settled() -> None:
    with Backend(answer) as backend:
        async with mirror(at(backend)) as mirrored:
            start = mirrored.unary(data=request("q"), pages=3)
            mirrored.feed(Response(1, (start.at_ns + 1,), (response("live"),), 2))
            mirrored.done(at_ns=start.at_ns + 2)
            (record,) = await mirrored.recorded()
    shadow = record.shadows["candidate"]
    assert (shadow.status, shadow.end, shadow.responses) == ("OK", CallEnd.COMPLETED, [response("four")])
    assert (shadow.concurrency, shadow.captured, shadow.response_count) == (1.0, True, 1)
    assert start.at_ns <= shadow.started_ns <= shadow.response_times[0] <= shadow.ended_ns
    assert shadow.queue_ns == shadow.started_ns - start.at_ns
    live = record.live
    assert (live.status, live.end, live.responses, live.ended_ns) == (
        "OK",
        "completed",
        [response("live")],
        start.at_ns + 2,
    )
    assert (record.requests, record.requests_complete) == ([request("q")], True)
    assert backend.calls[0].requests == [request("q")]
    assert mirrored.outcomes() == {(1, "candidate"): 1}
    assert mirrored.replies[-1] == Credit(1, 5)
    assert mirrored.credit() == 5
    assert not mirrored.said(Extra)
    assert not mirrored.faults.totals()


async def test_a_server_stream_is_drained_at_its_own_pace() -> None:
    deltas = [b"a", b"", b"c"]
    with Backend(lambda call, requests, context: deltas) as backend:
        async with mirror(at(backend)) as mirrored:
            mirrored.unary(method=STREAM_GENERATE)
            mirrored.done()
            (record,) = await mirrored.recorded()
    shadow = record.shadows["candidate"]
    assert (shadow.status, shadow.responses, len(shadow.response_times)) == ("OK", deltas, 3)


@pytest.mark.parametrize("method", [INGEST, CONVERSE])
async def test_request_streams_are_sent_as_they_pass(method: str) -> None:
    script = answer if method == INGEST else echo
    messages = (request("one"), request("two"), request("three"))
    with Backend(script) as backend:
        async with mirror(at(backend)) as mirrored:
            mirrored.begin(method=method)
            mirrored.feed(Request(1, (1,), messages[:1], 1), Request(1, (2, 3), messages[1:], 0))
            mirrored.feed(RequestEnd(1, 4))
            mirrored.done()
            (record,) = await mirrored.recorded()
    assert backend.calls[0].requests == record.requests == list(messages)
    assert backend.calls[0].half_closed
    shadow = record.shadows["candidate"]
    assert (shadow.status, len(shadow.request_times)) == ("OK", 3)
    assert shadow.responses == ([response("four")] if method == INGEST else list(messages))
    assert record.live.request_times == [1, 2, 3]
    assert (mirrored.outcomes(), mirrored.credit()) == ({(1, "candidate"): 1}, 1)


async def test_a_live_server_that_ends_before_the_client_half_closed_half_closes_the_shadow() -> None:
    with Backend(answer) as backend:
        async with mirror(at(backend)) as mirrored:
            mirrored.begin(method=INGEST)
            mirrored.feed(Request(1, (1,), (b"one",), 1))
            mirrored.done(status="INVALID_ARGUMENT")
            (record,) = await mirrored.recorded()
    assert record.shadows["candidate"].status == "OK"
    assert backend.calls[0].requests == [b"one"]


# --- what a shadow is sent ------------------------------------------------------------------------------------


async def test_a_shadow_is_marked_and_carries_the_trace_and_only_the_metadata_its_target_may_see() -> None:
    with Backend(answer) as backend:
        settings = experiment(
            target("a", address=backend.address, metadata=["x-user", "x-dup"], deadline="7s"),
            target("b", address=backend.address, metadata=["x-bin-*"]),
        )
        caller = Caller(f"00-{5:032x}-{6:016x}-00", "vendor=1")
        async with mirror(settings) as mirrored:
            mirrored.unary(
                caller=caller,
                deadline=0.5,
                metadata=(("x-user", "u"), ("x-dup", "1"), ("x-bin-bin", b"\x00\xff"), ("x-dup", "2")),
                admissions=(Admission("a", 1.0), Admission("b", 1.0)),
            )
            mirrored.done()
            (record,) = await mirrored.recorded()
    seen = {dict(call.metadata)["traceparent"]: call for call in backend.calls}
    for name, wanted in (
        ("a", [("x-user", "u"), ("x-dup", "1"), ("x-dup", "2")]),
        ("b", [("x-bin-bin", b"\x00\xff")]),
    ):
        call = seen[f"00-{5:032x}-{record.shadows[name].span_id:016x}-00"]
        sent = dict(call.metadata)
        assert sent["x-shadowmesh-role"] == "shadow"
        assert sent["x-shadowmesh-pair-id"] == f"{record.pair_id:032x}"
        assert sent["x-shadowmesh-instance"] == "instance-1"
        assert sent["tracestate"] == "vendor=1"
        assert [entry for entry in call.metadata if entry[0].startswith(("x-user", "x-dup", "x-bin"))] == wanted
        assert call.deadline is not None
        assert call.deadline > 5, "the target's deadline, never the live call's"
    deadlines = sorted(call.deadline for call in backend.calls if call.deadline is not None)
    assert deadlines[0] < 8 < deadlines[1] < 61


# --- every way a shadow may end -------------------------------------------------------------------------------


async def test_a_shed_target_has_a_leg_and_no_outcome() -> None:
    with Backend(answer) as backend:
        settings = experiment(target("a", address=backend.address), target("b", address=backend.address))
        async with mirror(settings) as mirrored:
            mirrored.unary(admissions=(Admission("a", 1.0, DropReason.CONCURRENCY_LIMIT), Admission("b", 1.0)))
            mirrored.done()
            (record,) = await mirrored.recorded()
    assert list(record.shadows) == ["a", "b"]
    shed = record.shadows["a"]
    assert (shed.end, shed.status, shed.captured, shed.started_ns) == (CallEnd.SHED, "", False, shed.ended_ns)
    assert shed.span_id
    assert mirrored.outcomes() == {(1, "b"): 1}
    assert len(backend.calls) == 1


async def test_a_backend_that_fails_is_a_result() -> None:
    def fail(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
        yield b"first"
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no more")

    with Backend(fail) as backend:
        async with mirror(at(backend)) as mirrored:
            for call, method in enumerate(ARITIES, 1):
                mirrored.unary(call, method)
                mirrored.done(call)
            records = await mirrored.recorded(4)
    assert {record.shadows["candidate"].status for record in records} == {"RESOURCE_EXHAUSTED"}
    assert {record.shadows["candidate"].end for record in records} == {CallEnd.COMPLETED}
    assert mirrored.outcomes() == {(call, "candidate"): 1 for call in range(1, 5)}
    assert mirrored.credit() == 4


@pytest.mark.parametrize("method", ARITIES)
async def test_a_target_that_refuses_connections_is_a_result(method: str) -> None:
    refused = experiment(target(address=f"127.0.0.1:{free_port()}"))
    async with mirror(refused) as mirrored:
        mirrored.unary(method=method)
        mirrored.done()
        (record,) = await mirrored.recorded()
    assert (record.shadows["candidate"].status, record.shadows["candidate"].end) == ("UNAVAILABLE", "completed")
    assert (mirrored.outcomes(), mirrored.credit()) == ({(1, "candidate"): 1}, 1)


@pytest.mark.parametrize("method", [GENERATE, CONVERSE])
async def test_a_hanging_target_ends_by_its_own_deadline(method: str) -> None:
    with Backend(hang) as backend:
        async with mirror(at(backend, deadline="500ms")) as mirrored:
            mirrored.unary(method=method)
            mirrored.done()
            (record,) = await mirrored.recorded()
            shadow = record.shadows["candidate"]
            assert (shadow.status, shadow.end) == ("DEADLINE_EXCEEDED", CallEnd.DEADLINE)
            assert backend.calls[0].ended.wait(20)


async def test_a_shadow_that_ends_before_the_live_call_waits_for_it() -> None:
    with Backend(answer) as backend:
        async with mirror(at(backend)) as mirrored:
            mirrored.unary()
            await mirrored.until(lambda: bool(mirrored.outcomes()))
            assert not mirrored.records
            assert mirrored.engine.open_calls == 1
            mirrored.done()
            assert len(await mirrored.recorded()) == 1
    assert mirrored.replies[-1] == Credit(1, 1)


# --- every way a live call may end ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", [GENERATE, STREAM_GENERATE, CONVERSE])
@pytest.mark.parametrize(("status", "end"), [("CANCELLED", CallEnd.CANCELLED), ("DEADLINE_EXCEEDED", CallEnd.DEADLINE)])
async def test_a_live_call_that_is_cut_short_stops_its_shadow_at_the_same_age(
    method: str, status: str, end: CallEnd
) -> None:
    with Backend(hang) as backend:
        async with mirror(at(backend)) as mirrored:
            start = mirrored.unary(method=method)
            await asyncio.to_thread(backend.wait_for_calls, 1)
            age = time.monotonic_ns() - start.at_ns
            mirrored.done(status=status, end=end, at_ns=start.at_ns + age)
            (record,) = await mirrored.recorded()
            shadow = record.shadows["candidate"]
            assert (shadow.status, shadow.end) == ("CANCELLED", end)
            assert shadow.ended_ns - shadow.started_ns >= age
            assert backend.calls[0].ended.wait(20), "and the backend hears of it"
    assert (mirrored.outcomes(), mirrored.credit()) == ({(1, "candidate"): 1}, 1)


@pytest.mark.parametrize("method", ARITIES)
@pytest.mark.parametrize("end", [CallEnd.CANCELLED, CallEnd.COMPLETED])
async def test_a_live_call_that_ends_before_its_first_request_message(method: str, end: CallEnd) -> None:
    with Backend(answer) as backend:
        settings = experiment(target("a", address=backend.address), target("b", address=backend.address))
        async with mirror(settings) as mirrored:
            start = mirrored.begin(method=method, admissions=(Admission("a", 1.0), Admission("b", 1.0)))
            mirrored.done(status="CANCELLED", end=end, at_ns=start.at_ns + 1)
            (record,) = await mirrored.recorded()
    assert set(record.shadows) == {"a", "b"}
    assert mirrored.outcomes() == {(1, "a"): 1, (1, "b"): 1}
    assert mirrored.replies[-1] == Credit(1, 0)
    assert not mirrored.faults.totals()


async def test_requests_that_were_let_go_cut_the_shadow_and_mark_the_call() -> None:
    with Backend(hang) as backend:
        async with mirror(at(backend)) as mirrored:
            mirrored.begin(method=CONVERSE)
            mirrored.feed(Request(1, (1,), (request(),), 1), Abandon(1, DropReason.OVERSIZE), RequestEnd(1, 2))
            await mirrored.until(lambda: bool(mirrored.outcomes()))
            mirrored.done()
            (record,) = await mirrored.recorded()
    assert not record.requests_complete
    assert record.shadows["candidate"].end == CallEnd.CUT
    assert (mirrored.outcomes(), mirrored.credit()) == ({(1, "candidate"): 1}, 1)


async def test_answers_whose_bytes_were_let_go_are_counted() -> None:
    with Backend(answer) as backend:
        async with mirror(at(backend)) as mirrored:
            mirrored.unary(method=STREAM_GENERATE)
            mirrored.feed(Response(1, (1, 2), (b"a", b"b"), 1), Response(1, (3,), (), 0))
            mirrored.feed(LiveDone(1, 9, "OK", CallEnd.COMPLETED, 7, captured=False, total=3))
            (record,) = await mirrored.recorded()
    live = record.live
    assert (live.response_count, live.response_times, live.responses) == (3, [1, 2, 3], [])
    assert (live.captured, live.stall_ns) == (False, 7)
    assert mirrored.credit() == 2


# --- what nobody can mirror -----------------------------------------------------------------------------------


async def test_a_call_of_an_unknown_experiment_gives_everything_back() -> None:
    async with mirror(experiment()) as mirrored:
        admissions = (Admission("a", 1.0), Admission("b", 1.0, DropReason.QUEUE_FULL))
        mirrored.unary(pages=3, experiment="gone", admissions=admissions)
        mirrored.feed(Response(1, (1,), (b"x",), 2))
        mirrored.feed(Abandon(1, "oversize"))
        mirrored.done()
    assert mirrored.outcomes() == {(1, "a"): 1}
    assert mirrored.credit() == 5
    assert not mirrored.records
    assert mirrored.faults.totals() == {"engine: unknown experiment": 1}


async def test_a_target_the_experiment_does_not_have_is_cut_and_its_neighbour_mirrored() -> None:
    with Backend(answer) as backend:
        async with mirror(at(backend)) as mirrored:
            mirrored.unary(admissions=(Admission("gone", 1.0), Admission("candidate", 1.0)))
            mirrored.done()
            (record,) = await mirrored.recorded()
    assert (record.shadows["gone"].end, record.shadows["candidate"].status) == (CallEnd.CUT, "OK")
    assert mirrored.outcomes() == {(1, "gone"): 1, (1, "candidate"): 1}
    assert mirrored.faults.totals() == {"shadow start: KeyError": 1}


async def test_frames_of_a_call_that_never_began_or_is_over_only_give_their_credit_back() -> None:
    async with mirror(experiment()) as mirrored:
        mirrored.feed(Request(9, (1,), (b"x",), 2), RequestEnd(9, 1), Response(9, (1,), (b"x",), 1), Abandon(9, "x"))
        mirrored.done(9)
    assert mirrored.replies == [Credit(9, 2), Credit(9, 1)]
    assert not mirrored.faults.totals()


async def test_frames_that_go_the_other_way_are_counted_as_faults_and_nothing_else() -> None:
    async with mirror(experiment()) as mirrored:
        mirrored.feed(Outcome(1, "a", "b"), Credit(1, 1), State(1, "a", "b", ""))
    assert mirrored.faults.totals() == {f"engine {kind}: KeyError": 1 for kind in ("Outcome", "Credit", "State")}
    assert not mirrored.replies


# --- several exchanges, and a recorder that breaks ------------------------------------------------------------


async def test_exchanges_beyond_the_first_are_reported_for_every_target_that_has_legs_shed_or_not() -> None:
    with Backend(answer) as backend:
        settings = experiment(target("a", address=backend.address), target("b", address=backend.address))
        async with mirror(settings) as mirrored:
            mirrored.exchanges = 4
            admissions = (Admission("a", 1.0), Admission("b", 1.0, DropReason.OVERSIZE))
            mirrored.unary(admissions=admissions)
            mirrored.done()
            await mirrored.recorded()
    assert mirrored.said(Extra) == [Extra(1, "summaries", admissions, 3)]
    assert mirrored.credit() == 1


async def test_a_recorder_that_breaks_costs_the_record_and_nothing_else() -> None:
    with Backend(answer) as backend:
        async with mirror(at(backend)) as mirrored:
            mirrored.broken = True
            mirrored.unary()
            mirrored.done()
            await mirrored.recorded()
    assert (mirrored.outcomes(), mirrored.credit()) == ({(1, "candidate"): 1}, 1)
    assert mirrored.said(Settled) == [Settled(0, (1,), (1,))]
    assert mirrored.faults.totals() == {"recorder: RuntimeError": 1}


# --- reload ---------------------------------------------------------------------------------------------------


async def test_a_reload_holds_for_calls_that_begin_after_it() -> None:
    with Backend(answer) as backend:
        before, after = at(backend, version="1"), at(backend, version="2")
        async with mirror(before) as mirrored:
            mirrored.begin(1)
            mirrored.reload(after)
            mirrored.unary(2)
            mirrored.feed(Request(1, (1,), (request(),), 1))
            mirrored.done(1)
            mirrored.done(2)
            records = await mirrored.recorded(2)
    versions = {record.begin.call: record.experiment.targets[0].version for record in records}
    assert versions == {1: "1", 2: "2"}
    assert {record.shadows["candidate"].status for record in records} == {"OK"}


@pytest.mark.parametrize("config", [b"", b"{}", b'[{"name": "x"}]', b"\xff"])
async def test_a_reload_that_cannot_be_read_changes_nothing(config: bytes) -> None:
    with Backend(answer) as backend:
        async with mirror(at(backend)) as mirrored:
            mirrored.feed(Reload(0, config))
            mirrored.unary()
            mirrored.done()
            (record,) = await mirrored.recorded()
    assert record.shadows["candidate"].status == "OK"
    assert mirrored.faults.totals() == {"engine Reload: ValidationError": 1}


# --- drain ----------------------------------------------------------------------------------------------------


async def test_a_drain_closes_every_target_once_and_is_over_at_once_when_nothing_is_open() -> None:
    settings = (experiment(target("a"), target("b")), experiment(name="other"))
    async with mirror(*settings) as mirrored:
        await asyncio.wait_for(mirrored.engine.drain(60), 20)
        await asyncio.wait_for(mirrored.engine.drain(60), 20)
        mirrored.feed(Drain(0, 1.0))
    assert mirrored.replies == [
        State(0, "summaries", "a", DropReason.SHUTDOWN),
        State(0, "summaries", "b", DropReason.SHUTDOWN),
        State(0, "other", "candidate", DropReason.SHUTDOWN),
    ]


async def test_a_drain_waits_for_what_is_open() -> None:
    release = threading.Event()

    def slow(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
        release.wait(20)
        yield response("late")

    with Backend(slow) as backend:
        async with mirror(at(backend)) as mirrored:
            mirrored.unary()
            mirrored.done()
            draining = asyncio.create_task(mirrored.engine.drain(20))
            await asyncio.to_thread(backend.wait_for_calls, 1)
            assert not draining.done()
            release.set()
            await asyncio.wait_for(draining, 20)
    assert mirrored.records[0].shadows["candidate"].status == "OK"


@pytest.mark.parametrize("method", ARITIES)
@pytest.mark.parametrize("live_ended", [True, False])
async def test_a_drain_without_grace_cuts_records_and_settles_everything(method: str, live_ended: bool) -> None:
    with Backend(hang) as backend:
        async with mirror(at(backend)) as mirrored:
            mirrored.unary(method=method)
            await asyncio.to_thread(backend.wait_for_calls, 1)
            if live_ended:
                mirrored.done()
            await asyncio.wait_for(mirrored.engine.drain(0), 20)
            (record,) = mirrored.records
            assert record.shadows["candidate"].end == CallEnd.CUT
            assert record.live.end == (CallEnd.COMPLETED if live_ended else CallEnd.CUT)
            assert record.live.ended_ns >= record.live.started_ns
            assert backend.calls[0].ended.wait(20)
            mirrored.done()
    assert (mirrored.outcomes(), mirrored.credit()) == ({(1, "candidate"): 1}, 1)
    assert len(mirrored.records) == 1


# --- all of it together ---------------------------------------------------------------------------------------


def mixed(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
    """Answers, fails or hangs, as the first request message says."""
    for message in requests:
        if message == b"fail":
            context.abort(grpc.StatusCode.INTERNAL, "as asked")
        if message == b"hang":
            call.ended.wait(20)
            return
        yield message


LIVES = st.tuples(
    st.sampled_from(list(ARITIES)),
    st.lists(st.sampled_from([b"answer", b"fail", b"hang"]), max_size=3),
    st.sampled_from(["known", "known", "known", "unknown"]),
    st.sampled_from([CallEnd.COMPLETED, CallEnd.CANCELLED, CallEnd.DEADLINE]),
    st.booleans(),
    st.booleans(),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(LIVES, max_size=5), st.randoms(use_true_random=False))
async def test_after_any_mix_of_calls_and_a_drain_nothing_is_open_or_owed(
    lives: list[tuple[str, list[bytes], str, CallEnd, bool, bool]], chance: Any
) -> None:
    with Backend(mixed) as backend:
        refused = target("refused", address="127.0.0.1:1")
        async with mirror(experiment(target("a", address=backend.address), refused)) as mirrored:
            held, admitted, known = 0, Counter[tuple[int, str]](), []
            scripts: list[list[Frame]] = []
            for call, (method, messages, name, end, abandoned, shed) in enumerate(lives, 1):
                admissions = (
                    Admission("a", 1.0, DropReason.QUEUE_FULL if shed else ""),
                    Admission("refused", 0.5),
                )
                admitted.update((call, one.target) for one in admissions if not one.drop_reason)
                now = time.monotonic_ns()
                start = begin(
                    call=call,
                    method=method,
                    arity=ARITIES[method],
                    at_ns=now,
                    experiment="summaries" if name == "known" else "gone",
                    admissions=admissions,
                )
                known += [call] if name == "known" else []
                streams = ARITIES[method].request_streaming
                asked = messages if streams else messages[:1]
                frames: list[Frame] = [start]
                frames += [Request(call, (now,), (message,), 1) for message in asked]
                frames += [Abandon(call, "oversize")] if abandoned and streams else []
                frames += [RequestEnd(call, now), Response(call, (now,), (b"live",), 2)]
                frames += [LiveDone(call, now + 1, "OK", end, 0, captured=True, total=1)]
                held += len(asked) + 2
                scripts.append(frames)
            while any(scripts):
                mirrored.feed(chance.choice([script for script in scripts if script]).pop(0))
                if chance.random() < 0.3:
                    await asyncio.sleep(0)
            await mirrored.engine.drain(0)
            assert sorted(record.begin.call for record in mirrored.records) == known
            assert mirrored.outcomes() == admitted
            assert mirrored.credit() == held
            assert set(mirrored.faults.totals()) <= {"engine: unknown experiment"}
            for record in mirrored.records:
                assert set(record.shadows) == {"a", "refused"}
                assert all(shadow.end and shadow.ended_ns >= shadow.started_ns for shadow in record.shadows.values())
