"""
The queue of captured text in front of the SDK's exporter of logs.

It has a thread of its own beside that of the pairs, because an endpoint that takes no logs, or hangs over them, must
not keep a pair waiting. Thread, exporter and what they load are made by the first text there is: who captures none has
none of it. What does not fit is let go and counted, as is what an export loses; its pair knows nothing of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from shadowmesh.telemetry.backlog import Backlog, Way
from shadowmesh.telemetry.content import ContentEvent
from shadowmesh.telemetry.faults import Faults


class EventExporter(Protocol):
    """An exporter of the SDK's making; its results differ by name between its versions and not by their members."""

    def export(self, batch: Any, /) -> Any:
        """Export events; the result's ``name`` is ``SUCCESS`` where they arrived."""
        ...

    def shutdown(self) -> object:
        """End an export under way, and take no other."""
        ...


MakeExporter = Callable[[], EventExporter | None]
"""Makes the exporter, in the thread that uses it; ``None`` where ``OTEL_LOGS_EXPORTER=none``."""


class ContentExporter:
    """
    Exports the events of one exchange together, in a daemon thread of its own.

    Args:
        capacity: exchanges whose text may wait.
        size: bytes of text that may wait.
    """

    def __init__(self, make: MakeExporter, *, capacity: int, size: int, faults: Faults) -> None:
        self._make = make
        self._faults = faults
        self._exporter: EventExporter | None = None
        self._nowhere = False
        way: Way[Sequence[ContentEvent]] = Way(self._export, self._shut_down, _nothing)
        self._backlog = Backlog(way, name="content", items=capacity, size=size, faults=faults)

    @property
    def exported(self) -> int:
        """Exchanges whose text the exporter took."""
        return self._backlog.exported

    @property
    def lost(self) -> int:
        """Exchanges whose text there was no room for, came too late, or was lost on its way."""
        return self._backlog.refused + self._backlog.failed

    def submit(self, events: Sequence[ContentEvent], size: int) -> bool:
        """Queue the text of one exchange, ``size`` bytes of it; ``False`` when there is no room, which is counted."""
        try:
            self._backlog.start()
        except RuntimeError as error:
            # It waits in the queue for a thread.
            self._faults.report("content", error)
        return self._backlog.put(events, size)

    def drain(self, seconds: float) -> bool:
        """Export what waits; return whether all of it was handed to the exporter within ``seconds``."""
        return self._backlog.drain(seconds)

    def close(self, seconds: float) -> None:
        """Drain, then refuse everything and shut the exporter down; more than once is safe."""
        self._backlog.close(seconds)

    def _export(self, batch: list[Sequence[ContentEvent]]) -> bool:
        if self._exporter is None and not self._nowhere:
            self._exporter = self._make()
            self._nowhere = self._exporter is None
        if self._exporter is None:
            return True
        result = self._exporter.export([event for events in batch for event in events])
        return bool(result.name == "SUCCESS")

    def _shut_down(self) -> None:
        if self._exporter is not None:
            self._exporter.shutdown()


def _nothing(_exchanges: list[Sequence[ContentEvent]], _exported: bool) -> None:
    """Nobody keeps account of text but the queue itself."""
