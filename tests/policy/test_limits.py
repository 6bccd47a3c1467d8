"""Tokens: never more out than there are, never more in than there were. Rates: never more in any stretch of time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.policy.limits import PAGE_BYTES, RateLimit, Tokens, pages


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


SECOND = 1_000_000_000
MONDAY = 10**17


def test_after_a_pause_the_burst_passes_at_once_and_then_the_rate() -> None:
    limit = RateLimit(10, burst=3)
    assert [limit.take(MONDAY) for _ in range(4)] == [True, True, True, False]
    assert not limit.take(MONDAY + SECOND // 10 - 1)
    assert limit.take(MONDAY + SECOND // 10)
    assert [limit.take(MONDAY + SECOND // 5), limit.take(MONDAY + SECOND // 5)] == [True, False]


def test_what_is_refused_costs_nothing() -> None:
    limit = RateLimit(1, burst=1)
    assert limit.take(MONDAY)
    assert not any(limit.take(MONDAY + tenth * SECOND // 10) for tenth in range(10))
    assert limit.take(MONDAY + SECOND)


def test_a_pause_saves_up_no_more_than_the_burst() -> None:
    limit = RateLimit(5, burst=2)
    limit.take(0)
    assert sum(limit.take(MONDAY) for _ in range(100)) == 2


@pytest.mark.parametrize(("per_second", "passing"), [(0.1, 1), (1, 1), (1.5, 2), (20, 20)])
def test_by_default_what_passes_in_a_second_may_pass_at_once(per_second: float, passing: int) -> None:
    limit = RateLimit(per_second)
    assert sum(limit.take(MONDAY) for _ in range(100)) == passing


def test_a_clock_that_another_thread_has_read_later_never_lets_more_through() -> None:
    limit = RateLimit(10, burst=3)
    assert limit.take(MONDAY + 5)
    assert limit.take(MONDAY)
    assert not limit.take(MONDAY), "five nanoseconds too early"
    assert limit.take(MONDAY + 5)
    assert not limit.take(MONDAY + 5)


@given(
    st.floats(0.5, 1000),
    st.integers(1, 20),
    st.lists(st.integers(0, 2 * SECOND), min_size=1, max_size=60),
)
def test_in_no_stretch_of_time_do_more_calls_pass_than_the_rate_and_the_burst_allow(
    per_second: float, burst: int, pauses: list[int]
) -> None:
    limit = RateLimit(per_second, burst)
    passed = [now for now in accumulate(pauses, initial=MONDAY) if limit.take(now)]
    for first, start in enumerate(passed):
        for last, end in enumerate(passed[first:], first):
            assert last - first + 1 <= (end - start) / SECOND * per_second + burst + 1e-6


@given(st.floats(0.5, 1000), st.integers(1, 20))
def test_under_steady_demand_the_rate_passes_and_not_a_call_less(per_second: float, burst: int) -> None:
    limit = RateLimit(per_second, burst)
    step = -(-SECOND // per_second)
    now, passed = MONDAY, 0
    for _ in range(200):
        while limit.take(now):
            passed += 1
        now += int(step)
    assert passed == burst + 199


def test_a_thread_that_finds_another_one_deciding_is_refused_and_waits_for_nobody() -> None:
    limit = RateLimit(1, burst=5)
    held = limit._due.pop()
    assert not limit.take(MONDAY)
    limit._due.append(held)
    assert limit.take(MONDAY)


def test_threads_together_pass_exactly_what_one_would() -> None:
    threads, burst = 8, 500
    limit = RateLimit(1, burst)
    start = Barrier(threads)

    def work(_: int) -> int:
        start.wait()
        return sum(limit.take(MONDAY) for _ in range(2_000))

    with ThreadPoolExecutor(threads) as pool:
        assert sum(pool.map(work, range(threads))) == burst
    assert not limit.take(MONDAY)
    assert limit.take(MONDAY + SECOND), "nobody has kept the number"
