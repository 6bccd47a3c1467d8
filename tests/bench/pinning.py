"""
Which role runs on which cores.

The same for every mode: the live server has a core of its own, and so has what stands beside it, be it Envoy or the
children of the live process; everything else shares the rest. With fewer than four cores the second is not to be
had, and Envoy and the children share the rest with the others.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Self

_ENOUGH = 4


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores of each role."""

    live: list[int]
    beside: list[int]
    rest: list[int]

    @classmethod
    def usable(cls) -> Self:
        """Divide the cores this process may use."""
        cores = sorted(os.sched_getaffinity(0))
        rest = cores[1:] or cores
        return cls(cores[:1], rest[:1], rest[1:]) if len(cores) >= _ENOUGH else cls(cores[:1], rest, rest)

    @property
    def all(self) -> list[int]:
        """Every one of them."""
        return sorted({*self.live, *self.beside, *self.rest})

    def of_hop(self, workers: int) -> list[int]:
        """Return a core for each process of what stands before the live server, as far as there are any."""
        return self.beside if workers == 1 else sorted({*self.beside, *self.rest})[:workers]

    def by_process(self) -> dict[str, list[int]]:
        """Return which cores each process may use."""
        others = ("shadow", "otlp_sink", "load_generator", "benchmark")
        beside = dict.fromkeys(("envoy", "children_of_live"), self.beside)
        return {"live": self.live, **beside, **dict.fromkeys(others, self.rest)}
