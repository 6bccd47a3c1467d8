"""Errors of the mirror side: counted, and logged once per cause. They never travel any further."""

from __future__ import annotations

import logging
import traceback

from shadowmesh.telemetry.counters import Tally

_LOG = logging.getLogger("shadowmesh")
# An exception's text can hold anything, so causes are told apart by place and type only, and not without end.
_MAX_CAUSES = 1000


class Faults:
    """Where every guard of the mirror side reports."""

    def __init__(self) -> None:
        self._counts: Tally[str] = Tally()
        self._logged: set[str] = set()

    def report(self, place: str, error: BaseException | str) -> None:
        """Count one error at ``place``; the first of its kind is logged, with where it was raised."""
        kind = error if isinstance(error, str) else type(error).__name__
        cause = f"{place}: {kind}"
        self._counts.add(cause)
        if cause not in self._logged and len(self._logged) < _MAX_CAUSES:
            self._logged.add(cause)
            _LOG.warning("%s (further ones are counted, not logged)%s", cause, _where(error))

    def totals(self) -> dict[str, int]:
        """Return the count per cause."""
        return self._counts.totals()


def _where(error: BaseException | str) -> str:
    """Return the stack of an error without its text, which may quote a request: no content leaves by a log."""
    if isinstance(error, str) or error.__traceback__ is None:
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    return "".join(f"\n  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
