"""
The queue of whole pairs in front of the user's span exporter.

Not the SDK's batch processor: when that is full it drops the oldest spans, which leaves half pairs behind. Here a
pair goes in whole or is dropped whole and counted, and an export that fails is counted by pairs as well. Captured text
is worth less than a pair: it never keeps one from going in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from shadowmesh.telemetry.backlog import Backlog, Way
from shadowmesh.telemetry.content import ContentEvent, without_content
from shadowmesh.telemetry.content_export import ContentExporter
from shadowmesh.telemetry.faults import Faults


class Receipt(NamedTuple):
    """Whose spans a pair holds: one exchange of ``call``, by its number; ``targets`` are those whose legs it has."""

    call: int
    experiment: str
    targets: tuple[str, ...]


Pair = tuple[tuple[ReadableSpan, ...], Receipt | None]
Settled = Callable[[list[Receipt], bool], None]
"""Told what became of pairs, from the thread it happened in: exported, or lost."""
_CONTENT = 32 << 20


class PairExporter:
    """
    Exports from a daemon thread of its own.

    Args:
        exporter: ``None`` where ``OTEL_TRACES_EXPORTER=none``: pairs go nowhere then, as meant.
        capacity: pairs that may wait.
        content_bytes: bytes of captured text on the spans that wait; of more the spans go without.
        events: where captured text goes that is on no span.
    """

    def __init__(
        self,
        exporter: SpanExporter | None,
        *,
        capacity: int,
        faults: Faults,
        settled: Settled | None = None,
        content_bytes: int = _CONTENT,
        events: ContentExporter | None = None,
    ) -> None:
        self._exporter = exporter
        self._settled = settled
        self._faults = faults
        self._events = events
        way: Way[Pair] = Way(self._export, self._shut_down, self._tell)
        self._backlog = Backlog(way, name="export", items=capacity, size=content_bytes, faults=faults)

    @property
    def exported_pairs(self) -> int:
        """Pairs that the exporter took."""
        return self._backlog.exported

    @property
    def dropped_pairs(self) -> int:
        """Pairs there was no room for, or that came too late."""
        return self._backlog.refused

    @property
    def failed_pairs(self) -> int:
        """Pairs that the exporter lost."""
        return self._backlog.failed

    def start(self) -> None:
        """Start the export thread, once."""
        if self._exporter is not None:
            self._backlog.start()

    def submit(
        self,
        spans: tuple[ReadableSpan, ...],
        receipt: Receipt | None = None,
        *,
        events: Sequence[ContentEvent] = (),
        content_bytes: int = 0,
    ) -> bool:
        """
        Queue the spans of one exchange; ``False`` when there is no room, and the loss is counted.

        Args:
            events: the captured text of its legs, where it is on no span.
            content_bytes: of the text in the events, or on the spans.
        """
        size = 0 if events else content_bytes
        if self._exporter is None:
            self._tell([(spans, receipt)], exported=True)
        else:
            if size and not self._backlog.room(size):
                self._faults.report("content", "queue full")
                spans, size = tuple(map(without_content, spans)), 0
            if not self._backlog.put((spans, receipt), size):
                if events or size:
                    self._faults.report("content", "let go with its pair")
                return False
        if events and self._events is not None:
            self._events.submit(events, content_bytes)
        return True

    def queued(self) -> int:
        """Return how many pairs wait."""
        return self._backlog.queued()

    def pending(self) -> int:
        """Return how many pairs wait or are being exported."""
        return self._backlog.pending()

    def drain(self, seconds: float) -> bool:
        """Export what waits; return whether all of it was handed to the exporters within ``seconds``."""
        deadline = time.monotonic() + seconds
        drained = self._backlog.drain(seconds)
        if self._events is not None:
            drained &= self._events.drain(max(deadline - time.monotonic(), 0.0))
        return drained

    def close(self, seconds: float) -> None:
        """
        Drain, then refuse everything and shut the exporters down; more than once is safe. What has not come back by
        then counts as lost, and an exporter that hangs is left behind.
        """
        deadline = time.monotonic() + seconds
        self._backlog.close(seconds)
        if self._events is not None:
            self._events.close(max(deadline - time.monotonic(), 0.0))

    def _export(self, batch: list[Pair]) -> bool:
        if self._exporter is None:
            return True
        return self._exporter.export([span for spans, _ in batch for span in spans]) is SpanExportResult.SUCCESS

    def _shut_down(self) -> None:
        if self._exporter is not None:
            self._exporter.shutdown()

    def _tell(self, pairs: list[Pair], exported: bool) -> None:
        receipts = [receipt for _, receipt in pairs if receipt is not None]
        if receipts and self._settled is not None:
            try:
                self._settled(receipts, exported)
            except Exception as error:
                self._faults.report("export", error)
