"""Numbers as short text: about three figures, in the unit that keeps them in front of the point."""

from __future__ import annotations

import math
from dataclasses import dataclass

UNKNOWN = "unknown"
_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_LABELS = {"{token}": "tokens", "{token}/s": "tok/s"}
_MOST_DIGITS = 9
_TICK = 1e-9
_SIZES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_LONG_TIMES = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


@dataclass(frozen=True, slots=True)
class Scale:
    """How to write every number of a row: divided by ``factor``, with ``digits`` decimals, as ``label``."""

    factor: float
    label: str
    digits: int

    def text(self, value: float, *, signed: bool = False) -> str:
        """Return the number without its unit; ``signed`` writes the plus as well."""
        return _fixed(value / self.factor, self.digits, signed=signed)


def scale_for(unit: str, *values: float) -> Scale:
    """
    Return the scale that suits these values of a UCUM unit, seconds becoming s, ms or µs.

    The first value decides on the unit, the largest on the decimals.
    """
    finite = [value for value in values if math.isfinite(value)]
    typical = finite[0] if finite else 0.0
    factor, label = 1.0, _LABELS.get(unit, unit)
    if unit == "s":
        smallest = _SECONDS[-1] if typical else _SECONDS[0]
        factor, label = next((step for step in _SECONDS if abs(typical) >= step[0]), smallest)
    elif all(float(value).is_integer() for value in finite):
        return Scale(factor, label, 0)
    return Scale(factor, label, _digits(max(map(abs, finite), default=0.0) / factor))


def duration(seconds: float | None, *, signed: bool = False) -> str:
    """Return a duration with its unit; what is shorter than the clocks can tell is nothing."""
    if seconds is None:
        return UNKNOWN
    if abs(seconds) < _TICK:
        return "0 s"
    scale = scale_for("s", seconds)
    return f"{scale.text(seconds, signed=signed)} {scale.label}"


def elapsed(seconds: float) -> str:
    """Return how long something has lasted, in whole units: 5 s, 2 min 5 s, 2 h 3 min, 1 d 4 h."""
    whole = max(int(seconds), 0)
    for large, large_label, small, small_label in _LONG_TIMES:
        if whole >= large:
            rest = whole % large // small
            return f"{whole // large:,} {large_label}" + (f" {rest} {small_label}" if rest else "")
    return f"{whole} s"


def size(count: int) -> str:
    """Return a number of bytes: 12 B, 48 KiB, 1.50 MiB."""
    for factor_of, label in _SIZES:
        if count >= factor_of:
            scaled = count / factor_of
            return f"{_fixed(scaled, 0 if scaled.is_integer() else _digits(scaled))} {label}"
    return f"{count} B"


def ratio(value: float | None) -> str:
    """Return a ratio such as ×1.25."""
    return UNKNOWN if value is None else f"×{factor(value)}"


def factor(value: float) -> str:
    """Return the number of a ratio: 0.05, 1.25, 12.5."""
    return _fixed(value, min(_digits(value), 2))


def money(amount: float | None, currency: str | None, *, signed: bool = False) -> str:
    """Return an amount with its currency; unknown is never 0."""
    if amount is None or currency is None:
        return UNKNOWN
    number = _fixed(abs(amount), max(_digits(amount), 2) if amount else 2)
    sign = "\N{MINUS SIGN}" if amount < 0 else "+" if signed else ""
    return f"{sign}${number}" if currency == "USD" else f"{sign}{number} {currency}"


def _digits(value: float) -> int:
    """Return the decimals that leave three figures, or four: 12.3, 123.4 and 1,234."""
    if value == 0 or not math.isfinite(value):
        return 0
    size = math.floor(math.log10(abs(value)))
    return 0 if size >= 3 else 1 if size == 2 else min(2 - size, _MOST_DIGITS)


def _fixed(value: float, digits: int, *, signed: bool = False) -> str:
    if not math.isfinite(value):
        return UNKNOWN
    rounded = round(value, digits)
    # A real minus sign is as wide as a plus, so that columns line up; nothing is "-0.0".
    sign = "\N{MINUS SIGN}" if rounded < 0 else "+" if signed and rounded > 0 else ""
    return f"{sign}{abs(rounded):,.{digits}f}"
