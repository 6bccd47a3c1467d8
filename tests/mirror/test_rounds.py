"""The thread beside the calls: it does its jobs, survives their mistakes, and ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from shadowmesh.mirror.rounds import Round, Rounds
from shadowmesh.telemetry.faults import Faults


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "shadowmesh-rounds"]


def at_once(together: threading.Barrier, act: Callable[[], None]) -> None:
    together.wait(20)
    act()


def needed() -> bool:
    return True


def test_each_job_is_done_at_its_interval_and_sooner_where_it_asks_for_it() -> None:
    often, seldom = threading.Semaphore(0), threading.Semaphore(0)

    def eager() -> float:
        seldom.release()
        return 0.001

    rounds = Rounds((Round(0.001, often.release), Round(0.01, eager)), faults=Faults(), needed=needed)
    rounds.start()
    rounds.start()
    assert running() == ["shadowmesh-rounds"]
    for _ in range(3):
        assert often.acquire(timeout=20)
        assert seldom.acquire(timeout=20)
    rounds.stop()
    rounds.stop()
    assert (running(), rounds.started) == ([], False)


def test_a_job_that_fails_is_counted_and_done_again() -> None:
    done, faults = threading.Semaphore(0), Faults()

    def fail() -> None:
        done.release()
        raise RuntimeError("broken")

    rounds = Rounds((Round(0.001, fail),), faults=faults, needed=needed)
    rounds.start()
    assert done.acquire(timeout=20)
    assert done.acquire(timeout=20)
    rounds.stop()
    assert faults.totals()["rounds: RuntimeError"] >= 2


def test_it_ends_when_nobody_needs_it() -> None:
    asked = threading.Event()

    def gone() -> bool:
        asked.set()
        return False

    rounds = Rounds((Round(0.001, lambda: None),), faults=Faults(), needed=gone)
    rounds.start()
    assert asked.wait(20)
    rounds.stop()
    assert running() == []


def test_without_a_job_there_is_no_thread_and_after_the_end_none_begins() -> None:
    rounds = Rounds((), faults=Faults(), needed=needed)
    rounds.start()
    rounds.stop()
    ended = Rounds((Round(1, lambda: None),), faults=Faults(), needed=needed)
    ended.stop()
    ended.start()
    assert running() == []


def test_in_a_forked_process_it_begins_anew() -> None:
    done = threading.Semaphore(0)
    rounds = Rounds((Round(0.001, done.release),), faults=Faults(), needed=needed)
    rounds.start()
    rounds.stop()
    rounds.forget()
    rounds.start()
    assert rounds.started
    assert done.acquire(timeout=20)
    rounds.stop()


def test_it_may_be_started_and_ended_by_several_threads_at_once() -> None:
    with ThreadPoolExecutor(4) as threads:
        for _ in range(50):
            rounds = Rounds((Round(1, lambda: None),), faults=Faults(), needed=needed)
            together = threading.Barrier(4)
            acts = (rounds.start, rounds.stop, rounds.start, rounds.stop)
            for done in [threads.submit(at_once, together, act) for act in acts]:
                done.result(20)
            rounds.stop()
            assert running() == []
