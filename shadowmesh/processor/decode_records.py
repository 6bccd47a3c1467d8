"""
Frozen records from their values, at a fraction of the price of calling their class.

A leg has some forty fields and its ``Fields`` 17, most of them at their defaults, and a frozen class sets each through
``object.__setattr__`` after sorting keywords: that would be most of what a span costs. Here the values are a list in
the order of the fields, begun as a copy of the defaults; they are given to a class that has the same slots and is not
frozen, and what it has made is then told its right class.
"""

from __future__ import annotations

from dataclasses import MISSING, fields, make_dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Maker(Generic[T]):
    """Makes records of one frozen, slotted dataclass, whose defaults are values and not factories."""

    def __init__(self, record: type[T]) -> None:
        if any(field.default_factory is not MISSING for field in fields(record)):  # type: ignore[arg-type]
            raise TypeError(f"{record.__name__} has a default that must be made anew for each")
        self.blank: list[Any] = [field.default for field in fields(record)]  # type: ignore[arg-type]  # T is a dataclass
        """The value of every field that nobody says; ``MISSING`` where the record cannot do without."""
        self.place = {field.name: number for number, field in enumerate(fields(record))}  # type: ignore[arg-type]
        """Where the value of a field stands, by its name."""
        self._needed = [(name, number) for name, number in self.place.items() if self.blank[number] is MISSING]
        self._record = record
        self._twin = make_dataclass(f"{record.__name__}Twin", self.place, slots=True)

    def make(self, values: list[Any]) -> T:
        """Return the record with these values, of which none is ``MISSING``."""
        record: Any = self._twin(*values)
        record.__class__ = self._record
        made: T = record
        return made

    def put(self, record: T, field: str, value: object) -> None:
        """
        Put one more value into a record that was just made, while nobody else has it.

        A copy by :func:`dataclasses.replace` is the same to everybody and costs as much as decoding the leg.
        """
        getattr(self._record, field).__set__(record, value)

    def said(self, values: list[Any]) -> dict[str, Any]:
        """Return the values that are not the default itself, by field."""
        return {
            name: value
            for (name, number), default in zip(self.place.items(), self.blank, strict=True)
            if (value := values[number]) is not default
        }

    def missing(self, values: list[Any]) -> str | None:
        """Return a field that the record cannot do without and that nobody said; ``None`` when all are there."""
        for name, number in self._needed:
            if values[number] is MISSING:
                return name
        return None

    def fill(self, values: list[Any], said: dict[str, Any]) -> None:
        """Put values in their places."""
        for name, value in said.items():
            values[self.place[name]] = value
