"""The change detector is the recursion it says it is, finds harm soon, and seldom cries wolf."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.columns import drawn, ledger_of

from shadowmesh.evidence import SHARES
from shadowmesh.verdict.bins import place_of, seconds_at
from shadowmesh.verdict.change import ChangeDetector, error_differences, latency_differences, live_place
from shadowmesh.verdict.facts import Ints, State

DIFFERENCES = st.lists(st.sampled_from([-1, 0, 1]), max_size=60)


def differences(random: np.random.Generator, pairs: int, live: float, shadow: float) -> Ints:
    return (random.random(pairs) < shadow).astype(np.int64) - (random.random(pairs) < live)


@given(DIFFERENCES, st.sampled_from([0.0, 0.005, 0.5]))
def test_runs_are_taken_as_if_one_by_one(observed: list[int], null_mean: float) -> None:
    detector = ChangeDetector(null_mean=null_mean)
    detector.observe_all(np.array(observed, np.int64))
    values = np.zeros(len(SHARES))
    for value in observed:
        values = (values + 1) * (1 + np.array(SHARES) * (value - null_mean) / (1 + null_mean))
    assert detector.level == pytest.approx(values.mean(), rel=1e-6)


def test_equal_errors_do_not_alarm_and_more_of_them_do_soon() -> None:
    random = np.random.default_rng(1)
    detector = ChangeDetector(run_length=1e5)
    assert not detector.observe_all(differences(random, 20_000, 0.01, 0.01))
    assert detector.observe_all(differences(random, 1500, 0.01, 0.05))


def test_false_alarms_are_at_least_a_run_length_apart_on_average() -> None:
    alarms = 0
    for seed in range(40):
        detector = ChangeDetector(run_length=2000)
        alarms += detector.observe_all(differences(np.random.default_rng(seed), 1000, 0.02, 0.02))
    # In half a run length, fewer than half of the runs may alarm: 27 is the 99 % quantile of 40 such throws.
    assert alarms <= 27


def test_a_detector_goes_on_where_it_was_written_down() -> None:
    random = np.random.default_rng(1)
    one, other = ChangeDetector(), ChangeDetector()
    one.observe_all(differences(random, 500, 0.01, 0.05))
    other.restore(json.loads(json.dumps(one.state())))
    more = differences(random, 100, 0.01, 0.05)
    one.observe_all(more)
    other.observe_all(more)
    assert one.level == other.level


@pytest.mark.parametrize("state", [None, [], [1.0], ["x"] * 24, [-1.0] * 24, [float("nan")] * 24, [True] * 24])
def test_a_damaged_state_is_refused(state: object) -> None:
    with pytest.raises(ValueError, match="change detector"):
        ChangeDetector().restore(state)


def test_nothing_overflows_in_an_endless_outage() -> None:
    detector = ChangeDetector()
    for _ in range(5):
        detector.observe(1, 10**7)
    assert detector.alarmed
    detector.observe(-1, 10**6)
    assert detector.level < 1e6


@pytest.mark.parametrize("settings", [{"null_mean": 1.0}, {"null_mean": -0.1}, {"run_length": 0.0}])
def test_a_setting_out_of_range_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="run length"):
        ChangeDetector(**settings)


def test_errors_and_latencies_are_watched_in_the_order_of_dispatch() -> None:
    columns = drawn(4000, live_errors=0, shadow_errors=0)
    columns.shadow.state[columns.dispatched_ns > np.median(columns.dispatched_ns)] = State.FAILED
    shuffled = columns.where(np.random.default_rng(1).permutation(4000))
    assert error_differences(shuffled).tolist() == [0] * 2000 + [1] * 2000


def test_a_slower_shadow_is_seen_in_its_latencies() -> None:
    before = drawn(4000)
    place = live_place(ledger_of(before), "duration", 0.95)
    assert place is not None
    assert seconds_at(place) == pytest.approx(np.quantile(before.live.duration, 0.95), rel=0.02)
    equal = latency_differences(drawn(4000, seed=1), "duration", place=place, shift=20)
    slower = latency_differences(drawn(4000, seed=1, ratio=1.6), "duration", place=place, shift=20)
    assert equal.mean() < 0
    assert slower.mean() > 0.02
    assert ChangeDetector(run_length=1e5).observe_all(slower)


def test_a_leg_that_failed_says_nothing_of_how_slow_the_other_was() -> None:
    columns = drawn(2000, live_errors=0.05, shadow_errors=0.05, ratio=3.0)
    failed = (columns.live.state == State.FAILED) | (columns.shadow.state == State.FAILED)
    differences = latency_differences(columns, "duration", place=place_of(1.0), shift=20)
    assert not differences[failed].any()
    assert differences[~failed].any()


def test_what_is_not_known_well_is_not_watched() -> None:
    assert live_place(ledger_of(drawn(10)), "duration", 0.95) is None
