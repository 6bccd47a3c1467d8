"""Sums of a batch by what its pairs have in common: the same, whether keys lie close together or far apart."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.verdict.blocks import PLACE_BITS, Neighbours, summed_in_time
from shadowmesh.verdict.facts import Ints, Mask
from shadowmesh.verdict.together import Together

KEYS = st.one_of(st.integers(-1, 5), st.integers(-1, 1 << 40))
ROWS = st.lists(st.tuples(KEYS, st.integers(0, (1 << PLACE_BITS) - 1), st.integers(-3, 3), st.booleans()), max_size=40)


def columns(rows: list[tuple[int, int, int, bool]]) -> tuple[Ints, Ints, Ints, Mask]:
    keys, places, weights, picked = (np.array([row[at] for row in rows]) for at in range(4))
    return keys.astype(np.int64), places.astype(np.int64), weights.astype(np.int64), picked.astype(np.bool_)


def expected(keys: list[int], weights: list[int]) -> dict[int, int]:
    sums: Counter[int] = Counter()
    for key, weight in zip(keys, weights, strict=True):
        sums[key] += weight
    return {key: sums[key] for key in sorted(sums) if sums[key]}


def told(found: tuple[Ints, Ints]) -> dict[int, int]:
    keys, sums = found
    assert keys.dtype == sums.dtype == np.int64
    assert (np.diff(keys) > 0).all()
    return dict(zip(keys.tolist(), sums.tolist(), strict=True))


@given(ROWS)
def test_sums_are_of_each_key_what_its_weights_are(rows: list[tuple[int, int, int, bool]]) -> None:
    keys, _, weights, _ = columns(rows)
    assert told(summed_in_time(keys, None)) == expected(keys.tolist(), [1] * len(rows))
    assert told(summed_in_time(keys, weights)) == expected(keys.tolist(), weights.tolist())


@given(ROWS)
def test_of_what_was_picked_and_placed_only_that_is_summed(rows: list[tuple[int, int, int, bool]]) -> None:
    keys, places, weights, picked = columns(rows)
    some = Neighbours.of(keys).where(picked)
    placed = ((keys << PLACE_BITS) | places)[picked].tolist()
    for _ in range(2):
        assert told(some.summed(None)) == expected(keys[picked].tolist(), [1] * int(picked.sum()))
        assert told(some.summed(weights[picked])) == expected(keys[picked].tolist(), weights[picked].tolist())
        assert told(some.at(places[picked]).summed(None)) == expected(placed, [1] * len(placed))


@given(ROWS)
def test_pairs_of_no_known_session_are_in_no_bucket(rows: list[tuple[int, int, int, bool]]) -> None:
    keys, places, weights, picked = columns(rows)
    together = Together(Neighbours.of(places), Neighbours.of(keys)).where(picked)
    known = keys[picked] >= 0
    blocks, sessions = ((prefix, told((found, sums))) for prefix, found, sums in together.summed(weights[picked]))
    assert blocks == ("blocks.", expected(places[picked].tolist(), weights[picked].tolist()))
    assert sessions == ("sessions.", expected(keys[picked][known].tolist(), weights[picked][known].tolist()))
    _, (_, found, sums) = together.at(places[picked]).summed(None)
    placed = ((keys << PLACE_BITS) | places)[picked][known].tolist()
    assert told((found, sums)) == expected(placed, [1] * len(placed))
