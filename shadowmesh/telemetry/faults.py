"""Errors of the mirror side: counted, and logged once per cause. They never travel any further."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from typing import NamedTuple

from shadowmesh.telemetry.counters import Tally

_LOG = logging.getLogger("shadowmesh")
# An exception's text can hold anything, so causes are told apart by place and type only, and not without end.
_MAX_CAUSES = 1000


class Fault(NamedTuple):
    """
    One cause, how often it was reported, and the wall clock of the last time, nanoseconds; ``None`` for one of the
    causes beyond the many that are remembered.
    """

    cause: str
    times: int
    last_ns: int | None


class Faults:
    """Where every guard of the mirror side reports."""

    def __init__(self, *, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._wall_ns = wall_ns
        self._counts: Tally[str] = Tally()
        # By cause. A store is one step of the interpreter, so that no thread waits for another one here either.
        self._last_ns: dict[str, int] = {}

    def report(self, place: str, error: BaseException | str, times: int = 1) -> None:
        """Count an error at ``place``; the first of its kind is logged, with where it was raised."""
        kind = error if isinstance(error, str) else type(error).__name__
        cause = f"{place}: {kind}"
        self._counts.add(cause, times)
        new = cause not in self._last_ns
        if new and len(self._last_ns) >= _MAX_CAUSES:
            return
        self._last_ns[cause] = self._wall_ns()
        if new:
            _LOG.warning("%s (further ones are counted, not logged)%s", cause, _where(error))

    def forked(self) -> None:
        """Forget, in a forked process, what its parent has counted; what was logged is not logged again."""
        self._counts = Tally()

    def relay(self, cause: str, times: int) -> None:
        """Count what another process of ours has reported and logged."""
        self._counts.add(cause, times)
        if cause in self._last_ns or len(self._last_ns) < _MAX_CAUSES:
            self._last_ns[cause] = self._wall_ns()

    def totals(self) -> dict[str, int]:
        """Return the count per cause."""
        return self._counts.totals()

    def latest(self) -> list[Fault]:
        """Return every cause, the one reported last first."""
        last = self._last_ns.copy()
        faults = [Fault(cause, times, last.get(cause)) for cause, times in self.totals().items()]
        return sorted(faults, key=lambda fault: fault.last_ns or 0, reverse=True)


def _where(error: BaseException | str) -> str:
    """Return the stack of an error without its text, which may quote a request: no content leaves by a log."""
    if isinstance(error, str) or error.__traceback__ is None:
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    return "".join(f"\n  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
