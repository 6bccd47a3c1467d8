"""A target's first pairs are left out by the clock and by their number, and never by what became of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shadowmesh.policy.warm_up import WarmUp, WarmUpSettings

SECOND = 1_000_000_000


def warm_up(**settings: Any) -> WarmUp:
    return WarmUp(WarmUpSettings.model_validate(settings))


def test_it_lasts_so_long_from_the_first_call_that_was_sent() -> None:
    it = warm_up(time="10s")
    moments = [5 * SECOND, 6 * SECOND, 15 * SECOND - 1, 15 * SECOND, 99 * SECOND]
    assert [it.lasts(moment, sent=True) for moment in moments] == [True, True, True, False, False]


def test_it_lasts_so_many_calls() -> None:
    it = warm_up(calls=3)
    assert [it.lasts(0, sent=True) for _ in range(5)] == [True, True, True, False, False]


def test_with_both_it_lasts_until_both_have_passed() -> None:
    long, many = warm_up(time=10, calls=1), warm_up(time=1, calls=3)
    assert [long.lasts(each * SECOND, sent=True) for each in (0, 9, 10)] == [True, True, False]
    assert [many.lasts(each * SECOND, sent=True) for each in (0, 9, 10, 11)] == [True, True, True, False]


def test_what_is_shed_warms_nobody_and_is_left_out_as_long_as_the_rest() -> None:
    it = warm_up(time=10, calls=1)
    assert [it.lasts(each * SECOND, sent=False) for each in (0, 100)] == [True, True]
    assert it.lasts(200 * SECOND, sent=True)
    assert [it.lasts(each * SECOND, sent=False) for each in (209, 210)] == [True, False]


def test_once_over_it_does_not_begin_again() -> None:
    it = warm_up(time=1)
    assert [it.lasts(each * SECOND, sent=True) for each in (5, 7)] == [True, False]
    assert not it.lasts(5 * SECOND, sent=True), "frames of several threads come in nearly their order"


@given(st.lists(st.tuples(st.integers(0, 10**12), st.booleans())))
def test_without_a_rule_nothing_is_left_out(calls: list[tuple[int, bool]]) -> None:
    it = WarmUp(None)
    assert not any(it.lasts(at_ns, sent=sent) for at_ns, sent in calls)


@pytest.mark.parametrize("settings", [{}, {"time": 0}, {"calls": 0}, {"calls": -1}, {"time": "1"}, {"seconds": 3}])
def test_a_rule_that_says_nothing_is_refused(settings: dict[str, Any]) -> None:
    if settings == {"time": "1"}:
        settings = {"time": "one"}
    with pytest.raises(ValidationError):
        WarmUpSettings.model_validate(settings)
