"""Finished calls are handed on in order, a few at a time, and none is forgotten."""

from __future__ import annotations

import asyncio

from shadowmesh.mirror.gathering import Gathering


async def test_a_batch_is_handed_on_at_once_and_what_is_left_after_a_moment() -> None:
    taken: list[int] = []
    full = asyncio.Event()

    def take(number: int) -> None:
        taken.append(number)
        if len(taken) == 10:
            full.set()

    gathering = Gathering(take)
    for number in range(10):
        gathering.add(number)
    assert (taken, len(gathering)) == (list(range(8)), 2)
    await asyncio.wait_for(full.wait(), 5)
    assert (taken, len(gathering)) == (list(range(10)), 0)


async def test_a_flush_leaves_nothing_and_no_timer_behind() -> None:
    taken: list[int] = []
    gathering = Gathering(taken.append)
    gathering.add(1)
    gathering.flush()
    gathering.add(2)
    gathering.flush()
    gathering.flush()
    assert (taken, len(gathering)) == ([1, 2], 0)


def test_what_waits_when_the_loop_is_gone_can_still_be_flushed() -> None:
    taken: list[int] = []
    gathering = Gathering(taken.append)

    async def add() -> None:
        gathering.add(1)

    # Not `asyncio.run`, which would take the loop of the other tests away.
    loop = asyncio.new_event_loop()
    loop.run_until_complete(add())
    loop.close()
    gathering.flush()
    assert taken == [1]
