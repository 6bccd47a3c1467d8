"""How many different prompts there were is known to some per cent, from a few bits of each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.columns import drawn, ledger_of, of_prompts

from shadowmesh.model import PROMPT_BUCKETS, PROMPT_PLACES, PROMPT_RANKS
from shadowmesh.verdict.circumstances import circumstances
from shadowmesh.verdict.facts import NO_PROMPT
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.prompts import ERROR, distinct

ROUNDS = 100


def buckets(prompts: int, *, of: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the buckets of so many prompts, of which other numbers are other ones."""
    return of_prompts(np.arange(of * 10_000_000, of * 10_000_000 + prompts))


@pytest.mark.parametrize("prompts", [1, 2, 10, 100, 1000, 10_000, 100_000])
def test_the_estimate_is_right_on_average_and_as_far_off_as_is_said(prompts: int) -> None:
    found = np.array([distinct(buckets(prompts, of=each)) / prompts for each in range(ROUNDS)])
    assert found.mean() == pytest.approx(1.0, abs=4 * ERROR / ROUNDS**0.5)
    assert found.std() < 1.3 * ERROR


def test_a_million_prompts_are_known_as_well() -> None:
    assert distinct(buckets(1_000_000, of=1)) == pytest.approx(1_000_000, rel=4 * ERROR)


def test_the_error_is_that_of_the_fisher_information() -> None:
    assert pytest.approx(0.0287, abs=1e-4) == ERROR


def test_without_any_there_are_none() -> None:
    assert distinct(np.empty(0, np.int64)) == 0.0


@given(st.lists(st.integers(0, 50), min_size=1, max_size=200))
def test_neither_how_often_nor_in_which_order_a_prompt_came_makes_a_difference(numbers: list[int]) -> None:
    seen = of_prompts(np.array(numbers))
    once = of_prompts(np.array(sorted(set(numbers))))
    assert distinct(seen) == distinct(once)


@given(st.sets(st.integers(0, PROMPT_BUCKETS - 1), min_size=1))
def test_whatever_buckets_there_are_the_estimate_is_a_number(seen: set[int]) -> None:
    assert 0 < distinct(np.array(sorted(seen))) < 2.0**46


def test_even_if_every_bucket_was_seen() -> None:
    assert distinct(np.arange(PROMPT_BUCKETS)) > 1e12
    assert PROMPT_PLACES * PROMPT_RANKS == PROMPT_BUCKETS


def test_prompts_of_several_ledgers_are_counted_once() -> None:
    columns = replace(drawn(3000), prompt=of_prompts(np.arange(3000) % 1000))
    parts = [ledger_of(columns.where(np.arange(3000) % 3 == part)) for part in range(3)]
    merged = Ledger()
    for part in parts:
        merged.merge(Ledger.from_bytes(part.to_bytes()))
    assert merged.to_bytes() == ledger_of(columns).to_bytes()
    prompts = circumstances(merged).prompts
    assert prompts is not None
    assert prompts.pairs == 3000
    assert prompts.distinct == pytest.approx(1000, rel=4 * ERROR)


def test_pairs_whose_prompt_nobody_read_are_none_of_them() -> None:
    columns = drawn(1000)
    assert columns.prompt is not None
    columns = replace(columns, prompt=np.where(np.arange(1000) < 400, columns.prompt, NO_PROMPT))
    prompts = circumstances(ledger_of(columns)).prompts
    assert prompts is not None
    assert (prompts.pairs, prompts.distinct <= 400) == (400, True)
    assert circumstances(ledger_of(replace(columns, prompt=None))).prompts is None
