"""What an engine makes of a client's abort, whenever it comes, and whatever the shadow's server makes of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.dialects.spoken import view
from support.engines import Mirror, mirror
from support.experiments import experiment, target
from support.id_engine import SGLANG, SGLANG_SMG, TRTLLM, VLLM, IdEngine, Protocol

from shadowmesh.mirror.aborting import MOST_AT_ONCE
from shadowmesh.mirror.frames import Abort, Aborted, Request, RequestEnd
from shadowmesh.mirror.judged_experiment import JudgedExperimentSettings
from shadowmesh.names import AbortResult, CallEnd
from shadowmesh.policy.plan import Admission
from shadowmesh.rpc import Arity
from shadowmesh.testing import Backend, ReceivedCall

SAMPLING = {"max_tokens": 8, "temperature": 0.5}
ANSWERED = 2.0
"""Seconds a server has to answer an abort, and then as many to do as asked: more than a busy machine takes."""
ASKED, STOPPED, FAILED = AbortResult.ASKED, AbortResult.STOPPED, AbortResult.FAILED


def at(address: str, protocol: Protocol = VLLM, **policy: Any) -> JudgedExperimentSettings:
    one = target(address=address, max_in_flight=1000, breaker={"enabled": False}, **policy)
    return experiment(one, methods=[protocol.generate], protocol=protocol.name)


def start(mirrored: Mirror, live_id: str = "live", call: int = 1, protocol: Protocol = VLLM, **changes: Any) -> None:
    facts: dict[str, Any] = {"method": protocol.generate, "arity": Arity.UNARY_STREAM} | changes
    mirrored.unary(call, data=protocol.asked(live_id), **facts)


def abort(mirrored: Mirror, *ids: str, at_ns: int = 0, protocol: Protocol = VLLM) -> None:
    mirrored.feed(Abort(0, at_ns or time.monotonic_ns(), protocol.abort, protocol.aborting(*ids)))


def results(mirrored: Mirror) -> Counter[str]:
    counted: Counter[str] = Counter()
    for frame in mirrored.replies:
        if isinstance(frame, Aborted):
            counted[frame.result] += frame.times
    return counted


Reply = Callable[[ReceivedCall, grpc.ServicerContext], Iterable[bytes]]


class Deaf:
    """A script that streams for ever, and answers an abort as ``reply`` says."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def __call__(self, call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
        list(requests)
        if call.method == VLLM.abort:
            return self._reply(call, context)
        return self._for_ever(call)

    def _for_ever(self, call: ReceivedCall) -> Iterator[bytes]:
        yield VLLM.piece.SerializeToString()
        call.ended.wait(20)


def ignore(call: ReceivedCall, context: grpc.ServicerContext) -> Iterable[bytes]:
    return [b""]


def hang(call: ReceivedCall, context: grpc.ServicerContext) -> Iterable[bytes]:
    call.ended.wait(20)
    return []


def unknown(call: ReceivedCall, context: grpc.ServicerContext) -> Iterable[bytes]:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such method")


async def calls(backend: Backend, count: int) -> list[ReceivedCall]:
    return await asyncio.to_thread(backend.wait_for_calls, count)


async def test_a_running_shadow_s_server_is_asked_to_end_it_and_it_ends_as_that_server_ends_it() -> None:
    engine = IdEngine(VLLM)
    with Backend(engine) as backend:
        async with mirror(at(backend.address)) as mirrored:
            start(mirrored)
            await asyncio.to_thread(engine.wait_for, 1)
            abort(mirrored, "another", "live")
            await mirrored.until(lambda: mirrored.outcomes() == {(1, "candidate"): 1})
            mirrored.done()
            (record,) = await mirrored.recorded()
            await mirrored.until(lambda: results(mirrored) == {ASKED: 1})
    assert engine.aborted == [(f"shadow-candidate-{record.pair_id:032x}",)]
    shadow = record.shadows["candidate"]
    assert (shadow.status, shadow.end, shadow.response_count) == ("OK", CallEnd.COMPLETED, 2)


async def test_a_shadow_that_its_server_has_not_heard_of_is_stopped_before_it_starts() -> None:
    engine = IdEngine(VLLM)
    with Backend(engine) as backend:
        async with mirror(at(backend.address)) as mirrored:
            start(mirrored)
            abort(mirrored, "live")
            mirrored.done()
            (record,) = await mirrored.recorded()
            assert results(mirrored) == {STOPPED: 1}
            # The connection works, and this is the first call on it.
            start(mirrored, call=2)
            await asyncio.to_thread(engine.wait_for, 1)
            engine.let_go()
            mirrored.done(2)
            await mirrored.recorded(2)
    assert len(engine.started) == 1
    shadow = record.shadows["candidate"]
    assert (shadow.status, shadow.end, shadow.sent) == ("CANCELLED", CallEnd.CANCELLED, 0)


