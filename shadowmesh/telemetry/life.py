"""How long something has been running, and since when."""

from __future__ import annotations

import time
from collections.abc import Callable


class Life:
    """
    Begins when it is made, on both clocks.

    Attributes:
        began_at_ns: the wall clock at the beginning.
        wall_ns: the wall clock.
    """

    def __init__(
        self, *, monotonic_ns: Callable[[], int] = time.monotonic_ns, wall_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.wall_ns = wall_ns
        self.began_at_ns = wall_ns()
        self._monotonic_ns = monotonic_ns
        self._began_ns = monotonic_ns()

    @property
    def seconds(self) -> float:
        """How long it has been."""
        return (self._monotonic_ns() - self._began_ns) / 1e9
