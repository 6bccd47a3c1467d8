"""One place per exchange and experiment: uniform, nested, stable, independent."""

from __future__ import annotations

import subprocess
import sys
from bisect import bisect_left
from functools import cache
from itertools import pairwise
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.policy.sampling import position, salt_of

MANY = 1_000_000
SALT = salt_of("summaries")


@cache
def places(experiment: str, count: int = MANY) -> list[float]:
    salt = salt_of(experiment)
    return [position(salt, number.to_bytes(8, "big")) for number in range(count)]


@pytest.mark.parametrize("rate", [0.0001, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_the_sampled_share_is_the_rate_within_five_standard_deviations(rate: float) -> None:
    sampled = sum(place < rate for place in places("summaries"))
    assert abs(sampled - MANY * rate) <= 5 * sqrt(MANY * rate * (1 - rate))


def test_every_thousandth_of_the_range_gets_its_share() -> None:
    ordered = sorted(places("summaries"))
    edges = [bisect_left(ordered, number / 1000) for number in range(1001)]
    shares = [after - before for before, after in pairwise(edges)]
    # Chi-square with 999 degrees of freedom: mean 999, deviation 45.
    assert sum((share - 1000) ** 2 / 1000 for share in shares) < 999 + 5 * 45


def test_experiments_sample_independently() -> None:
    first, second = places("summaries"), places("translations")
    both = sum(a < 0.1 and b < 0.1 for a, b in zip(first, second, strict=True))
    assert abs(both - MANY * 0.01) <= 5 * sqrt(MANY * 0.01 * 0.99)


@given(st.binary(max_size=32), st.floats(0, 1), st.floats(0, 1))
def test_whatever_a_lower_rate_takes_a_higher_rate_takes_too(key: bytes, one: float, other: float) -> None:
    place = position(SALT, key)
    assert 0.0 <= place < 1.0
    assert (place < min(one, other)) <= (place < max(one, other))


GOLDEN = {
    b"": 0.7918318843140694,
    b"shadowmesh": 0.22160083188862767,
    bytes(8): 0.3322912902536692,
    b"\xff" * 16: 0.30414865559517446,
}


def test_places_are_the_same_in_every_replica_and_release() -> None:
    assert {key: position(SALT, key) for key in GOLDEN} == GOLDEN


def test_another_process_with_another_hash_seed_gets_the_same_places() -> None:
    code = (
        "from shadowmesh.policy.sampling import position, salt_of; "
        "print([position(salt_of('summaries'), n.to_bytes(8, 'big')) for n in range(100)])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": "12345"}
    ).stdout
    assert printed.strip() == str(places("summaries")[:100])


@given(st.text(), st.text())
def test_salts_fit_the_hash_and_differ_between_experiments(one: str, other: str) -> None:
    assert len(salt_of(one)) <= 64
    assert (salt_of(one) == salt_of(other)) == (one == other)
