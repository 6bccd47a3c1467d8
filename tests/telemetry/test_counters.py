"""Counts that many threads make and nobody locks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

from shadowmesh.telemetry.counters import Tally


def test_counts_are_by_key() -> None:
    tally: Tally[str] = Tally()
    assert tally.totals() == {}
    tally.add("a")
    tally.add("b", 3)
    tally.add("a", 2)
    assert tally.totals() == {"a": 3, "b": 3}


def test_totals_are_a_copy() -> None:
    tally: Tally[str] = Tally()
    tally.add("a")
    tally.totals()["a"] = 100
    assert tally.totals() == {"a": 1}


def test_of_many_threads_no_count_is_lost() -> None:
    threads, each = 8, 20_000
    tally: Tally[int] = Tally()
    start = Barrier(threads)

    def count(thread: int) -> None:
        start.wait()
        for number in range(each):
            tally.add(number % 7)
            tally.add(-thread)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(count, range(1, threads + 1)))
    totals = tally.totals()
    assert sum(totals[number] for number in range(7)) == threads * each
    assert all(totals[-thread] == each for thread in range(1, threads + 1))


def test_a_reader_meanwhile_sees_counts_that_only_grow() -> None:
    tally: Tally[int] = Tally()
    stop = Event()

    def count() -> int:
        turns = 0
        while not stop.is_set():
            tally.add(turns % 500)
            turns += 1
        return turns

    with ThreadPoolExecutor(2) as pool:
        counting = [pool.submit(count) for _ in range(2)]
        before = 0
        for _ in range(300):
            now = sum(tally.totals().values())
            assert now >= before
            before = now
        stop.set()
        counted = sum(one.result() for one in counting)
        assert sum(tally.totals().values()) == counted


def test_the_counts_of_a_thread_outlive_it() -> None:
    tally: Tally[str] = Tally()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(tally.add, "a").result()
    tally.add("a")
    assert tally.totals() == {"a": 2}
