"""
The joint tally of two legs' latencies, read once per ledger for all that is asked of it.

What a question needs of most cells are sums by leg, and those add up over ledgers. Only the slow tail is looked at cell
by cell, and cells with a leg that was not measured to its end, which are few.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from shadowmesh.evidence import Side
from shadowmesh.verdict import bins
from shadowmesh.verdict.bins import Codes, Places
from shadowmesh.verdict.facts import Floats, Ints, Mask
from shadowmesh.verdict.ledger import Ledger


class Legs(NamedTuple):
    """Codes or places of live and shadow, and how many pairs have both; in no order."""

    live: Codes | Places
    shadow: Codes | Places
    counts: Floats

    def where(self, picked: Ints | Mask) -> Legs:
        """Return those that a mask or an order picks."""
        return Legs(self.live[picked], self.shadow[picked], self.counts[picked])


def joined(parts: Sequence[Legs]) -> Legs:
    """Return all of these, of which there is at least one."""
    return parts[0] if len(parts) == 1 else Legs(*map(np.concatenate, zip(*parts, strict=True)))


class Cells:
    """
    The cells of one joint tally.

    Args:
        keys, counts: of the tally, in any order and not summed up.
    """

    def __init__(self, keys: Ints, counts: Ints) -> None:
        live: Codes = keys // bins.CODES
        # Counts stay far below 2^53, up to which floats are exact, and sums by code want floats.
        self.legs = Legs(live, keys - live * bins.CODES, counts.astype(np.float64))
        self.lives: Floats = _summed(self.legs.live, self.legs.counts, bins.CODES)
        """How many live legs have each code."""
        self.shadows: Floats = _summed(self.legs.shadow, self.legs.counts, bins.CODES)

    @property
    def any_figure(self) -> bool:
        """Whether anything is known of any leg; the codes of what is not are the last ones."""
        return bool(self.lives[: bins.LOST].any() or self.shadows[: bins.LOST].any())

    @cached_property
    def unmeasured(self) -> Legs:
        """The codes of pairs with a leg that was not measured to its end."""
        live, shadow, _ = self.legs
        return self.legs.where(np.flatnonzero((live >= bins.BINS) | (shadow >= bins.BINS)))

    @cached_property
    def failed(self) -> Legs:
        """The codes of pairs with a leg that failed by itself."""
        return self.unmeasured.where(_failed(self.unmeasured))


class Joints:
    """The joint tallies of many ledgers."""

    def __init__(self) -> None:
        self._cells: dict[tuple[Ledger, str], Cells] = {}

    def of(self, ledgers: Sequence[Ledger], name: str) -> list[Cells]:
        """Return the cells of each of these ledgers that has any figure of a tally."""
        for ledger in ledgers:
            if (ledger, name) not in self._cells:
                self._cells[ledger, name] = Cells(*ledger.tally(name).loose())
        found = (self._cells[ledger, name] for ledger in ledgers)
        # Calls that are no streams and failed have no first chunk to lose.
        return [cells for cells in found if cells.any_figure]


class View:
    """
    One way to read cells: a place for each leg.

    Args:
        side: -1 to show that the shadow is below (live low, shadow high), 1 to show that it is above.
        cells: whose pairs are read together; at least one.
        answered: without the pairs in which a leg failed by itself (:mod:`shadowmesh.verdict.legs` says why).
    """

    def __init__(self, side: Side, cells: Sequence[Cells], *, answered: bool) -> None:
        self.side = side
        self._cells = cells
        self._answered = answered
        self._live_places = bins.LOWEST_PLACE if side == -1 else bins.HIGHEST_PLACE
        self._shadow_places = bins.HIGHEST_PLACE if side == -1 else bins.LOWEST_PLACE
        lives = np.zeros(bins.CODES) + sum(each.lives for each in cells)
        shadows = np.zeros(bins.CODES) + sum(each.shadows for each in cells)
        if answered:
            for each in cells:
                lives -= np.bincount(each.failed.live, each.failed.counts, bins.CODES)
                shadows -= np.bincount(each.failed.shadow, each.failed.counts, bins.CODES)
        self.lives: Floats = _summed(self._live_places, lives, bins.TOP + 1)
        """How many live legs are at each place."""
        self.shadows: Floats = _summed(self._shadow_places, shadows, bins.TOP + 1)
        self.pairs = int(self.lives.sum())

    def beyond(self, place: int) -> Legs:
        """Return the places of the pairs whose live leg is beyond a place."""
        return joined([self._beyond(each.legs, place) for each in self._cells])

    def _beyond(self, legs: Legs, place: int) -> Legs:
        # The bin of a place has the number before it, and all other codes are greater than those of bins.
        picked = legs.where(np.flatnonzero(legs.live >= place))
        if self._answered:
            picked = picked.where(~_failed(picked))
        places = Legs(self._live_places[picked.live], self._shadow_places[picked.shadow], picked.counts)
        beyond = places.live > place
        return places if beyond.all() else places.where(beyond)


def views(cells: Sequence[Cells]) -> tuple[View, View]:
    """Return the two views: for PASS of all pairs, for FAIL of those in which both have answered."""
    return View(-1, cells, answered=False), View(1, cells, answered=True)


def _failed(legs: Legs) -> Mask:
    failed: Mask = (legs.live == bins.FAILED) | (legs.shadow == bins.FAILED)
    return failed


def _summed(places: Codes | Places, counts: Floats, length: int) -> Floats:
    found: Floats = np.bincount(places, counts, length).astype(np.float64, copy=False)
    return found
