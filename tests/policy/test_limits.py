"""Tokens: never more out than there are, never more in than there were."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.policy.limits import PAGE_BYTES, Tokens, pages


def test_tokens_are_taken_until_there_are_none_and_work_again_when_given_back() -> None:
    tokens = Tokens(2)
    assert [tokens.take() for _ in range(3)] == [True, True, False]
    assert tokens.taken == 2
    tokens.give()
    assert tokens.take()
    assert not tokens.take()


def test_several_are_taken_all_or_none() -> None:
    tokens = Tokens(5)
    assert tokens.take(3)
    assert not tokens.take(3)
    assert tokens.taken == 3, "what was tried for is given back"
    assert tokens.take(2)
    assert tokens.take(0)


def test_giving_too_often_never_makes_more_than_there_were() -> None:
    tokens = Tokens(3)
    tokens.give(10)
    assert tokens.taken == 0
    assert tokens.take(3)
    assert not tokens.take()


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.sampled_from(["take", "give"]), st.integers(0, 25)), max_size=50),
)
def test_any_sequence_behaves_as_a_bounded_count(capacity: int, steps: list[tuple[str, int]]) -> None:
    tokens, taken = Tokens(capacity), 0
    for step, count in steps:
        if step == "take":
            fits = taken + count <= capacity
            assert tokens.take(count) is fits
            taken += count if fits else 0
        else:
            tokens.give(count)
            taken = max(taken - count, 0)
        assert tokens.taken == taken


def test_threads_never_hold_more_than_the_capacity_together_and_end_with_none_lost() -> None:
    capacity, threads = 7, 8
    tokens = Tokens(capacity)
    start = Barrier(threads)

    def work(seed: int) -> tuple[int, int]:
        start.wait()
        most, refused = 0, 0
        for turn in range(5_000):
            count = 1 + (seed + turn) % 3
            if tokens.take(count):
                most = max(most, tokens.taken)
                tokens.give(count)
            else:
                refused += 1
        return most, refused

    with ThreadPoolExecutor(threads) as pool:
        seen = list(pool.map(work, range(threads)))
    assert max(most for most, _ in seen) <= capacity
    assert tokens.taken == 0
    assert tokens.take(capacity), "none was lost"
    assert not tokens.take(), "and none was made"


@pytest.mark.parametrize(
    ("size", "held"),
    [(0, 1), (1, 1), (PAGE_BYTES, 1), (PAGE_BYTES + 1, 2), (10 * PAGE_BYTES, 10), (10 * PAGE_BYTES + 1, 11)],
)
def test_bytes_hold_whole_pages_and_at_least_one(size: int, held: int) -> None:
    assert pages(size) == held