async def test_an_id_that_nobody_has_yet_is_not_kept_for_later() -> None:
    engine = IdEngine(VLLM)
    with Backend(engine) as backend:
        async with mirror(at(backend.address)) as mirrored:
            abort(mirrored, "live")
            start(mirrored)
            await asyncio.to_thread(engine.wait_for, 1)
            mirrored.done()
            engine.let_go()
            (record,) = await mirrored.recorded()
            abort(mirrored, "live")
            assert results(mirrored) == {}
    assert (record.shadows["candidate"].status, engine.aborted) == ("OK", [])


@pytest.mark.parametrize(("later", "expected"), [(True, {}), (False, {ASKED: 1})])
async def test_a_live_call_that_had_ended_by_itself_lost_nothing_and_neither_does_its_shadow(
    later: bool, expected: dict[str, int]
) -> None:
    engine = IdEngine(VLLM)
    with Backend(engine) as backend:
        async with mirror(at(backend.address)) as mirrored:
            start(mirrored)
            await asyncio.to_thread(engine.wait_for, 1)
            # The live server ends a call that was aborted before it answers the abort.
            asked_ns = time.monotonic_ns()
            mirrored.done(at_ns=asked_ns - 1 if later else asked_ns + 1)
            abort(mirrored, "live", at_ns=asked_ns)
            if later:
                engine.let_go()
            await mirrored.recorded()
            await mirrored.until(lambda: results(mirrored) == expected)
    assert len(engine.aborted) == len(expected)


async def test_a_detached_shadow_runs_on() -> None:
    engine = IdEngine(VLLM)
    with Backend(engine) as backend:
        async with mirror(at(backend.address, on_live_cancel="detach")) as mirrored:
            start(mirrored)
            await asyncio.to_thread(engine.wait_for, 1)
            abort(mirrored, "live")
            mirrored.done()
            engine.let_go()
            (record,) = await mirrored.recorded()
    assert (record.shadows["candidate"].status, engine.aborted, results(mirrored)) == ("OK", [], {})


