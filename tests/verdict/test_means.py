"""Errors and preferences: the evidence of arrays is that of the counts, and what is missing never helps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.columns import a_batch, ledger_of

from shadowmesh.evidence import MeanEvidence, Side, log_threshold, mean_interval
from shadowmesh.verdict import bets, legs, means
from shadowmesh.verdict.deciding import Levels, Question
from shadowmesh.verdict.facts import Floats, Ints, PairColumns, State
from shadowmesh.verdict.settings import ErrorSettings

LEVELS = Levels(passing=0.05, failing=0.05, min_blocks=0, min_blocks_against=20, pace=1.0)
STRICT = ErrorSettings(mode="strict")
SIDES = st.sampled_from([1, -1])
COUNTS = st.lists(st.integers(0, 5000), min_size=3, max_size=3).map(lambda counts: np.array(counts, np.int64))


def errors_of(columns: PairColumns, settings: ErrorSettings = STRICT) -> Question:
    return means.errors(ledger_of(columns), settings, LEVELS)


@given(COUNTS, st.floats(-0.9, 0.9), SIDES)
def test_evidence_of_arrays_is_the_evidence(counts: Ints, null_mean: float, side: Side) -> None:
    values = (-1.0, 0.0, 1.0)
    found = bets.evidence(np.array(values), counts, null_mean, side=side).log
    expected = MeanEvidence(values, null_mean, side=side).log_evidence(counts.tolist())
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(COUNTS)
def test_the_interval_of_arrays_is_the_interval(counts: Ints) -> None:
    values = np.array([-1.0, 0.0, 1.0])
    found = bets.interval(values, counts, counts, alpha=0.05)
    assert found == pytest.approx(mean_interval(values.tolist(), counts.tolist(), alpha=0.05), abs=1e-5)


@given(COUNTS, st.sampled_from([(-1.0, 0.0, 1.0), (0.0, 0.5, 1.0), (0.0, 0.001, 1.0)]))
@settings(max_examples=200)
def test_the_ends_of_the_interval_are_those_that_halving_finds(counts: Ints, values: tuple[float, ...]) -> None:
    found = bets.interval(np.array(values), counts, counts[::-1], alpha=0.05)
    assert found == (halved(np.array(values), counts, 1), halved(np.array(values), counts[::-1], -1))


@pytest.mark.parametrize("mean", [0.02, 0.5, 0.97, 0.9999])
@pytest.mark.parametrize("pairs", [1, 7, 300, 100_000])
def test_they_are_found_for_many_values_too(mean: float, pairs: int) -> None:
    values = np.arange(1001) / 1000
    drawn = np.random.default_rng(pairs).beta(300 * mean, 300 * (1 - mean), pairs)
    counts = np.bincount(np.rint(drawn * 1000).astype(np.int64), minlength=1001)
    found = bets.interval(values, counts, counts, alpha=0.05)
    assert found == (halved(values, counts, 1), halved(values, counts, -1))


def halved(values: Floats, counts: Ints, side: Side) -> float:
    """Return an end of the interval as a bisection finds it, in so many steps as there are powers of 2 in it."""
    outer, inner = (float(values[0]), float(values[-1]))[::side]
    threshold = log_threshold(0.025)
    if bets.evidence(values, counts, outer + side * 1e-9, side=side).log < threshold:
        return outer
    for _ in range(18):
        middle = (outer + inner) / 2
        if bets.evidence(values, counts, middle, side=side).log >= threshold:
            outer = middle
        else:
            inner = middle
    return outer


@given(COUNTS)
def test_wealths_of_balances_are_the_evidence_against_a_mean_of_0(counts: Ints) -> None:
    found = float(bets.mixed(bets.balances(counts[2], counts[0])))
    expected = MeanEvidence((-1.0, 0.0, 1.0), 0.0, side=1).log_evidence(counts.tolist())
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(a_batch(60))
def test_swapping_the_arms_mirrors_the_evidence_of_errors(columns: PairColumns) -> None:
    swapped = replace(columns, live=columns.shadow, shadow=columns.live)
    ours, theirs = errors_of(columns), errors_of(swapped)
    assert ours.passing == pytest.approx(theirs.failing)
    assert ours.failing == pytest.approx(theirs.passing)


@given(a_batch(60))
def test_what_is_assumed_for_pass_is_never_fewer_errors_than_for_fail(columns: PairColumns) -> None:
    states = columns.live.state.astype(np.int64) * legs.STATES + columns.shadow.state
    most, fewest = legs.more_errors(states)
    assert (most >= fewest).all()
    assert (most == fewest)[legs.compared(states)].all()


@given(a_batch(60), st.integers(0, 1000), st.sampled_from([0.0, 0.005, 0.1]))
def test_a_finished_shadow_that_times_out_instead_never_passes_sooner(
    columns: PairColumns, seed: int, margin: float
) -> None:
    hit = (np.random.default_rng(seed).random(len(columns)) < 0.5) & (columns.shadow.state == State.OK)
    state = np.where(hit, State.TIMED_OUT, columns.shadow.state).astype(np.uint8)
    worse = replace(columns, shadow=replace(columns.shadow, state=state))
    allowed = ErrorSettings(margin=margin)
    before, after = errors_of(columns, allowed), errors_of(worse, allowed)
    assert after.passing.log <= before.passing.log + 1e-9
    assert after.failing.log >= before.failing.log - 1e-9
