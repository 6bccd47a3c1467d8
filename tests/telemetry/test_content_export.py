"""The queue of captured text: bounded, counted, and nothing there before there is any."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum

import pytest
from support.events import event

from shadowmesh.telemetry.backlog import BATCH_BYTES
from shadowmesh.telemetry.content import ContentEvent
from shadowmesh.telemetry.content_export import ContentExporter, EventExporter
from shadowmesh.telemetry.faults import Faults

LONG = 20.0


class Result(Enum):
    SUCCESS = 0
    FAILURE = 1


class Scripted:
    """Does with each batch what the test says, and remembers it."""

    def __init__(self, export: Callable[[], Result]) -> None:
        self._export = export
        self.batches: list[list[str]] = []
        self.entered = threading.Event()
        self.shut_down = threading.Event()
        self.thread = threading.current_thread()

    def export(self, batch: Sequence[ContentEvent]) -> Result:
        self.batches.append([str(one.attributes["shadowmesh.pair.id"]) for one in batch])
        self.entered.set()
        return self._export()

    def shutdown(self) -> None:
        self.shut_down.set()


def succeed() -> Result:
    return Result.SUCCESS


@contextmanager
def texts(
    make: Callable[[], EventExporter | None], *, capacity: int = 1000, size: int = 1 << 20
) -> Iterator[tuple[ContentExporter, Faults]]:
    faults = Faults()
    queue = ContentExporter(make, capacity=capacity, size=size, faults=faults)
    try:
        yield queue, faults
    finally:
        queue.close(LONG)


def pair(name: str) -> tuple[ContentEvent, ContentEvent]:
    return event(pair_id=name), event(pair_id=name)


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_neither_a_thread_nor_an_exporter_is_made_before_there_is_a_text() -> None:
    made: list[Scripted] = []

    def make() -> EventExporter:
        made.append(Scripted(succeed))
        return made[0]

    with texts(make) as (queue, faults):
        assert queue.drain(LONG)
        assert (made, "shadowmesh-content" in threads()) == ([], False)
        assert queue.submit(pair("a"), 10)
        assert queue.drain(LONG)
        assert (made[0].batches, queue.exported, queue.lost, faults.totals()) == ([["a", "a"]], 1, 0, {})
        assert made[0].thread.name == "shadowmesh-content", "what it loads is loaded there"
    assert made[0].shut_down.is_set()
    assert "shadowmesh-content" not in threads()


def test_it_ends_without_having_made_anything() -> None:
    with texts(lambda: None) as (queue, faults):
        queue.close(LONG)
        assert not queue.submit(pair("late"), 10)
        assert (queue.lost, faults.totals()) == (1, {"content: stopped": 1})


def test_where_there_is_no_exporter_texts_go_nowhere_as_meant() -> None:
    asked: list[None] = []
    with texts(lambda: asked.append(None)) as (queue, faults):
        for name in "ab":
            assert queue.submit(pair(name), 10)
            assert queue.drain(LONG)
        assert (asked, queue.lost, faults.totals()) == ([None], 0, {})


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets a hanging exporter go, at the latest when the test ends."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize(("capacity", "size", "kept"), [(3, 1 << 20, 3), (1000, 250, 2)], ids=["items", "bytes"])
def test_what_does_not_fit_is_let_go_and_counted(release: threading.Event, capacity: int, size: int, kept: int) -> None:
    def hang() -> Result:
        release.wait(LONG)
        return Result.SUCCESS

    exporter = Scripted(hang)
    with texts(lambda: exporter, capacity=capacity, size=size) as (queue, faults):
        queue.submit(pair("first"), 100)
        assert exporter.entered.wait(LONG), "in flight, and no longer in the queue"
        assert [queue.submit(pair(str(number)), 100) for number in range(6)] == [True] * kept + [False] * (6 - kept)
        release.set()
        assert queue.drain(LONG)
        assert queue.submit(pair("again"), 100), "there is room again"
        assert queue.drain(LONG)
        assert (queue.exported, queue.lost) == (kept + 2, 6 - kept)
        assert faults.totals() == {"content: queue full": 6 - kept}


def test_a_batch_is_no_larger_than_a_receiver_takes(release: threading.Event) -> None:
    def wait() -> Result:
        release.wait(LONG)
        return Result.SUCCESS

    exporter = Scripted(wait)
    with texts(lambda: exporter, size=64 * BATCH_BYTES) as (queue, _):
        queue.submit(pair("first"), 1)
        assert exporter.entered.wait(LONG)
        for number in range(8):
            assert queue.submit(pair(str(number)), BATCH_BYTES // 2)
        release.set()
        assert queue.drain(LONG)
    assert [len(batch) // 2 for batch in exporter.batches] == [1, 2, 2, 2, 2]


@pytest.mark.parametrize("cause", ["content: the exporter failed", "content: RuntimeError"])
def test_an_exporter_that_fails_costs_its_texts_and_every_one_is_counted(cause: str, release: threading.Event) -> None:
    def fail() -> Result:
        release.wait(LONG)
        if cause.endswith("RuntimeError"):
            raise RuntimeError("broken")
        return Result.FAILURE

    exporter = Scripted(fail)
    with texts(lambda: exporter) as (queue, faults):
        queue.submit(pair("a"), 1)
        assert exporter.entered.wait(LONG)
        for name in "bcd":
            queue.submit(pair(name), 1)
        release.set()
        assert queue.drain(LONG)
        assert (queue.exported, queue.lost, faults.totals()) == (0, 4, {cause: 4})


def test_an_exporter_that_cannot_be_made_is_a_fault_and_tried_again() -> None:
    made: Iterator[RuntimeError | Scripted] = iter([RuntimeError("no such file"), Scripted(succeed)])

    def make() -> EventExporter:
        one = next(made)
        if isinstance(one, RuntimeError):
            raise one
        return one

    with texts(make) as (queue, faults):
        for name in "ab":
            queue.submit(pair(name), 1)
            assert queue.drain(LONG)
        assert (queue.exported, queue.lost, faults.totals()) == (1, 1, {"content: RuntimeError": 1})
