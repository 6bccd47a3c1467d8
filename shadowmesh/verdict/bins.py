"""
Durations as numbers of bins, and what is known of one that was not measured to its end.

Bins are geometric with ``GAMMA = 1.2 ** (1 / 20)``: "times 1.2" is exactly 20 bins, and a duration is known to
0.9 per cent. They reach from 8.6 us to 10 000 s; what lies outside is in the bin at the end.

A *code* says what is known of a leg's figure: that it lies in a bin, that it is at least in a bin (it was ended there),
nothing at all, or nothing because the leg failed by itself. The numbers are stored in ledgers. A *place* is where a
view puts it: bin ``i`` at ``i + 1``, below everything at 0, above everything at ``TOP``; :data:`LOWEST_PLACE` and
:data:`HIGHEST_PLACE` turn codes into the least and the greatest place that what is known allows.
"""

from __future__ import annotations

from math import exp, log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shadowmesh.verdict.facts import Floats, Ints

COARSE: Final = 20
"""Bins to a coarse bin, which is a factor of 1.2 wide."""
LOG_GAMMA: Final = log(1.2) / COARSE
GAMMA: Final = exp(LOG_GAMMA)
_FIRST: Final = -1280
BINS: Final = 2300
LOST: Final = 2 * BINS
"""The code of a figure that nobody knows: below every bin or above every bin."""
FAILED: Final = LOST + 1
"""The code of a figure that there is none of, because the leg ended by itself and not well. As little known."""
CODES: Final = LOST + 2
TOP: Final = BINS + 1
"""The place above every bin."""
COARSE_PLACES: Final = BINS // COARSE + 2

Codes = NDArray[np.int64]
Places = NDArray[np.int64] | NDArray[np.int16]

_bins = np.arange(1, BINS + 1, dtype=np.int16)
LOWEST_PLACE: Final[Places] = np.concatenate([_bins, _bins, np.zeros(2, np.int16)])
HIGHEST_PLACE: Final[Places] = np.concatenate([_bins, np.full(BINS + 2, TOP, np.int16)])

MIDDLES: Final[Floats] = np.exp((_FIRST + np.arange(BINS) + 0.5) * LOG_GAMMA)
"""The duration in the middle of each bin."""

_COARSE: Final = np.concatenate([[0], (_bins - 1) // COARSE + 1, [COARSE_PLACES - 1]]).astype(np.int64)
# Well inside the first bin and the last one: what lies beyond is taken for these.
_SHORTEST, _LONGEST = (exp((_FIRST + at) * LOG_GAMMA) for at in (0.5, BINS - 0.5))


def bins_of(seconds: Floats) -> Codes:
    """Return the bin of each duration; what is not positive is in the first, and NaN too."""
    places = np.fmax(seconds, _SHORTEST)
    np.minimum(places, _LONGEST, out=places)
    np.log(places, out=places)
    places /= LOG_GAMMA
    np.floor(places, out=places)
    places -= _FIRST
    return places.astype(np.int64)


def at_least(bins: Codes) -> Codes:
    """Return the codes of figures that are at least in these bins."""
    return bins + BINS


def seconds_at(place: float) -> float:
    """Return the duration at the lower edge of a place; 0 below every bin, infinity above."""
    if place <= 0:
        return 0.0
    return float("inf") if place >= TOP else exp((place - 1 + _FIRST) * LOG_GAMMA)


def place_of(seconds: float) -> int:
    """Return the place of one duration."""
    return int(bins_of(np.array([seconds]))[0]) + 1


def coarse(places: Places) -> Ints:
    """Return the coarse places: 0 and the last are below and above everything, as with the fine ones."""
    return _COARSE[places]


LOWEST_COARSE: Final[Ints] = coarse(LOWEST_PLACE)
HIGHEST_COARSE: Final[Ints] = coarse(HIGHEST_PLACE)
"""The coarse places of :data:`LOWEST_PLACE` and :data:`HIGHEST_PLACE`, by code."""


def shift(ratio: float, *, upwards: bool) -> int:
    """
    Return a ratio as a number of bins; where it is no whole number, the one below it or above it.

    Showing "below ``ratio``" at the number below it, and "above" at the one above it, shows at least what was asked.
    """
    exact = log(ratio) / LOG_GAMMA
    nearest = round(exact)
    if abs(exact - nearest) < 1e-6:
        return nearest
    return int(np.ceil(exact) if upwards else np.floor(exact))
