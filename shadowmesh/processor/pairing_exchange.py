"""
What waits of one exchange: the legs that are here, and what is known of those that have left.

Most exchanges are one leg that waits for one other, and hundreds of thousands may do so at once, so nothing is made
that such a one does not need.
"""

from __future__ import annotations

from typing import NamedTuple

from shadowmesh.model import Leg
from shadowmesh.names import Role

_SPAN_BYTES = 24
OPEN_BYTES = 700
"""What an exchange takes beside what its legs say, on a 64-bit CPython 3.11."""

# More targets than anybody configures: the most a hostile sender may make us remember of one pair id.
_MOST_TARGETS = 64
# The target of what a live leg without `expected_targets` misses.
_UNNAMED = ""


class Waiting(NamedTuple):
    """A shadow leg that is here before its live leg, where it stands in the journal, and its size in bytes."""

    leg: Leg
    position: int
    size: int


class Exchange:
    """The legs of one exchange that are here, and the targets whose pairs have ended."""

    __slots__ = ("ended", "gone", "live", "live_position", "opened", "position", "second", "shadows", "size")

    def __init__(self, opened: float, position: int) -> None:
        self.opened = opened
        self.position = position
        """Of its first leg, so never greater than that of any other."""
        self.second = 0
        """Of the wall clock in which the earliest of its legs began that were here."""
        self.size = OPEN_BYTES
        self.live: Leg | None = None
        self.live_position = 0
        self.shadows: dict[str, Waiting] | None = None
        self.ended: set[str] | None = None
        self.gone = b""
        """The spans of the legs that were here and are not any more, one after the other."""

    def knows(self, leg: Leg) -> bool:
        """Return whether this very span was taken in before."""
        if self.live is not None and _same_span(self.live, leg):
            return True
        if self.shadows and any(_same_span(shadow.leg, leg) for shadow in self.shadows.values()):
            return True
        if not self.gone:
            return False
        span, gone = span_key(leg), self.gone
        return any(gone.startswith(span, at) for at in range(0, len(gone), _SPAN_BYTES))

    def accepts(self, leg: Leg) -> bool:
        """Return whether some pair that has not ended still lacks this leg."""
        ended, shadows = self.ended or (), self.shadows or ()
        if _UNNAMED in ended:
            return False
        if leg.role == Role.LIVE:
            return self.live is None and not all_ended(leg, self.ended)
        return leg.target not in ended and leg.target not in shadows and len(ended) + len(shadows) < _MOST_TARGETS

    def held(self) -> int:
        """Return how many legs are here."""
        return (len(self.shadows) if self.shadows else 0) + (self.live is not None)

    def missing(self) -> list[str]:
        """
        Return the targets that the live leg expects and whose shadow has not come.

        A live leg that names no targets misses one without a name, however many they are.
        """
        live, ended = self.live, self.ended or ()
        if live is None or all_ended(live, self.ended):
            return []
        if live.expected_targets:
            return [target for target in dict.fromkeys(live.expected_targets) if target not in ended]
        return [] if ended and live.leg_count <= 1 else [_UNNAMED]

    def end(self, target: str) -> None:
        """Note that the pair with this target has ended."""
        if self.ended is None:
            self.ended = {target}
        else:
            self.ended.add(target)


def _same_span(one: Leg, other: Leg) -> bool:
    return one.span_id == other.span_id and one.trace_id == other.trace_id


def span_key(leg: Leg) -> bytes:
    """Return what tells one span from every other."""
    return (leg.trace_id << 64 | leg.span_id).to_bytes(_SPAN_BYTES, "big")


def all_ended(live: Leg, ended: set[str] | None) -> bool:
    """Return whether no pair of this live leg is left to wait for; never, when it does not say how many."""
    if not ended:
        return False
    if live.expected_targets:
        return ended.issuperset(live.expected_targets)
    return live.leg_count > 1 and len(ended) >= live.leg_count - 1
