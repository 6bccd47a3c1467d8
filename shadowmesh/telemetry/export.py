"""
The queue of whole pairs in front of the user's span exporter.

Not the SDK's batch processor: when that is full it drops the oldest spans, which leaves half pairs behind. Here a
pair goes in whole or is dropped whole and counted, and an export that fails is counted by pairs as well.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from shadowmesh.telemetry.faults import Faults

_BATCH_PAIRS = 256
_SCHEDULE_SECONDS = 0.2
_SHUTDOWN_SECONDS = 1.0


class Receipt(NamedTuple):
    """
    Whose spans a pair holds: ``call`` is the number of the call whose last exchange it is, ``None`` for the others;
    ``targets`` are those whose legs it has.
    """

    call: int | None
    experiment: str
    targets: tuple[str, ...]


Pair = tuple[tuple[ReadableSpan, ...], Receipt | None]
Settled = Callable[[list[Receipt], bool], None]
"""Told what became of pairs, from the thread it happened in: exported, or lost."""


class PairExporter:
    """
    Exports from a daemon thread of its own.

    ``submit`` takes no lock: with the carrier ``loop`` it runs in the live server's loop, and must not wait for the
    export thread even for the moment that one holds a lock.
    """

    def __init__(
        self, exporter: SpanExporter | None, *, capacity: int, faults: Faults, settled: Settled | None = None
    ) -> None:
        """Make the queue; without an exporter (``OTEL_TRACES_EXPORTER=none``) pairs go nowhere, as meant."""
        self._settled = settled
        self._exporter = exporter
        self._capacity = capacity
        self._faults = faults
        self._waiting: deque[Pair] = deque()
        self._kick = threading.Event()
        self._rounds = threading.Condition()
        self._worker: threading.Thread | None = None
        self._busy = False
        self._in_flight: list[Pair] = []
        self._stopped = False
        self.exported_pairs = 0
        self.dropped_pairs = 0
        self.failed_pairs = 0

    def start(self) -> None:
        """Start the export thread, once."""
        if self._worker is None and self._exporter is not None and not self._stopped:
            self._worker = threading.Thread(target=self._run, name="shadowmesh-export", daemon=True)
            self._worker.start()

    def submit(self, spans: tuple[ReadableSpan, ...], receipt: Receipt | None = None) -> bool:
        """Queue the spans of one exchange; ``False`` when there is no room, and the loss is counted."""
        pair = (spans, receipt)
        if self._exporter is None:
            self._tell([pair], exported=True)
            return True
        if not self._stopped and len(self._waiting) < self._capacity:
            self._waiting.append(pair)
            return True
        self.dropped_pairs += 1
        self._tell([pair], exported=False)
        self._faults.report("export", "stopped" if self._stopped else "queue full")
        return False

    def queued(self) -> int:
        """Return how many pairs wait."""
        return len(self._waiting)

    def pending(self) -> int:
        """Return how many pairs wait or are being exported."""
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
            self.failed_pairs += len(given_up)
        self._tell(given_up, exported=False)
        self._kick.set()
        while batch := self._take():
            self.dropped_pairs += len(batch)
            self._tell(batch, exported=False)
        if not drained:
            self._faults.report("export", "not drained in time")
        elif self._worker is not None:
            self._worker.join(_SHUTDOWN_SECONDS)
        if self._exporter is not None:
            last = threading.Thread(target=self._shut_down, args=(self._exporter,), daemon=True)
            last.start()
            last.join(max(deadline - time.monotonic(), _SHUTDOWN_SECONDS))

    def _shut_down(self, exporter: SpanExporter) -> None:
        try:
            exporter.shutdown()
        except Exception as error:
            self._faults.report("export shutdown", error)

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

    def _tell(self, pairs: list[Pair], *, exported: bool) -> None:
        receipts = [receipt for _, receipt in pairs if receipt is not None]
        if receipts and self._settled is not None:
            try:
                self._settled(receipts, exported)
            except Exception as error:
                self._faults.report("export", error)

    def _next(self) -> list[Pair]:
        with self._rounds:
            batch = [] if self._stopped else self._take()
            self._in_flight = batch
        return batch

    def _take(self) -> list[Pair]:
        batch: list[Pair] = []
        try:
            while len(batch) < _BATCH_PAIRS:
                batch.append(self._waiting.popleft())
        except IndexError:
            pass
        return batch

    def _export(self, batch: list[Pair]) -> None:
        if self._exporter is None:
            return
        failure: Exception | str | None = None
        try:
            if self._exporter.export([span for spans, _ in batch for span in spans]) is not SpanExportResult.SUCCESS:
                failure = "the exporter failed"
        except Exception as error:
            failure = error
        with self._rounds:
            # None where a closing thread has given up on them.
            pairs, self._in_flight = self._in_flight, []
            if failure is None:
                self.exported_pairs += len(pairs)
            else:
                self.failed_pairs += len(pairs)
        self._tell(pairs, exported=failure is None)
        if failure is not None:
            self._faults.report("export", failure)
