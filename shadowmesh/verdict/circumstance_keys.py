"""
What a ledger counts of the circumstances under which pairs were compared: names of tallies, keys and sums.

None of it decides anything; ``circumstances`` reads it, and ``caveats`` says where it makes a difference. So its bins
are cheap ones, the leading bits of a float: an exponent, and a part of the way to the next one. A lag is known to 3 per
cent, how many calls are in flight to an eighth, and what is alone is 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Final, NamedTuple, TypeVar

import numpy as np

from shadowmesh.verdict import bins
from shadowmesh.verdict.bins import Codes
from shadowmesh.verdict.blocks import PLACE_BITS
from shadowmesh.verdict.facts import NO_PROMPT, Floats, Ints, Mask, PairColumns

PROMPTS: Final = "prompts"
LAG: Final = "lag"
ANSWER: Final = "answer"
SUMS: Final = "circumstances"
SIDES: Final = ("live", "shadow")
LAGS: Final = 0x7FF << 5
"""Bins of lags."""
LOADS: Final = 17 << 3
"""Bins of calls in flight: eight from one power of 2 to the next, up to 131 072."""
_MANTISSA: Final = 52
_ONE: Final = 0x3FF << 3
# So that sums of a batch are exact in floats.
_MOST: Final = 2.0**32


class Sum(IntEnum):
    """What is summed, by its key in the tally :data:`SUMS`; stored in ledgers."""

    PAIRS = 0
    CACHED_LIVE = 1
    CACHED_SHADOW = 2
    INPUT_LIVE = 3
    INPUT_SHADOW = 4


_KEYS: Final[Ints] = np.array(list(Sum), np.int64)

Values = TypeVar("Values", Ints, Floats)
LatencyCodes = tuple[Mask, Codes, Codes]
"""Which pairs say something of a measure, and of those the codes of live and shadow."""


class Counted(NamedTuple):
    """What is to be added to a tally: sums by key, 1 for each key without."""

    name: str
    keys: Ints
    sums: Ints | None = None


def load(side: str) -> str:
    """Return the tally of durations of a side's legs by how many calls were in flight beside them."""
    return f"load.{side}.duration"


def calls_at(load: int) -> float:
    """Return how many calls in flight are in a bin: those in its middle, and in the first one 1."""
    doublings, eighths = divmod(load, 8)
    return float((1 << doublings) * (1 + (eighths + 0.5) / 8)) if load else 1.0


def seconds_of(lag: int) -> float:
    """Return the lag in the middle of a bin."""
    ends = np.array([lag, lag + 1], np.int64) << (_MANTISSA - 5)
    return float(ends.view(np.float64).mean())


def counted(columns: PairColumns, compared: Mask, codes: Mapping[str, LatencyCodes]) -> Iterator[Counted]:
    """
    Yield what is to be counted of pairs that are evidence.

    Args:
        compared: which of them have two known ends.
        codes: of their latencies, by measure.
    """
    if columns.prompt is not None:
        yield Counted(PROMPTS, _picked(columns.prompt, _those(compared & (columns.prompt != NO_PROMPT))))
    durations = _of_all(codes["duration"], len(columns))
    yield from _loads(columns, compared, durations)
    yield from _lags(columns, compared, durations[0], codes["first_chunk"])
    yield from _cached(columns, compared)


def _loads(columns: PairColumns, compared: Mask, durations: tuple[Codes, Codes]) -> Iterator[Counted]:
    in_flight = columns.live.in_flight, columns.shadow.in_flight
    # What is unknown is neither.
    loaded = compared & (in_flight[0] >= 1.0) & (in_flight[1] >= 1.0)
    if not loaded.any():
        return
    measured = _those(loaded & (durations[0] < bins.BINS) & (durations[1] < bins.BINS))
    for side, calls, code in zip(SIDES, in_flight, durations, strict=True):
        keys = _leading_bits(_picked(calls, measured), 3) - _ONE
        np.minimum(keys, LOADS - 1, out=keys)
        keys <<= PLACE_BITS
        keys |= bins.LOWEST_COARSE[_picked(code, measured)]
        yield Counted(load(side), keys)


def _lags(columns: PairColumns, compared: Mask, durations: Codes, chunks: LatencyCodes) -> Iterator[Counted]:
    lagged = compared & (columns.lag >= 0.0) & (columns.lag < np.inf)
    if not lagged.any():
        return
    streams, answer, _ = chunks
    if len(answer) < len(columns):
        answer = durations.copy()
        answer[streams] = chunks[1]
    known = _those(lagged & (answer < bins.BINS))
    # Adding 0 takes the sign off a zero.
    yield Counted(LAG, _leading_bits(_picked(columns.lag, known) + 0.0, 5))
    yield Counted(ANSWER, _picked(answer, known))


def _cached(columns: PairColumns, compared: Mask) -> Iterator[Counted]:
    live, shadow = columns.live, columns.shadow
    figures = (live.cached_tokens, shadow.cached_tokens, live.input_tokens, shadow.input_tokens)
    # Of tokens, none is negative, and what is unknown makes the sum neither.
    total = figures[0] + figures[1] + figures[2] + figures[3]
    said = compared & (total >= 0.0) & (total < _MOST)
    if not said.any():
        return
    those = _those(said)
    sums = [said.sum(), *(_picked(each, those).sum() for each in figures)]
    yield Counted(SUMS, _KEYS, np.array(sums, np.float64).astype(np.int64))


def _leading_bits(values: Floats, bits: int) -> Ints:
    """Return exponent and leading bits of the mantissa of what is neither negative nor unknown."""
    found: Ints = values.view(np.int64) >> (_MANTISSA - bits)
    return found


def _of_all(codes: LatencyCodes, pairs: int) -> tuple[Codes, Codes]:
    """Return the codes of all pairs, those of which nothing is asked as lost."""
    asked, *both = codes
    if len(both[0]) == pairs:
        return both[0], both[1]
    live, shadow = np.full(pairs, bins.LOST), np.full(pairs, bins.LOST)
    live[asked], shadow[asked] = both
    return live, shadow


def _those(picked: Mask) -> Mask | None:
    """Return a mask; ``None`` where it picks all."""
    return None if picked.all() else picked


def _picked(values: Values, picked: Mask | None) -> Values:
    return values if picked is None else values[picked]
