"""
When mirroring begins and ends by itself, and after how many pairs (pure: the clock is an argument).

``pairs`` is never overshot: a pair counts when its shadow is let through, whatever becomes of it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from shadowmesh.names import TimeBoxLimit
from shadowmesh.settings import Settings

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _moment(value: object) -> object:
    # YAML has turned it into an object where it is not quoted, and a date alone is midnight of who knows which zone.
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC_3339.fullmatch(value)):
        return value
    raise ValueError("not a moment with a zone such as 2026-03-01T09:00:00Z")


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
"""A moment as in RFC 3339, with its zone: ``2026-03-01T09:00:00Z``, ``2026-03-01T10:00:00+01:00``."""


class TimeBoxSettings(Settings):
    """
    When an experiment begins and ends by itself.

    Args:
        start: nothing is mirrored before.
        end: nothing is mirrored from then on; shadows in flight finish.
        pairs: nothing more is mirrored to a target that has had so many pairs, over restarts where
            ``mirror.budget.state`` is set.
    """

    start: Moment | None = None
    end: Moment | None = None
    pairs: Annotated[int, Field(strict=True, gt=0)] | None = None

    @model_validator(mode="after")
    def _ends_something(self) -> TimeBoxSettings:
        if self.start is None and self.end is None and self.pairs is None:
            raise ValueError("needs a start, an end or a number of pairs")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError("ends before it starts")
        return self


class TimeBox:
    """
    One target's time-box. Moments are wall-clock nanoseconds.

    Args:
        part: the part of ``pairs`` that is this process's, above 0 and up to 1; rounded down, so that all parts
            together never exceed it.
        pairs: how many pairs there were before a restart.
    """

    def __init__(self, settings: TimeBoxSettings, *, part: float = 1.0, pairs: int = 0) -> None:
        self.pairs = pairs
        self._start = None if settings.start is None else _nanoseconds(settings.start)
        self._end = None if settings.end is None else _nanoseconds(settings.end)
        self.most_pairs = None if settings.pairs is None else share_of(settings.pairs, part)

    def refusal(self, now_ns: int) -> TimeBoxLimit | None:
        """Return the side of the box that this moment is outside of."""
        if self._start is not None and now_ns < self._start:
            return TimeBoxLimit.START
        if self._end is not None and now_ns >= self._end:
            return TimeBoxLimit.END
        if self.most_pairs is not None and self.pairs >= self.most_pairs:
            return TimeBoxLimit.PAIRS
        return None

    def count(self) -> None:
        """Take in a pair."""
        self.pairs += 1

    @property
    def pairs_left(self) -> int | None:
        """How many pairs may follow; ``None`` where they are not counted."""
        return None if self.most_pairs is None else max(self.most_pairs - self.pairs, 0)


def share_of(pairs: int, part: float) -> int:
    """Return ``part`` of a number of pairs, rounded down."""
    # A third of three is one, whatever becomes of the fractions.
    return int(pairs * part + 1e-9)


def pairs_in(state: Any) -> int:
    """
    Return a stored number of pairs.

    Raises:
        ValueError: it is none.
    """
    if isinstance(state, bool) or not isinstance(state, int) or state < 0:
        raise ValueError("not a number of pairs")
    return state


def _nanoseconds(moment: datetime) -> int:
    # Exactly: a float of seconds since 1970 resolves a quarter of a microsecond.
    gap = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (gap.days * 86400 + gap.seconds) * 1_000_000_000 + gap.microseconds * 1000
