"""The pump, in a real loop: it wakes for what comes, loses nothing, and sleeps when nothing does."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from shadowmesh.mirror.carrier import Mailbox
from shadowmesh.mirror.frames import Credit, Frame
from shadowmesh.mirror.pump import INTERVAL, Pump
from shadowmesh.mirror.tap import Room


class Collector:
    """A consumer that says when it has as many frames as a test waits for."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.threads: set[int] = set()
        self._wanted = 0
        self._enough = asyncio.Event()

    def feed(self, frame: Frame) -> None:
        self.numbers.append(frame.call)
        self.threads.add(threading.get_ident())
        if len(self.numbers) >= self._wanted:
            self._enough.set()

    async def drain(self, grace: float) -> None:
        """A collector has nothing open."""

    def end_now(self) -> None:
        """Nothing is open here."""

    async def close(self) -> None:
        """A collector holds nothing."""

    async def wait_for(self, count: int) -> list[int]:
        self._wanted = count
        if len(self.numbers) < count:
            self._enough.clear()
            await asyncio.wait_for(self._enough.wait(), 20)
        return self.numbers


class Pumped:
    """A pump and both of its ends, in the running loop."""

    def __init__(self, capacity: int = 100_000) -> None:
        self.mailbox = Mailbox(capacity)
        self.consumer = Collector()
        self.pump = Pump(self.mailbox, self.consumer, asyncio.get_running_loop(), lambda opened: None)

    def offer(self, number: int, room: Room = Room.NEW, *, inside: bool = True) -> bool:
        return self.pump.offer(Credit(number, 0), room, inside=inside)


async def test_frames_arrive_in_order_in_the_loop() -> None:
    pumped = Pumped()
    for number in range(100):
        assert pumped.offer(number)
    assert pumped.consumer.numbers == [], "an offer feeds nothing itself"
    assert await pumped.consumer.wait_for(100) == list(range(100))
    assert pumped.consumer.threads == {threading.get_ident()}


async def test_a_sleeping_pump_is_woken_by_the_next_hand_over_time_and_again() -> None:
    pumped = Pumped()
    loop = asyncio.get_running_loop()
    for number in range(3):
        pumped.offer(number, inside=number % 2 == 0)
        assert await pumped.consumer.wait_for(number + 1) == list(range(number + 1))
        asleep = asyncio.Event()
        # Later than every look the pump still takes.
        loop.call_later(40 * INTERVAL, asleep.set)
        await asleep.wait()
        assert len(pumped.mailbox) == 0


async def test_offers_from_many_threads_all_arrive_each_in_its_order() -> None:
    pumped, threads, each = Pumped(), 4, 1_000

    def send(thread: int) -> None:
        for number in range(each):
            assert pumped.offer(thread * each + number, inside=False)

    with ThreadPoolExecutor(threads) as pool:
        await asyncio.gather(*(asyncio.get_running_loop().run_in_executor(pool, send, n) for n in range(threads)))
    numbers = await pumped.consumer.wait_for(threads * each)
    assert sorted(numbers) == list(range(threads * each))
    for thread in range(threads):
        mine = [number for number in numbers if number // each == thread]
        assert mine == sorted(mine)


async def test_a_long_backlog_lets_the_loop_do_other_work_in_between() -> None:
    pumped = Pumped()
    loop = asyncio.get_running_loop()
    seen: list[int] = []

    def other_work() -> None:
        seen.append(len(pumped.consumer.numbers))
        if len(pumped.consumer.numbers) < 1_000:
            loop.call_soon(other_work)

    for number in range(1_000):
        pumped.offer(number)
    loop.call_soon(other_work)
    await pumped.consumer.wait_for(1_000)
    steps = [after - before for before, after in pairwise(seen)]
    assert max(steps, default=0) <= 16


async def test_flush_feeds_what_waits_at_once() -> None:
    pumped = Pumped()
    for number in range(50):
        pumped.offer(number)
    pumped.pump.flush()
    assert pumped.consumer.numbers == list(range(50))
    assert len(pumped.mailbox) == 0


async def test_a_stopped_pump_refuses_even_ends_and_still_feeds_what_it_took() -> None:
    pumped = Pumped()
    assert pumped.offer(1)
    pumped.pump.stop()
    assert not any(pumped.offer(2, room) for room in Room)
    pumped.pump.flush()
    assert pumped.consumer.numbers == [1]


async def test_the_caps_of_the_mailbox_are_the_caps_of_the_pump() -> None:
    pumped = Pumped(capacity=2)
    assert [pumped.offer(n) for n in range(3)] == [True, True, False]
    assert [pumped.offer(n, Room.MORE) for n in range(3)] == [True, True, False]
    assert pumped.offer(9, Room.END)
    assert len(await pumped.consumer.wait_for(5)) == 5


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("awake", [True, False])
def test_a_pump_whose_loop_is_gone_refuses_instead_of_raising_or_filling_up(inside: bool, awake: bool) -> None:
    async def make() -> Pumped:
        pumped = Pumped()
        assert not awake or pumped.offer(0)
        return pumped

    # Not asyncio.run, which would also take away the loop that pytest-asyncio has set for this thread.
    loop = asyncio.new_event_loop()
    pumped = loop.run_until_complete(make())
    loop.close()
    for number in range(10):
        assert pumped.offer(number, Room.END, inside=inside) is False
    assert len(pumped.mailbox) == awake
