"""
Instruments of our own: the SDK's cost 7–10 µs a record, and a pair makes about 28 records.

An instrument knows the names of its attributes; a point is found by their values in the same order,
``None`` for an attribute that is absent. An instrument holds ``limit`` points; what comes after goes to one
overflow point, so that no sender can make us grow. Sums are cumulative from one start, and never go down. What an
instrument holds can be taken out as JSON's types and put back into a new one, so that the sums outlive the process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import AggregationTemporality, Metric, NumberDataPoint, Sum

from shadowmesh import names

Values = tuple[str | None, ...]

MOST = 2**63
"""An OTLP sum is an int64 or a double; no honest sum comes near, and a hostile one must not break the export."""


class Instrument(ABC):
    """What all kinds have in common."""

    def __init__(self, name: str, unit: str, attributes: Sequence[str], *, limit: int) -> None:
        self.name = name
        self.unit = unit
        self.attributes = tuple(attributes)
        self._limit = limit

    @abstractmethod
    def collect(self, started_ns: int, at_ns: int) -> Metric:
        """Return every point, cumulative since the start; both times are wall-clock nanoseconds."""

    @abstractmethod
    def state(self) -> list[Any]:
        """Return what every point holds, as JSON has it."""

    @abstractmethod
    def restore(self, state: list[Any]) -> None:
        """
        Take over what :meth:`state` returned, in place of what is here.

        Raises:
            TypeError, ValueError, KeyError, IndexError: it was not made by an instrument like this one.
        """

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


class Counter(Instrument):
    """A sum that only grows."""

    def __init__(self, name: str, unit: str, attributes: Sequence[str], *, limit: int) -> None:
        super().__init__(name, unit, attributes, limit=limit)
        self._sums: dict[Values | None, int | float] = {}

    def add(self, values: Values, amount: float) -> None:
        """Add an amount; one that is negative or no number changes nothing."""
        sums = self._sums
        key: Values | None = values
        if key not in sums and len(sums) >= self._limit:
            key = None
        total = sums.get(key, 0) + amount
        if amount >= 0 and total < MOST:
            sums[key] = total

    def sums(self) -> dict[Values | None, int | float]:
        """Return every sum by its attributes' values; ``None`` is the overflow point."""
        return dict(self._sums)

    def state(self) -> list[Any]:
        """Return every sum behind its values."""
        return [[values, value] for values, value in self._sums.items()]

    def restore(self, state: list[Any]) -> None:
        """Take the sums over."""
        self._sums = {self.key(values): value + 0 for values, value in state}

    def collect(self, started_ns: int, at_ns: int) -> Metric:
        """Return the sums."""
        points = [NumberDataPoint(self.named(values), started_ns, at_ns, value) for values, value in self._sums.items()]
        return _sum(self.name, self.unit, points, monotonic=True)


def up_down(name: str, unit: str, value: int, started_ns: int, at_ns: int) -> Metric:
    """Return the present value of an UpDownCounter without attributes."""
    return _sum(name, unit, [NumberDataPoint({}, started_ns, at_ns, value)], monotonic=False)


def _sum(name: str, unit: str, points: list[NumberDataPoint], *, monotonic: bool) -> Metric:
    data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=monotonic)
    return Metric(name=name, description="", unit=unit, data=data)
