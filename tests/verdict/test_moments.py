"""Sums of amounts are exact, however large the amounts are."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.verdict.moments import Moments

MOST = 1 << 40
AMOUNTS = st.one_of(st.integers(0, 1000), st.integers((1 << 28) - 5, (1 << 32) + 5), st.integers(MOST - 5, MOST))


@given(st.lists(st.tuples(AMOUNTS, AMOUNTS), max_size=50))
def test_squares_are_exact_however_large(pairs: list[tuple[int, int]]) -> None:
    moments = Moments()
    live, shadow = (np.array([pair[at] for pair in pairs], np.float64) for at in (0, 1))
    moments.add(live, shadow)
    assert (moments.live, moments.shadow) == (sum(one for one, _ in pairs), sum(other for _, other in pairs))
    assert moments.squares == sum((other - one) ** 2 for one, other in pairs)


@pytest.mark.parametrize("amount", [(1 << 22) - 1, 1 << 22, 1 << 23, MOST])
def test_squares_of_many_are_exact(amount: int) -> None:
    count = (1 << 18) + 1
    moments = Moments()
    moments.add(np.zeros(count), np.full(count, float(amount)))
    assert moments.squares == count * amount**2


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("amount", [nan, inf, -inf, -1.0])
def test_what_no_amount_can_be_is_unknown(amount: float, side: int) -> None:
    moments = Moments()
    legs = [np.array([1.0, 2.0]), np.array([3.0, 5.0])]
    legs[side][0] = amount
    moments.add(legs[0], legs[1])
    assert (moments.pairs, moments.unknown, moments.live, moments.shadow) == (1, 1, 2, 5)
