"""
The legs of one exchange find each other, whatever order they arrive in.

A pair is one (experiment, pair id, target), and each ends exactly once:

- complete, when its live and its shadow leg are both here;
- with one side missing, when the other has waited for the window;
- evicted, when the buffer needs its place.

A leg that was seen before is a duplicate, also when its pair has ended. A leg that could only join pairs that
have ended is late. The live leg names the targets it expects; it stays until all of them have ended and then
leaves, so an empty buffer is the normal end of every load. All work is O(1) per leg, amortised: both orders
below are orders of arrival, and time and positions only move forward.

After a crash the journal is replayed from a position that is not behind :meth:`Pairing.oldest`, nor behind
:attr:`Ended.position` of a pair that was not yet stored. Legs whose partner stands before it, because that pair had
ended, wait for nobody and end with one side missing; the store has that pair's row already and keeps it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from shadowmesh.model import Leg, Pair
from shadowmesh.names import Role, SpanOutcome
from shadowmesh.processor.pairing_exchange import Exchange, Waiting, all_ended, span_key

# What a closed exchange takes beside its text, on a 64-bit CPython 3.11.
_CLOSED_BYTES = 300
_USUAL_LEG_BYTES = 1000
_SECOND_NS = 1_000_000_000

_Key = tuple[str, str]


class Ended(NamedTuple):
    """
    One pair at its end; an evicted one was there and is only counted.

    ``position`` is the smallest of its legs' positions: a replay from there makes the pair again.
    """

    pair: Pair
    evicted: bool = False
    position: int = 0


class _Closed(NamedTuple):
    """What must be known of an exchange that has left the buffer: its spans, its ended targets, its size in bytes."""

    spans: bytes
    ended: tuple[str, ...]
    size: int


class Pairing:
    """
    The buffer in which legs wait for each other.

    Args:
        capacity: legs held at once; beyond it the exchange that has waited longest is evicted. As many closed
            exchanges are remembered, to tell duplicates and late legs from new ones.
        window: seconds a leg waits, counted from the first leg of its exchange that is here.
        max_bytes: bytes the held legs may take; beyond it they are evicted as beyond the capacity. The closed
            exchanges may take a quarter of that again, and the oldest are forgotten first.
    """

    def __init__(self, capacity: int, window: float, *, max_bytes: int = 256 * 1024 * 1024) -> None:
        self.capacity = capacity
        self.size = 0
        self.max_bytes = max_bytes
        self.bytes = 0
        """About how much memory the held legs take; ``size`` is their number."""
        self._window = window
        self._open: OrderedDict[_Key, Exchange] = OrderedDict()
        self._closed: OrderedDict[_Key, _Closed] = OrderedDict()
        self._closed_bytes = 0
        # How many of the open exchanges began in each second: their earliest is asked for often, and they are many.
        self._seconds: dict[int, int] = {}

    def add(
        self, leg: Leg, now: float, *, position: int = 0, size: int = _USUAL_LEG_BYTES
    ) -> tuple[SpanOutcome, list[Ended]]:
        """
        Take one leg in; return what became of it and the pairs that ended by it.

        Args:
            leg: the leg.
            now: seconds of a monotonic clock, which never goes back.
            position: where it stands in the journal; never less than before.
            size: about how many bytes it takes; those on the wire will do.
        """
        key = (leg.experiment, leg.pair_id)
        exchange = self._open.get(key)
        new = exchange is None
        if exchange is None:
            exchange = self._recall(key, now, position)
        if exchange.knows(leg):
            return SpanOutcome.DUPLICATE, []
        if not exchange.accepts(leg):
            return SpanOutcome.LATE, []

        if new:
            self._open_up(key, exchange)
        self._date(exchange, leg.started_ns // _SECOND_NS, new=new)
        self.size += 1
        self.bytes += size
        exchange.size += size
        if leg.role == Role.LIVE:
            exchange.live, exchange.live_position = leg, position
            ended = self._settle(key, exchange)
        elif exchange.live is not None:
            ended = [self._complete(key, exchange, exchange.live, Waiting(leg, position, size))]
            self._close_when_done(key, exchange)
        else:
            if exchange.shadows is None:
                exchange.shadows = {}
            exchange.shadows[leg.target] = Waiting(leg, position, size)
            ended = []
        while self.size > self.capacity or self.bytes > self.max_bytes:
            ended += self._end(*next(iter(self._open.items())), evicted=True)
        return SpanOutcome.ACCEPTED, ended

    def oldest(self) -> int | None:
        """
        Return the smallest journal position that a leg which is here may have; ``None`` when none is here.

        It is the position of the oldest exchange's first leg, which may have left already: at most a window too small.
        """
        for exchange in self._open.values():
            return exchange.position
        return None

    def earliest(self) -> int | None:
        """
        Return before which moment no leg that is here was dispatched, to the second; ``None`` when none is here.

        It is in nanoseconds of the wall clock. A live leg begins before its shadow, so where only the shadow is here,
        its pair may prove to be a little older.
        """
        second = min(self._seconds, default=None)
        return None if second is None else second * _SECOND_NS

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
            for target in dict.fromkeys((*(exchange.shadows or ()), *exchange.missing())):
                pairs[experiment, target] = pairs.get((experiment, target), 0) + 1
        return pairs

    def _recall(self, key: _Key, now: float, position: int) -> Exchange:
        """Return a new exchange that knows what is remembered of its earlier legs."""
        exchange = Exchange(now, position)
        closed = self._closed.get(key)
        if closed is not None:
            exchange.gone = closed.spans
            exchange.ended = set(closed.ended) or None
        return exchange

    def _open_up(self, key: _Key, exchange: Exchange) -> None:
        self._open[key] = exchange
        self.bytes += exchange.size
        closed = self._closed.pop(key, None)
        if closed is not None:
            self._closed_bytes -= closed.size

    def _date(self, exchange: Exchange, second: int, *, new: bool) -> None:
        if not new:
            if second >= exchange.second:
                return
            self._undate(exchange)
        exchange.second = second
        self._seconds[second] = self._seconds.get(second, 0) + 1

    def _undate(self, exchange: Exchange) -> None:
        left = self._seconds[exchange.second] - 1
        if left:
            self._seconds[exchange.second] = left
        else:
            del self._seconds[exchange.second]

    def _settle(self, key: _Key, exchange: Exchange) -> list[Ended]:
        """End the pairs whose shadow was here before its live leg."""
        live, shadows = exchange.live, exchange.shadows
        ended: list[Ended] = []
        if live is not None and shadows:
            exchange.shadows = None
            ended = [self._complete(key, exchange, live, shadow) for shadow in shadows.values()]
        self._close_when_done(key, exchange)
        return ended

    def _complete(self, key: _Key, exchange: Exchange, live: Leg, shadow: Waiting) -> Ended:
        target = shadow.leg.target
        exchange.end(target)
        exchange.gone += span_key(shadow.leg)
        exchange.size -= shadow.size
        self.bytes -= shadow.size
        self.size -= 1
        pair = Pair(pair_id=key[1], target=target, live=live, shadow=shadow.leg)
        return Ended(pair, position=min(exchange.live_position, shadow.position))

    def _close_when_done(self, key: _Key, exchange: Exchange) -> None:
        """Close an exchange whose live leg waits for nobody."""
        if exchange.live is not None and all_ended(exchange.live, exchange.ended):
            self._close(key, exchange)

    def _end(self, key: _Key, exchange: Exchange, *, evicted: bool = False) -> list[Ended]:
        """
        End what has only one side, and close the exchange.

        Shadows are still here only when their live leg is not, because it takes them along.
        """
        ended = [
            Ended(Pair(pair_id=key[1], target=target, live=exchange.live, shadow=None), evicted, exchange.live_position)
            for target in exchange.missing()
        ]
        if exchange.shadows:
            ended += [
                Ended(Pair(pair_id=key[1], target=target, live=None, shadow=shadow.leg), evicted, shadow.position)
                for target, shadow in exchange.shadows.items()
            ]
        for one in ended:
            exchange.end(one.pair.target)
        self._close(key, exchange)
        return ended

    def _close(self, key: _Key, exchange: Exchange) -> None:
        self.size -= exchange.held()
        self.bytes -= exchange.size
        del self._open[key]
        self._undate(exchange)
        spans = exchange.gone
        if exchange.live is not None:
            spans += span_key(exchange.live)
        if exchange.shadows:
            spans += b"".join(span_key(shadow.leg) for shadow in exchange.shadows.values())
        ended = tuple(exchange.ended or ())
        # A character takes up to four bytes.
        size = _CLOSED_BYTES + len(spans) + 4 * (len(key[0]) + len(key[1]) + sum(map(len, ended)))
        self._closed[key] = _Closed(spans, ended, size)
        self._closed_bytes += size
        while len(self._closed) > self.capacity or self._closed_bytes > self.max_bytes // 4:
            self._closed_bytes -= self._closed.popitem(last=False)[1].size
