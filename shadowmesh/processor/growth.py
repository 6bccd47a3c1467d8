"""What a sender's counters have grown by (pure)."""

from __future__ import annotations

from collections.abc import Sequence

Number = int | float


class Growth:
    """
    How far counters that are sent together have come; ``values`` are those of the last point that counted.

    Only growth is taken: a re-delivered or overtaken point adds nothing, and a restarted process starts again from 0
    without taking anything back.
    """

    __slots__ = ("at_ns", "started_ns", "values")

    def __init__(self, started_ns: int = 0, at_ns: int = -1, values: Sequence[Number] = ()) -> None:
        self.started_ns = started_ns
        self.at_ns = at_ns
        self.values = tuple(values)

    def by(self, values: Sequence[Number], *, cumulative: bool, started_ns: int, at_ns: int) -> tuple[Number, ...]:
        """Take in a point, and return what each of its values adds."""
        restarted = cumulative and started_ns > self.started_ns
        overtaken = at_ns <= self.at_ns and not restarted
        if overtaken or (cumulative and started_ns < self.started_ns):
            return (0,) * len(values)
        grown = tuple(values)
        if cumulative and not restarted and self.values:
            since = tuple(now - before for now, before in zip(values, self.values, strict=True))
            # One that went back says that its process restarted, though not since when it counts.
            grown = grown if min(since) < 0 else since
        self.started_ns, self.at_ns, self.values = started_ns, at_ns, tuple(values)
        return grown
