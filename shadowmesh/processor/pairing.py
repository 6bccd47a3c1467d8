"""
The legs of one exchange find each other, whatever order they arrive in.

A pair is one (experiment, pair id, target), and each ends exactly once:

- complete, when its live and its shadow leg are both here;
- with one side missing, when the other has waited for the window;
- evicted, when the buffer needs its place.

A leg that was seen before is a duplicate, also when its pair has ended. A leg that could only join pairs that
have ended is late. The live leg names the targets it expects; it stays until all of them have ended and then
leaves, so an empty buffer is the normal end of every load. All work is O(1) per leg, amortised: both orders
below are orders of arrival, and time only moves forward.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from shadowmesh.model import Leg, Pair
from shadowmesh.names import Role, SpanOutcome

# More targets than anybody configures: the most a hostile sender may make us remember of one pair id.
_MOST_TARGETS = 64


class Ended(NamedTuple):
    """One pair at its end; an evicted one was there and is only counted."""

    pair: Pair
    evicted: bool = False


class _Exchange:
    """The legs of one exchange that are here, and the targets whose pairs have ended."""

    __slots__ = ("ended", "live", "opened", "seen", "shadows")

    def __init__(self, opened: float) -> None:
        self.opened = opened
        self.live: Leg | None = None
        self.shadows: dict[str, Leg] = {}
        self.ended: set[str] = set()
        self.seen: set[int] = set()

    def accepts(self, leg: Leg) -> bool:
        """Return whether some pair that has not ended still lacks this leg."""
        if _UNNAMED in self.ended:
            return False
        if leg.role == Role.LIVE:
            return self.live is None and not _all_ended(leg, self.ended)
        return (
            leg.target not in self.ended
            and leg.target not in self.shadows
            and len(self.ended) + len(self.shadows) < _MOST_TARGETS
        )

    def held(self) -> int:
        return len(self.shadows) + (self.live is not None)

    def missing(self) -> list[str]:
        """
        Return the targets that the live leg expects and whose shadow has not come.

        A live leg that names no targets misses one without a name, however many they are.
        """
        live = self.live
        if live is None or _all_ended(live, self.ended):
            return []
        if live.expected_targets:
            return [target for target in dict.fromkeys(live.expected_targets) if target not in self.ended]
        return [] if self.ended and live.leg_count <= 1 else [_UNNAMED]


class _Closed(NamedTuple):
    """What must be known of an exchange that has left the buffer: its spans, and its ended targets."""

    seen: tuple[int, ...]
    ended: tuple[str, ...]


class Pairing:
    """
    The buffer in which legs wait for each other.

    Args:
        capacity: legs held at once; beyond it the exchange that has waited longest is evicted. As many closed
            exchanges are remembered, to tell duplicates and late legs from new ones.
        window: seconds a leg waits, counted from the first leg of its exchange that is here.
    """

    def __init__(self, capacity: int, window: float) -> None:
        self.capacity = capacity
        self.size = 0
        self._window = window
        self._open: OrderedDict[tuple[str, str], _Exchange] = OrderedDict()
        self._closed: OrderedDict[tuple[str, str], _Closed] = OrderedDict()

    def add(self, leg: Leg, now: float) -> tuple[SpanOutcome, list[Ended]]:
        """
        Take one leg in; return what became of it and the pairs that ended by it.

        ``now`` is in seconds of a monotonic clock and never goes back.
        """
        key = (leg.experiment, leg.pair_id)
        exchange = self._open.get(key) or self._recall(key, now)
        span = leg.trace_id << 64 | leg.span_id
        if span in exchange.seen:
            return SpanOutcome.DUPLICATE, []
        if not exchange.accepts(leg):
            return SpanOutcome.LATE, []

        exchange.seen.add(span)
        self._open[key] = exchange
        self.size += 1
        if leg.role == Role.LIVE:
            exchange.live = leg
        else:
            exchange.shadows[leg.target] = leg
        ended = self._settle(key, exchange)
        while self.size > self.capacity:
            ended += self._end(*next(iter(self._open.items())), evicted=True)
        return SpanOutcome.ACCEPTED, ended

    def expire(self, now: float) -> list[Ended]:
        """Return the pairs that ended because a side did not come within the window."""
        ended: list[Ended] = []
        while self._open:
            key, exchange = next(iter(self._open.items()))
            if now - exchange.opened < self._window:
                break
            ended += self._end(key, exchange)
        return ended

    def flush(self) -> list[Ended]:
        """End everything that waits, as if its window were over."""
        ended: list[Ended] = []
        while self._open:
            ended += self._end(*next(iter(self._open.items())))
        return ended

    def waiting(self) -> dict[tuple[str, str], int]:
        """Return how many pairs have begun and not ended, per (experiment, target)."""
        pairs: dict[tuple[str, str], int] = {}
        for (experiment, _), exchange in self._open.items():
            for target in dict.fromkeys((*exchange.shadows, *exchange.missing())):
                pairs[experiment, target] = pairs.get((experiment, target), 0) + 1
        return pairs

    def _recall(self, key: tuple[str, str], now: float) -> _Exchange:
        exchange = _Exchange(now)
        closed = self._closed.get(key)
        if closed is not None:
            exchange.seen.update(closed.seen)
            exchange.ended.update(closed.ended)
        return exchange

    def _settle(self, key: tuple[str, str], exchange: _Exchange) -> list[Ended]:
        """End the pairs that are complete, and close the exchange when its live leg waits for nobody."""
        live = exchange.live
        if live is None:
            return []
        ended = [
            Ended(Pair(pair_id=key[1], target=target, live=live, shadow=shadow))
            for target, shadow in exchange.shadows.items()
        ]
        exchange.ended.update(exchange.shadows)
        exchange.shadows.clear()
        self.size -= len(ended)
        if _all_ended(live, exchange.ended):
            self._close(key, exchange)
        return ended

    def _end(self, key: tuple[str, str], exchange: _Exchange, *, evicted: bool = False) -> list[Ended]:
        """
        End what has only one side, and close the exchange.

        Shadows are still here only when their live leg is not, because it takes them along.
        """
        pairs = [
            Pair(pair_id=key[1], target=target, live=exchange.live, shadow=None) for target in exchange.missing()
        ] + [
            Pair(pair_id=key[1], target=target, live=None, shadow=shadow) for target, shadow in exchange.shadows.items()
        ]
        exchange.ended.update(pair.target for pair in pairs)
        self._close(key, exchange)
        return [Ended(pair, evicted) for pair in pairs]

    def _close(self, key: tuple[str, str], exchange: _Exchange) -> None:
        self.size -= exchange.held()
        del self._open[key]
        self._closed[key] = _Closed(tuple(exchange.seen), tuple(exchange.ended))
        self._closed.move_to_end(key)
        if len(self._closed) > self.capacity:
            self._closed.popitem(last=False)


# The target of what a live leg without `expected_targets` misses.
_UNNAMED = ""


def _all_ended(live: Leg, ended: set[str]) -> bool:
    """Return whether no pair of this live leg is left to wait for; never, when it does not say how many."""
    if live.expected_targets:
        return ended.issuperset(live.expected_targets)
    return live.leg_count > 1 and len(ended) >= live.leg_count - 1
