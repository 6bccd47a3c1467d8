"""
What waits for an exporter, and the daemon thread that hands it over in batches.

``put`` takes no lock: with the carrier ``loop`` it runs in the live server's loop, and must not wait for the export
thread even for the moment that one holds a lock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from shadowmesh.telemetry.counters import Tally
from shadowmesh.telemetry.faults import Faults

T = TypeVar("T")

BATCH_ITEMS = 256
BATCH_BYTES = 1 << 20
"""A batch ends with the item that reaches it: a receiver takes 4 MiB in one request by default."""
_SCHEDULE_SECONDS = 0.2
_SHUTDOWN_SECONDS = 1.0


class Way(NamedTuple, Generic[T]):
    """
    Where batches go: ``export`` returns whether one arrived, and may raise; ``shut_down`` ends it.

    ``settled`` is told what became of items, from the thread it happened in: exported, or lost. It does not raise.
    """

    export: Callable[[list[T]], bool]
    shut_down: Callable[[], object]
    settled: Callable[[list[T], bool], None]


class Backlog(Generic[T]):
    """
    A queue bounded in items and in bytes. What does not fit is refused, and what an export loses is counted.

    Args:
        name: of what is exported, where its errors are reported.
        items: how many may wait.
        size: how many bytes may wait, of what is put with a size.

    Attributes:
        exported: items that arrived.
        refused: items there was no room for, or that came after the end.
        failed: items that were lost on their way.
    """

    def __init__(self, way: Way[T], *, name: str, items: int, size: int, faults: Faults) -> None:
        self._way = way
        self._name = name
        self._items = items
        self._size = size
        self._faults = faults
        self._waiting: deque[tuple[T, int]] = deque()
        # What was put less what was taken; both by threads of their own.
        self._bytes: Tally[str] = Tally()
        self._kick = threading.Event()
        self._rounds = threading.Condition()
        self._starting = threading.Lock()
        self._worker: threading.Thread | None = None
        self._busy = False
        self._in_flight: list[T] = []
        self._stopped = False
        self.exported = 0
        self.refused = 0
        self.failed = 0

    def start(self) -> None:
        """Start the export thread, once."""
        if self._worker is None and not self._stopped and self._starting.acquire(blocking=False):
            worker = threading.Thread(target=self._run, name=f"shadowmesh-{self._name}", daemon=True)
            try:
                worker.start()
            except RuntimeError:
                # No thread now: the next one tries again.
                self._starting.release()
                raise
            self._worker = worker

    def room(self, size: int) -> bool:
        """Return whether so many bytes more may wait."""
        return self._bytes.totals().get(self._name, 0) + size <= self._size

    def put(self, item: T, size: int = 0) -> bool:
        """Queue an item; ``False`` when there is no room, and the loss is counted and told."""
        if self._takes(size):
            if size:
                self._bytes.add(self._name, size)
            self._waiting.append((item, size))
            if self._stopped:
                # Closed since we looked, and nobody looks any more.
                self._refuse_the_rest()
            return True
        self.refused += 1
        self._way.settled([item], False)
        self._faults.report(self._name, "stopped" if self._stopped else "queue full")
        return False

    def _takes(self, size: int) -> bool:
        return not self._stopped and len(self._waiting) < self._items and (not size or self.room(size))

    def queued(self) -> int:
        """Return how many items wait."""
        return len(self._waiting)

    def pending(self) -> int:
        """Return how many items wait or are being exported."""
        return len(self._waiting) + len(self._in_flight)

    def drain(self, seconds: float) -> bool:
        """Export what waits; return whether all of it was handed to the exporter within ``seconds``."""
        if self._worker is None or self._stopped:
            return not self._waiting
        deadline = time.monotonic() + seconds
        with self._rounds:
            while self._waiting or self._busy:
                self._kick.set()
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._rounds.wait(min(left, _SCHEDULE_SECONDS))
        return True

    def close(self, seconds: float) -> None:
        """
        Drain, then refuse everything and shut the exporter down; more than once is safe. What has not come back by
        then counts as lost, and an exporter that hangs is left behind.
        """
        deadline = time.monotonic() + seconds
        drained = self.drain(seconds)
        if self._stopped:
            return
        with self._rounds:
            self._stopped = True
            given_up, self._in_flight = self._in_flight, []
            self.failed += len(given_up)
        self._way.settled(given_up, False)
        self._kick.set()
        lost = len(given_up) + self._refuse_the_rest()
        if not drained:
            self._faults.report(self._name, "not drained in time", lost or 1)
        elif self._worker is not None:
            self._worker.join(_SHUTDOWN_SECONDS)
        last = threading.Thread(target=self._shut_down, daemon=True)
        last.start()
        last.join(max(deadline - time.monotonic(), _SHUTDOWN_SECONDS))

    def _refuse_the_rest(self) -> int:
        """Count and tell what waits as lost; return how much it was."""
        lost = 0
        while batch := self._take():
            self.refused += len(batch)
            self._way.settled(batch, False)
            lost += len(batch)
        return lost

    def _shut_down(self) -> None:
        try:
            self._way.shut_down()
        except Exception as error:  # noqa: BLE001 - as below
            self._faults.report(f"{self._name} shutdown", error)

    def _run(self) -> None:
        while not self._stopped:
            self._kick.wait(_SCHEDULE_SECONDS)
            self._kick.clear()
            self._busy = True
            while batch := self._next():
                self._export(batch)
            with self._rounds:
                self._busy = False
                self._rounds.notify_all()

    def _next(self) -> list[T]:
        with self._rounds:
            batch = [] if self._stopped else self._take()
            self._in_flight = batch
        return batch

    def _take(self) -> list[T]:
        batch: list[T] = []
        total = 0
        try:
            while len(batch) < BATCH_ITEMS and total < BATCH_BYTES:
                item, size = self._waiting.popleft()
                batch.append(item)
                total += size
        except IndexError:
            pass
        if total:
            self._bytes.add(self._name, -total)
        return batch

    def _export(self, batch: list[T]) -> None:
        failure: Exception | str | None = None
        try:
            if not self._way.export(batch):
                failure = "the exporter failed"
        except Exception as error:  # noqa: BLE001 - the one boundary: whatever an exporter does costs its batch alone
            failure = error
        with self._rounds:
            # None where a closing thread has given up on them.
            items, self._in_flight = self._in_flight, []
            if failure is None:
                self.exported += len(items)
            else:
                self.failed += len(items)
        self._way.settled(items, failure is None)
        if failure is not None:
            self._faults.report(self._name, failure, len(items) or 1)
