"""
A backend that ends a request stream early has the last word on its status (grpc/grpc#36066).

grpc.aio reports ``INTERNAL`` in place of the backend's status for many such calls. Every stream here is ended by its
backend with a status of its own while request messages are on their way, wait in a full window, or come later; no
shadow leg may show any other.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import grpc
import pytest
from support.engines import ARITIES, Mirror, mirror
from support.experiments import CONVERSE, INGEST, experiment, target
from support.records import begin

from shadowmesh.mirror.frames import Begin, Frame, LiveDone, Request, RequestEnd
from shadowmesh.names import CallEnd
from shadowmesh.testing import Backend, ReceivedCall

# Neither OK alone nor what grpc itself says of a broken stream: INTERNAL, CANCELLED, UNKNOWN.
STATUSES = ("NOT_FOUND", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "DATA_LOSS", "OUT_OF_RANGE", "OK")
CONCURRENT = 50


class Plan(NamedTuple):
    """One stream: what the backend reads and answers before it ends it, and what the live client sends when."""

    method: str
    reads: int
    answers: int
    status: str
    messages: int
    size: int
    when: str

    def first(self) -> bytes:
        """The message that tells the backend."""
        return json.dumps([self.reads, self.answers, self.status]).encode()


def plan(chance: random.Random) -> Plan:
    method = chance.choice((CONVERSE, INGEST))
    status = chance.choice(STATUSES)
    return Plan(
        method,
        reads=chance.choice((0, 0, 1, 3)),
        # The single response of a call comes with OK and never else.
        answers=int(status == "OK") if method == INGEST else chance.choice((0, 1, 4)),
        status=status,
        messages=chance.choice((1, 5, 20)),
        # 200 KB do not fit into a window of 64 KiB: the client is stopped in the middle of a write.
        size=chance.choice((0, 100, 10_000, 200_000)) if chance.random() < 0.5 else 100,
        when=chance.choice(("at once", "in turns", "after the end", "never half-closed")),
    )


def end_early(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
    reads, answers, status = json.loads(next(requests))
    for _ in range(reads):
        next(requests, None)
    for number in range(answers):
        yield b"answer %d" % number
    context.set_trailing_metadata((("x-told", status),))
    if status != "OK":
        context.abort(grpc.StatusCode[status], f"told to end with {status}")


def frames(call: int, wanted: Plan) -> tuple[list[Frame], list[Frame]]:
    """Return what the live side sends while the shadow runs, and what it sends once the shadow has ended."""
    now = time.monotonic_ns()
    start: Begin = begin(call=call, method=wanted.method, arity=ARITIES[wanted.method], at_ns=now)
    first: Frame = Request(call, (now,), (wanted.first(),), 1)
    rest: list[Frame] = [Request(call, (now,), (b"x" * wanted.size,), 1) for _ in range(wanted.messages)]
    over: list[Frame] = [RequestEnd(call, now), LiveDone(call, now + 1, "OK", CallEnd.COMPLETED, 0, True, 0)]
    if wanted.when == "after the end":
        return [start, first], [*rest, *over]
    if wanted.when == "never half-closed":
        return [start, first, *rest], over[1:]
    return [start, first, *rest, *over], []


async def play(mirrored: Mirror, plans: dict[int, Plan], chance: random.Random) -> None:
    """Play these streams at the same time, their frames in a random order between streams."""
    now, later = {}, {}
    for call, wanted in plans.items():
        now[call], later[call] = frames(call, wanted)
        if wanted.when == "at once":
            mirrored.feed(*now.pop(call))
    while now:
        call = chance.choice(list(now))
        mirrored.feed(now[call].pop(0))
        if not now[call]:
            del now[call]
    # A stream that reads more than the client has sent so far ends only after the client goes on.
    starved = {call for call in later if later[call] and plans[call].reads > sent_before(plans[call])}
    for call in starved:
        mirrored.feed(*later.pop(call))
    await mirrored.until(lambda: all(mirrored.outcomes()[call, "candidate"] for call in plans))
    for rest in later.values():
        mirrored.feed(*rest)
    await mirrored.recorded()


def sent_before(wanted: Plan) -> int:
    return 0 if wanted.when == "after the end" else wanted.messages


async def wrong_of(streams: int, seed: int) -> list[Any]:
    """Play this many streams and return what is wrong about their shadows."""
    chance = random.Random(seed)
    plans = {call: plan(chance) for call in range(1, streams + 1)}
    found: list[Any] = []
    with Backend(end_early, workers=CONCURRENT) as backend:
        # Most of these statuses would open the breaker.
        settings = experiment(target(address=backend.address, breaker={"enabled": False}), protocol="raw")
        async with mirror(settings) as mirrored:
            calls = list(plans)
            for at in range(0, streams, CONCURRENT):
                await play(mirrored, {call: plans[call] for call in calls[at : at + CONCURRENT]}, chance)
                for record in mirrored.records:
                    wanted, seen = plans[record.begin.call], record.shadows["candidate"]
                    answers = [b"answer %d" % number for number in range(wanted.answers)]
                    if (seen.status, seen.end, seen.responses) != (wanted.status, CallEnd.COMPLETED, answers):
                        found.append((wanted, seen.status, seen.end, len(seen.responses)))
                mirrored.records.clear()
                mirrored.replies.clear()
                backend.calls.clear()
            assert not mirrored.faults.totals()
    return found


async def test_of_1000_streams_that_end_early_no_shadow_reports_another_status_than_its_backend() -> None:
    assert await wrong_of(1_000, seed=36066) == []


@pytest.mark.soak
async def test_of_10000_streams_that_end_early_no_shadow_reports_another_status_than_its_backend() -> None:
    assert await wrong_of(10_000, seed=1) == []


def test_the_plans_cover_every_status_and_moment() -> None:
    chance = random.Random(36066)
    plans = [plan(chance) for _ in range(1_000)]
    assert set(Counter(one.status for one in plans)) == set(STATUSES)
    assert len({(one.method, one.reads, one.when) for one in plans}) == 2 * 3 * 4
