"""Where a pair's points are, found once: looking each up by all its values would be most of what a pair costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shadowmesh.processor.accumulators import Instrument, Values

_MOST_POINTS = 64
_MOST_KNOWN = 2000
_LONGEST_KEY = 1024


class Points(dict[Values, Any]):
    """
    Points whose first values are the same, by the name of their metric and what further values they have.

    Only what was asked for is made. What is remembered is bounded; forgotten, it is found again.
    """

    def __init__(self, instruments: Mapping[str, Instrument[Any]], values: Values) -> None:
        super().__init__()
        self._instruments = instruments
        self._values = values

    def __missing__(self, key: Values) -> Any:
        name, *more = key
        if len(self) >= _MOST_POINTS:
            self.clear()
        point = self[key] = self._instruments[str(name)].point((*self._values, *more))
        return point


class KnownPoints:
    """
    Points by what a leg itself says, before it was made fit for a metric.

    Senders choose those texts: only so many are remembered, and no long ones.
    """

    def __init__(self, instruments: Mapping[str, Instrument[Any]]) -> None:
        self._instruments = instruments
        self._known: dict[Values, Points] = {}

    def get(self, key: Values, values: Callable[[], Values]) -> Points:
        """Return the points of this key, whose first values are ``values()``."""
        points = self._known.get(key)
        if points is None:
            points = Points(self._instruments, values())
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            if sum(len(text) for text in key if text is not None) <= _LONGEST_KEY:
                self._known[key] = points
        return points

    def forget(self) -> None:
        """Find all points anew: others have taken their places."""
        self._known.clear()
