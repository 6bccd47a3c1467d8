"""One shadow per logical call, whoever tries it again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shadowmesh.model import Metadata
from shadowmesh.policy.retries import Attempts, RetrySettings

METHOD = "/acme.Model/Generate"
SECOND = 1_000_000_000


def attempts(*keys: str, **settings: Any) -> Attempts:
    return Attempts(RetrySettings(keys=keys or ("idempotency-key", "x-request-id"), **settings))


def bearing(**values: str) -> Metadata:
    return (("te", "trailers"), *((key.replace("_", "-"), value) for key, value in values.items()))


def test_by_default_every_attempt_is_a_call_and_nothing_is_remembered() -> None:
    none = Attempts(RetrySettings())
    assert [none.first(METHOD, bearing(idempotency_key="k"), 0) for _ in range(3)] == [True] * 3
    assert len(none) == 0


def test_the_first_attempt_is_the_call_and_others_with_its_key_are_not() -> None:
    seen = attempts()
    assert [seen.first(METHOD, bearing(idempotency_key="k"), now) for now in range(3)] == [True, False, False]
    assert seen.first(METHOD, bearing(idempotency_key="other"), 3)


def test_a_call_without_a_key_or_with_an_empty_one_is_its_own_first_attempt() -> None:
    seen = attempts()
    for metadata in ((), bearing(x_other="1"), bearing(idempotency_key="", x_request_id="")):
        assert [seen.first(METHOD, metadata, 0) for _ in range(2)] == [True, True]
    assert len(seen) == 0


def test_of_several_keys_the_first_configured_one_decides_wherever_it_stands() -> None:
    seen = attempts()
    assert seen.first(METHOD, bearing(x_request_id="r1", idempotency_key="k"), 0)
    assert not seen.first(METHOD, bearing(idempotency_key="k", x_request_id="r2"), 0)
    assert seen.first(METHOD, bearing(idempotency_key="k2", x_request_id="r1"), 0)
    assert seen.first(METHOD, bearing(x_request_id="r1"), 0), "the call was remembered by its other key"
    assert not seen.first(METHOD, bearing(idempotency_key="", x_request_id="r1"), 0)


def test_one_value_under_two_keys_or_at_two_methods_is_two_calls() -> None:
    seen = attempts()
    assert seen.first(METHOD, bearing(idempotency_key="1"), 0)
    assert seen.first(METHOD, bearing(x_request_id="1"), 0)
    assert seen.first("/acme.Model/Embed", bearing(idempotency_key="1"), 0)


def test_binary_keys_and_keys_of_any_case_will_do() -> None:
    seen = attempts("Request-Id-Bin")
    assert [seen.first(METHOD, (("request-id-bin", b"\x00\xff"),), 0) for _ in range(2)] == [True, False]


def test_after_the_window_the_same_key_is_another_call() -> None:
    seen = attempts(window=10.0)
    metadata = bearing(idempotency_key="k")
    assert seen.first(METHOD, metadata, SECOND)
    assert not seen.first(METHOD, metadata, 11 * SECOND - 1)
    assert seen.first(METHOD, metadata, 11 * SECOND)
    assert not seen.first(METHOD, metadata, 12 * SECOND)
    assert seen.crowded == 0


def test_what_is_over_is_forgotten_as_other_calls_come() -> None:
    seen = attempts(window=1.0)
    for number in range(1000):
        seen.first(METHOD, bearing(idempotency_key=str(number)), number * SECOND // 10)
    assert len(seen) <= 12
    assert seen.crowded == 0


def test_a_call_whose_time_is_over_before_it_is_cleared_away_is_remembered_anew() -> None:
    seen = attempts(window=1.0)
    for number in range(10):
        seen.first(METHOD, bearing(idempotency_key=str(number)), 0)
    last = bearing(idempotency_key="9")
    assert [seen.first(METHOD, last, 2 * SECOND), seen.first(METHOD, last, 2 * SECOND)] == [True, False]
    for number in range(100, 120):
        seen.first(METHOD, bearing(idempotency_key=str(number)), 2 * SECOND)
    assert not seen.first(METHOD, last, 2 * SECOND), "clearing away the old entry has not taken the new one along"


def test_beyond_its_capacity_the_oldest_are_forgotten_early_and_counted() -> None:
    seen = attempts(capacity=100)
    for number in range(1000):
        assert seen.first(METHOD, bearing(idempotency_key=str(number)), number)
        assert len(seen) <= 100
    assert seen.crowded == 900
    assert not seen.first(METHOD, bearing(idempotency_key="999"), 1000)
    assert seen.first(METHOD, bearing(idempotency_key="0"), 1000)


def test_of_attempts_that_arrive_together_in_many_threads_one_is_first() -> None:
    threads, calls = 8, 500
    seen = attempts()
    start = Barrier(threads)

    def work(_: int) -> int:
        start.wait()
        return sum(seen.first(METHOD, bearing(idempotency_key=str(number)), 0) for number in range(calls))

    with ThreadPoolExecutor(threads) as pool:
        assert sum(pool.map(work, range(threads))) == calls


def test_threads_that_bring_other_calls_all_the_time_never_exceed_the_capacity_by_more_than_themselves() -> None:
    threads = 8
    seen = attempts(capacity=50)

    def work(thread: int) -> None:
        for number in range(2_000):
            assert seen.first(METHOD, bearing(idempotency_key=f"{thread}/{number}"), number)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    assert len(seen) == len(seen._order) <= 50 + threads


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2 * SECOND)), max_size=60))
def test_within_its_window_a_call_is_mirrored_once_whatever_comes_when(steps: list[tuple[int, int]]) -> None:
    seen = attempts(window=3.0)
    now, began = 0, dict[int, int]()
    for call, pause in steps:
        now += pause
        first = seen.first(METHOD, bearing(idempotency_key=str(call)), now)
        assert first is (call not in began or now - began[call] >= 3 * SECOND)
        if first:
            began[call] = now


@pytest.mark.parametrize(
    "wrong", [{"keys": ["authorization"]}, {"keys": ["x-*"]}, {"capacity": 0}, {"window": 0}, {"key": ["x-request-id"]}]
)
def test_a_credential_a_pattern_and_a_memory_of_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RetrySettings.model_validate(wrong)
