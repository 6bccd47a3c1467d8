"""
Instruments of our own: the SDK's cost 7–10 µs a record, and a pair makes about 28 records.

An instrument knows the names of its attributes; a point is found by their values in the same order, ``None`` for an
attribute that is absent, and whoever has found it may keep it. An instrument holds ``limit`` points; what comes after
goes to one overflow point, so that no sender can make us grow. Sums are cumulative from one start, and never go down.
What an instrument holds can be taken out as JSON's types and put back into a new one, so that the sums outlive the
process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from opentelemetry.sdk.metrics.export import AggregationTemporality, Metric, NumberDataPoint, Sum

from shadowmesh import names

Values = tuple[str | None, ...]
Point = TypeVar("Point")

MOST = 2.0**63
"""An OTLP sum is an int64 or a double; no honest sum comes near, and a hostile one must not break the export."""


class Instrument(ABC, Generic[Point]):
    """What all kinds have in common."""

    def __init__(self, name: str, unit: str, attributes: Sequence[str], *, limit: int, description: str = "") -> None:
        self.name = name
        self.unit = unit
        self.description = description
        self.attributes = tuple(attributes)
        self._limit = limit
        self._points: dict[Values | None, Point] = {}
        self._begun: list[Values | None] = []

    def point(self, values: Values) -> Point:
        """Return the point with these values, or the overflow point; it stays theirs until :meth:`restore`."""
        point = self._points.get(values)
        if point is None:
            key = values if len(self._points) < self._limit else None
            point = self._points.get(key)
            if point is None:
                point = self._points[key] = self._empty()
                self._begun.append(key)
        return point

    def begun(self) -> list[dict[str, str | bool]]:
        """Return the attributes of the points that are new since this was asked last; restored ones are not."""
        begun, self._begun = self._begun, []
        return [self.named(values) for values in begun]

    @abstractmethod
    def collect(self, started_ns: int, at_ns: int, *, again: bool = False) -> Metric:
        """
        Return every point, cumulative since the start; both times are wall-clock nanoseconds.

        Args:
            again: give examples out that were given out before, and do not count this as giving them out.
        """

    @abstractmethod
    def state(self) -> list[Any]:
        """Return what every point holds, as JSON has it; examples are not kept."""

    @abstractmethod
    def restore(self, state: list[Any]) -> None:
        """
        Take over what :meth:`state` returned, in place of what is here.

        Raises:
            TypeError, ValueError, KeyError, IndexError: it was not made by an instrument like this one.
        """

    @abstractmethod
    def _empty(self) -> Point:
        """Return a point that has counted nothing."""

    def key(self, values: list[str | None] | None) -> Values | None:
        """
        Return the key of a point as :meth:`state` wrote it.

        Raises:
            ValueError: it has not as many values as this instrument has attributes.
        """
        if values is None:
            return None
        if len(values) != len(self.attributes):
            raise ValueError(f"{self.name} has {len(self.attributes)} attributes, not {len(values)}")
        return tuple(values)

    def named(self, values: Values | None) -> dict[str, str | bool]:
        """Return the attributes of the point with these values; ``None`` is the overflow point."""
        if values is None:
            return {names.METRIC_OVERFLOW: True}
        return {name: str(value) for name, value in zip(self.attributes, values, strict=True) if value is not None}


class Total:
    """The point of a counter."""

    __slots__ = ("value",)

    def __init__(self, value: float = 0) -> None:
        self.value = value

    def add(self, amount: float) -> None:
        """Add an amount; one that is negative or no number changes nothing."""
        total = self.value + amount
        if amount >= 0 and total < MOST:
            self.value = total


class Counter(Instrument[Total]):
    """A sum that only grows."""

    def add(self, values: Values, amount: float) -> None:
        """Add an amount to the point with these values."""
        self.point(values).add(amount)

    def sums(self) -> dict[Values | None, int | float]:
        """Return every sum by its attributes' values; ``None`` is the overflow point."""
        return {values: point.value for values, point in self._points.items()}

    def state(self) -> list[Any]:
        """Return every sum behind its values."""
        return [[values, value] for values, value in self.sums().items()]

    def restore(self, state: list[Any]) -> None:
        """Take the sums over."""
        self._points = {self.key(values): Total(value + 0) for values, value in state}

    def collect(self, started_ns: int, at_ns: int, *, again: bool = False) -> Metric:  # noqa: ARG002 - no examples here
        """Return the sums."""
        points = [NumberDataPoint(self.named(values), started_ns, at_ns, sum_) for values, sum_ in self.sums().items()]
        return Metric(self.name, self.description, self.unit, _sum(points, monotonic=True))

    def _empty(self) -> Total:
        return Total()


def observed(
    name: str, unit: str, value: float, started_ns: int, at_ns: int, *, monotonic: bool = False, description: str = ""
) -> Metric:
    """Return a sum without attributes that somebody else keeps; one that is not monotonic is an UpDownCounter."""
    return Metric(name, description, unit, _sum([NumberDataPoint({}, started_ns, at_ns, value)], monotonic=monotonic))


def _sum(points: list[NumberDataPoint], *, monotonic: bool) -> Sum:
    return Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=monotonic)
