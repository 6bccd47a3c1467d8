"""A crossing is found where asking everywhere finds it, in few askings."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.verdict.facts import Ints, Mask
from shadowmesh.verdict.search import first_where, last_reached


@given(st.integers(-3000, 3000), st.integers(0, 5000), st.integers(0, 5001), st.integers(1, 80))
def test_the_first_number_at_which_a_test_holds_is_found(low: int, length: int, first: int, at_once: int) -> None:
    asked = []

    def holds(numbers: Ints) -> Mask:
        asked.extend(numbers.tolist())
        return numbers >= low + first

    assert first_where(holds, low, low + length, at_once=at_once) == low + min(first, length)
    assert all(low <= number < low + length for number in asked)


@given(st.integers(0, 9999), st.sampled_from(["parabola", "line", "cliff", "steps"]), st.integers(-500, 12_000),
       st.floats(1e-9, 10.0))  # fmt: skip
def test_the_last_place_that_reaches_a_threshold_is_found_whatever_the_guess(
    last: int, shape: str, guess: int, fall: float
) -> None:
    def evidence(place: int) -> float:
        beyond = last - place
        curves = {
            "parabola": 4.0 + 1e-3 * beyond * abs(beyond),
            "line": 4.0 + 0.1 * beyond,
            "cliff": 400.0 if beyond >= 0 else -1.0,
            "steps": 4.0 + 0.1 * (beyond // 50 * 50),
        }
        return curves[shape]

    found = last_reached(evidence, 4.0, 10_000, guess=guess, fall=fall)
    assert evidence(found) >= 4.0
    assert found == 9999 or evidence(found + 1) < 4.0
    assert found <= last


@pytest.mark.parametrize("pairs", [100, 10_000, 1_000_000])
def test_evidence_that_is_as_if_normal_is_asked_few_times(pairs: int) -> None:
    asked = 0

    def evidence(place: int) -> float:
        nonlocal asked
        asked += 1
        return float(pairs * (0.7 - place / 262_144) ** 2 - 0.5 * log(pairs))

    found = last_reached(evidence, 4.0, 262_144, guess=int(0.6 * 262_144), fall=np.sqrt(pairs) / 262_144)
    assert evidence(found) >= 4.0 > evidence(found + 1)
    assert asked < 12