@pytest.mark.parametrize(("reply", "seconds"), [(unknown, 20.0), (hang, 1.0)])
async def test_where_it_cannot_be_asked_the_shadow_s_call_is_cancelled_and_that_is_said_once(
    reply: Reply, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    with Backend(Deaf(reply)) as backend:
        async with mirror(at(backend.address), abort_seconds=seconds) as mirrored:
            for call in (1, 2):
                start(mirrored, call=call)
                heard = [one for one in await calls(backend, 2 * call - 1) if one.method == VLLM.generate]
                abort(mirrored, "live")
                await mirrored.until(lambda seen=call: len(mirrored.outcomes()) == seen)  # type: ignore[misc]
                mirrored.done(call)
                assert await asyncio.to_thread(heard[-1].ended.wait, 20)
            records = await mirrored.recorded(2)
    assert results(mirrored) == {FAILED: 2}
    assert {record.shadows["candidate"].end for record in records} == {CallEnd.CANCELLED}
    (cause,) = mirrored.faults.totals()
    assert cause.startswith(f"abort: {VLLM.abort} at summaries/candidate: ")
    assert mirrored.faults.totals() == {cause: 2}
    assert sum(cause in record.message for record in caplog.records) == 1


async def test_a_server_that_does_not_end_what_it_was_asked_to_end_loses_the_call_once_the_live_one_is_over() -> None:
    with Backend(Deaf(ignore)) as backend:
        async with mirror(at(backend.address), abort_seconds=ANSWERED) as mirrored:
            start(mirrored)
            (heard,) = await calls(backend, 1)
            abort(mirrored, "live")
            mirrored.done()
            (record,) = await mirrored.recorded()
            assert await asyncio.to_thread(heard.ended.wait, 20)
    assert record.shadows["candidate"].end == CallEnd.CANCELLED
    assert (results(mirrored), mirrored.faults.totals()) == ({ASKED: 1}, {})


async def test_it_is_asked_once_however_often_the_client_says_so() -> None:
    with Backend(Deaf(ignore)) as backend:
        async with mirror(at(backend.address), abort_seconds=ANSWERED) as mirrored:
            start(mirrored)
            await calls(backend, 1)
            for _ in range(5):
                abort(mirrored, "live")
            mirrored.done()
            await mirrored.recorded()
    assert [call.method for call in backend.calls].count(VLLM.abort) == 1
    assert results(mirrored) == {ASKED: 1}


async def test_every_call_with_that_id_ends_and_every_target_s_shadow_by_its_own() -> None:
    engine = IdEngine(SGLANG_SMG)
    with Backend(engine) as backend:
        several = experiment(
            *(target(name, address=backend.address) for name in ("a", "b")),
            methods=[SGLANG_SMG.generate],
            protocol="sglang_smg",
        )
        both = (Admission("a", 1.0), Admission("b", 1.0))
        async with mirror(several) as mirrored:
            for call in (1, 2):
                start(mirrored, call=call, protocol=SGLANG_SMG, admissions=both)
            await asyncio.to_thread(engine.wait_for, 4)
            abort(mirrored, "live", protocol=SGLANG_SMG)
            for call in (1, 2):
                mirrored.done(call)
            records = await mirrored.recorded(2)
            await mirrored.until(lambda: len(mirrored.said(Aborted)) == 4)
    expected = {(f"shadow-{name}-{record.pair_id:032x}",) for record in records for name in ("a", "b")}
    assert set(engine.aborted) == expected
    assert len(engine.aborted) == 4


async def test_beyond_a_number_at_once_the_shadows_calls_are_cancelled_instead() -> None:
    most = MOST_AT_ONCE + 3
    with Backend(Deaf(hang), workers=2 * most) as backend:
        async with mirror(at(backend.address), abort_seconds=2.0) as mirrored:
            for call in range(1, most + 1):
                start(mirrored, f"r{call}", call)
            await calls(backend, most)
            abort(mirrored, *(f"r{call}" for call in range(1, most + 1)))
            for call in range(1, most + 1):
                mirrored.done(call)
            await mirrored.recorded(most)
    assert mirrored.faults.totals()["abort: too many at once"] == 3
    assert results(mirrored)[FAILED] == most
    assert [call.method for call in backend.calls].count(VLLM.abort) == MOST_AT_ONCE


async def test_a_stream_of_requests_is_known_by_its_first_message() -> None:
    engine = IdEngine(VLLM)
    with Backend(engine) as backend:
        async with mirror(at(backend.address)) as mirrored:
            mirrored.begin(method=VLLM.generate, arity=Arity.STREAM_STREAM)
            mirrored.feed(Request(1, (1,), (VLLM.asked("live"),), 1), RequestEnd(1, 2))
            await asyncio.to_thread(engine.wait_for, 1)
            abort(mirrored, "live")
            mirrored.done()
            (record,) = await mirrored.recorded()
    assert engine.started == [f"shadow-candidate-{record.pair_id:032x}"]
    assert engine.aborted == [(engine.started[0],)]


@pytest.mark.parametrize(
    ("protocol", "asked"),
    [(TRTLLM, {"tokenized": {"input_ids": [1, 2]}}), (SGLANG, {"text": "two and two?"})],
    ids=["ids", "text"],
)
async def test_a_shadow_in_another_protocol_ends_by_the_method_of_its_own(
    protocol: Protocol, asked: dict[str, Any]
) -> None:
    engine = IdEngine(protocol)
    data = view("smg.VllmGenerateRequest", request_id="live", sampling_params=SAMPLING, stream=True, **asked)
    with Backend(engine) as backend:
        translate = {"protocol": protocol.name, "tokenizer": "t", "defaults": {"top_p": "unset", "top_k": "unset"}}
        one = target(address=backend.address, translate=translate)
        both = experiment(one, methods=[VLLM.generate], protocol=VLLM.name, tokenizer="t")
        async with mirror(both) as mirrored:
            mirrored.unary(data=data.SerializeToString(), method=VLLM.generate, arity=Arity.UNARY_STREAM)
            await asyncio.to_thread(engine.wait_for, 1)
            abort(mirrored, "live")
            mirrored.done()
            (record,) = await mirrored.recorded()
    own = f"shadow-candidate-{record.pair_id:032x}"
    assert (engine.started, engine.aborted) == ([own], [(own,)])
    assert engine.aborts[0].method == protocol.abort


async def test_the_target_s_credentials_go_with_it(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("s3cret")
    engine = IdEngine(VLLM)
    with Backend(engine) as backend:
        named = [{"key": "x-api-key", "file": str(key)}]
        async with mirror(at(backend.address, credentials=named)) as mirrored:
            start(mirrored)
            await asyncio.to_thread(engine.wait_for, 1)
            abort(mirrored, "live")
            mirrored.done()
            await mirrored.recorded()
    assert dict(engine.aborts[0].metadata)["x-api-key"] == "s3cret"


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x0a\x04liv", b"\x0a\x01\xff", b"\x08\x01"])
async def test_bytes_that_name_nobody_end_nobody(data: bytes) -> None:
    engine = IdEngine(VLLM)
    with Backend(engine) as backend:
        async with mirror(at(backend.address)) as mirrored:
            start(mirrored)
            await asyncio.to_thread(engine.wait_for, 1)
            mirrored.feed(Abort(0, time.monotonic_ns(), VLLM.abort, data), Abort(0, 1, "/acme.Models/Stop", data))
            engine.let_go()
            mirrored.done()
            await mirrored.recorded()
    assert (engine.aborted, mirrored.faults.totals()) == ([], {})
