"""The rows of the table: which world, which question, and what share of wrong or right answers is within the limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from zlib import crc32

import numpy as np
from sim.draws import Floats
from sim.outcome import AtLeast, AtMost, Outcome, outcome

Decide = Callable[..., Floats]
"""From a generator, the number of runs and, by keyword, pairs of each, to the pairs after which each run decided."""
ALPHA = 0.05
_CHUNK = 25
"""Runs that share a generator: what one process does at a time, and the same figures however many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """
    One row.

    Args:
        runs: in the full table.
        quick: in the tests; 0: too dear for them.
        quick_pairs: and of so many pairs each; 0: as in the full table.
        straw: a straw man, which has to break the limit.
    """

    name: str
    about: str
    decide: Decide
    bound: AtMost | AtLeast
    runs: int
    quick: int = 0
    quick_pairs: int = 0
    straw: bool = False

    def small(self) -> Simulation:
        """Return the row as the tests run it."""
        decide = partial(self.decide, pairs=self.quick_pairs) if self.quick_pairs else self.decide
        return replace(self, runs=self.quick, decide=decide)

    def chunks(self) -> list[tuple[int, int]]:
        """Return the numbers of the generators that are needed, and the runs of each."""
        return [(chunk, min(_CHUNK, self.runs - chunk * _CHUNK)) for chunk in range(-(-self.runs // _CHUNK))]

    def decided(self, chunk: int, runs: int) -> Floats:
        """Return the decisions of one chunk: the same for the same name and number."""
        return self.decide(np.random.default_rng([crc32(self.name.encode()), chunk]), runs)

    def outcome(self, decided_at: Floats) -> Outcome:
        """Hold the decisions of all chunks against the limit."""
        return outcome(self.name, self.about, self.bound, decided_at=decided_at, straw=self.straw)

    def run(self) -> Outcome:
        """Do all of it here."""
        return self.outcome(np.concatenate([self.decided(*chunk) for chunk in self.chunks()]))


def never(name: str, about: str, decide: Decide, *, runs: int, quick: int = 0, quick_pairs: int = 0) -> Simulation:
    """Return a row about an error that may happen at ``ALPHA``, however often one looks."""
    return Simulation(
        name=name, about=about, decide=decide, bound=AtMost(ALPHA), runs=runs, quick=quick, quick_pairs=quick_pairs
    )


def straw(name: str, about: str, decide: Decide, *, runs: int, quick: int = 0) -> Simulation:
    """Return a row about a test that does not keep ``ALPHA``."""
    return Simulation(name=name, about=about, decide=decide, bound=AtMost(ALPHA), runs=runs, quick=quick, straw=True)


def power(
    name: str, about: str, decide: Decide, *, share: float, pairs: float, runs: int, quick: int = 0
) -> Simulation:
    """Return a row about what has to be seen, by so many pairs."""
    return Simulation(name=name, about=about, decide=decide, bound=AtLeast(share, pairs), runs=runs, quick=quick)
