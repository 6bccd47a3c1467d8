"""What shadows answer is kept within one credit, which the answers of calls that are over give back."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from support.meshes import target
from support.scripts import script
from support.worlds import LIVE, World, world

from shadowmesh.mirror.observation import Observation
from shadowmesh.mirror.shadow import Answer, Dispatch
from shadowmesh.mirror.tap import Capture
from shadowmesh.names import DropReason
from shadowmesh.policy.limits import PAGE_BYTES, Tokens
from shadowmesh.rpc import Arity
from shadowmesh.testing import Backend

PAGE = b"x" * (PAGE_BYTES - 128)
"""With what keeping it costs, a page."""


def answer(credit: Tokens, said: list[str], *, limit: int = 1 << 20) -> tuple[Answer, Observation]:
    seen = Observation()
    loop = asyncio.new_event_loop()
    loop.close()
    dispatch = Dispatch(
        loop=loop,
        multicallable=None,
        arity=Arity.UNARY_STREAM,
        metadata=(),
        span_id=1,
        deadline=1.0,
        capture=Capture(credit, limit),
        let_go=said.append,
        clock=lambda: 0,
        finished=lambda: None,
    )
    return Answer(seen, dispatch), seen


def test_an_answer_that_finds_no_room_is_let_go_whole_and_said_and_the_others_stay() -> None:
    credit, said = Tokens(3), list[str]()
    first, kept = answer(credit, said)
    second, lost = answer(credit, said)
    first.add(PAGE, 1)
    second.add(PAGE, 2)
    second.add(PAGE, 3)
    assert (credit.taken, lost.captured) == (3, True)
    second.add(PAGE, 4)
    assert (lost.captured, lost.responses, lost.pages, lost.response_count) == (False, [], 0, 3)
    assert (kept.captured, kept.responses, kept.pages, credit.taken) == (True, [PAGE], 1, 1)
    second.add(PAGE, 5)
    assert (lost.response_count, credit.taken) == (4, 1)
    assert said == [DropReason.CAPTURE_FULL]


def test_an_answer_above_the_limit_of_a_call_is_let_go_as_it_is_meant_to_be() -> None:
    credit, said = Tokens(9), list[str]()
    one, seen = answer(credit, said, limit=PAGE_BYTES)
    one.add(PAGE, 1)
    one.add(b"", 2)
    assert (seen.captured, seen.pages, credit.taken, said) == (False, 0, 0, [])


@pytest.mark.parametrize("carrier", ["loop", "thread"])
def test_many_more_answers_than_fit_at_once_are_all_read_one_after_the_other(carrier: str) -> None:
    answered = b"y" * 100_000
    with (
        Backend(lambda call, requests, context: [answered]) as backend,
        world("aio", carrier, target(backend.address), mirror={"capture_bytes": 1 << 20}, output_digest=True) as it,
    ):
        for _ in range(40):
            assert it.server.call("unary_unary")(script(["send", "hello"]), timeout=20) == b"hello"
            until_recorded(it)
        legs = it.settle(40, grace=10.0)
        assert not it.mesh.faults()
    assert all(leg.output_digest is not None for leg in legs["candidate"])
    assert len(legs[LIVE]) == 40


def until_recorded(it: World) -> None:
    """Wait until the call is over at every place: only then what it holds is given back."""
    waiting, deadline = threading.Event(), time.monotonic() + 20
    while any(it.mesh.active().values()) or it.mesh.captured_bytes():
        assert time.monotonic() < deadline
        waiting.wait(0.005)
