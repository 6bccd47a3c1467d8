"""
How the interceptors drew calls: what was eligible, what was sampled, and what was to be (pure).

An interceptor counts the three together and sends them in one export. What lies between here and there may part an
export in two, and a sender that is killed takes the last one with it: so the three are booked together, as of one
moment, or not at all, and their ratio is that of some moment of the sender's.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import StrEnum
from typing import Any, NamedTuple

from shadowmesh.processor.growth import Growth, Number
from shadowmesh.store.records import Sampling


class Figure(StrEnum):
    """The three counters, in the order in which they are booked."""

    ELIGIBLE = "eligible"
    SAMPLED = "sampled"
    EXPECTED = "expected"


class SamplingSeries(NamedTuple):
    """What tells the counters of two senders, targets or configurations apart."""

    instance: str
    experiment: str
    target: str
    config_digest: str


class SamplingPoint(NamedTuple):
    """One point of one of the three counters."""

    series: SamplingSeries
    figure: Figure
    cumulative: bool
    started_ns: int
    at_ns: int
    value: Number


class _Sender:
    """The counters of one series, and those of its newest moment that have come so far."""

    __slots__ = ("growth", "moment", "waiting")

    def __init__(self, growth: Growth) -> None:
        self.growth = growth
        self.moment = (False, -1)
        self.waiting: dict[Figure, SamplingPoint] = {}

    def take(self, point: SamplingPoint) -> tuple[Number, ...]:
        """Return what the three have grown by where this is the last one of its moment, else nothing."""
        moment = (point.cumulative, point.at_ns)
        if moment != self.moment:
            if point.at_ns < self.moment[1]:
                return ()
            self.moment, self.waiting = moment, {}
        self.waiting[point.figure] = point
        if len(self.waiting) < len(Figure):
            return ()
        points = [self.waiting[figure] for figure in Figure]
        # Each counter of a process begins at its own nanosecond.
        started_ns = min(one.started_ns for one in points)
        values = [one.value for one in points]
        return self.growth.by(values, cumulative=point.cumulative, started_ns=started_ns, at_ns=point.at_ns)


class SamplingBook:
    """
    Books growth.

    Args:
        most_series: series kept at once. Beyond it the one that was silent longest is forgotten, its bookings stay.
        most_sums: configurations of targets of which there are sums; beyond it those that grew longest ago are
            forgotten, and nothing is said of them any more.
    """

    def __init__(self, *, most_series: int = 10_000, most_sums: int = 1000) -> None:
        self._most_series = most_series
        self._most_sums = most_sums
        self._senders: OrderedDict[SamplingSeries, _Sender] = OrderedDict()
        self._sums: OrderedDict[tuple[str, str, str], Sampling] = OrderedDict()

    def add(self, point: SamplingPoint) -> None:
        """Book what the point adds, once the others of its moment are there."""
        sender = self._senders.get(point.series)
        if sender is None:
            sender = self._senders[point.series] = _Sender(Growth())
            if len(self._senders) > self._most_series:
                self._senders.popitem(last=False)
        else:
            self._senders.move_to_end(point.series)
        grown = sender.take(point)
        if any(grown):
            self._book(point.series, *grown)

    def sums(self) -> list[Sampling]:
        """Return what was booked, by target and configuration."""
        return list(self._sums.values())

    def state(self) -> dict[str, Any]:
        """Return everything that was booked, as JSON has it; of an unfinished moment, what there was before it."""
        return {
            "series": [
                [*key, one.growth.started_ns, one.growth.at_ns, *one.growth.values]
                for key, one in self._senders.items()
                if one.growth.values
            ],
            "sums": [list(sums) for sums in self._sums.values()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """
        Book on from what :meth:`state` returned.

        Raises:
            TypeError, ValueError, KeyError: it is no such state.
        """
        senders: OrderedDict[SamplingSeries, _Sender] = OrderedDict()
        for instance, experiment, target, digest, started_ns, at_ns, *values in state["series"]:
            key = SamplingSeries(instance, experiment, target, digest)
            senders[key] = _Sender(Growth(started_ns, at_ns, values))
        sums = [Sampling(*one) for one in state["sums"]]
        self._senders = senders
        self._sums = OrderedDict((one[:3], one) for one in sums)

    def _book(self, series: SamplingSeries, eligible: Number, sampled: Number, expected: Number) -> None:
        key = (series.experiment, series.target, series.config_digest)
        sums = self._sums.pop(key, Sampling(*key))
        self._sums[key] = sums._replace(
            eligible=sums.eligible + int(eligible),
            sampled=sums.sampled + int(sampled),
            expected=sums.expected + float(expected),
        )
        if len(self._sums) > self._most_sums:
            self._sums.popitem(last=False)
