"""Few keys that make up most of the calls are found, in bounded memory."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.policy.skew import Skew

KEPT = 255


def feed(skew: Skew, keys: list[int], at_once: int = 1000) -> None:
    for start in range(0, len(keys), at_once):
        for key in keys[start : start + at_once]:
            skew.note(key)
        skew.fold()


def test_of_few_calls_nothing_is_said() -> None:
    skew = Skew()
    skew.fold()
    assert skew.share() is None
    feed(skew, [1] * 499)
    assert skew.share() is None
    feed(skew, [1])
    assert skew.share() == 1.0


def test_one_key_behind_a_third_of_the_calls_shows_among_thousands_that_come_once() -> None:
    skew = Skew()
    feed(skew, [7 if number % 3 == 0 else 1000 + number for number in range(30_000)])
    share = skew.share()
    assert share is not None
    assert 1 / 3 - 1 / (KEPT + 1) <= share <= 1 / 3


def test_several_keys_together_make_up_their_shares_together() -> None:
    skew = Skew()
    feed(skew, [number % 4 for number in range(4_000)])
    assert [skew.share(keys) for keys in (1, 2, 4, 9)] == [0.25, 0.5, 1.0, 1.0]


def test_keys_that_all_come_equally_often_have_no_share_worth_a_word() -> None:
    skew = Skew()
    feed(skew, [number * 7919 % 20_011 for number in range(60_000)])
    share = skew.share()
    assert share is not None
    assert share < 0.01


def test_what_dominated_long_ago_fades() -> None:
    skew = Skew()
    feed(skew, [7] * 20_000)
    feed(skew, [1000 + number for number in range(200_000)])
    share = skew.share()
    assert share is not None
    assert share < 0.1


def test_neither_what_waits_nor_what_is_known_grows_without_end() -> None:
    skew = Skew()
    for number in range(50_000):
        skew.note(number)
    assert len(skew._waiting) <= 2048
    feed(skew, list(range(50_000)))
    assert len(skew._counts) <= KEPT
    assert not skew._waiting


@given(st.integers(0, 1 << 32), st.floats(0.3, 3), st.integers(1, 5))
def test_a_share_is_never_too_high_and_too_low_by_one_in_the_number_of_keys_kept_at_most(
    seed: int, shape: float, top: int
) -> None:
    chance = Random(seed)
    keys = [int(chance.paretovariate(shape)) % 2000 for _ in range(2000)]
    skew = Skew()
    feed(skew, keys, at_once=300)
    share = skew.share(top)
    true = sum(count for _, count in Counter(keys).most_common(top)) / len(keys)
    assert share is not None
    assert true - top / (KEPT + 1) - 1e-9 <= share <= true + 1e-9


@pytest.mark.parametrize("top", [0, 1])
def test_without_calls_there_is_no_share(top: int) -> None:
    assert Skew().share(top) is None
