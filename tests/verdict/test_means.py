"""Errors, similarity and preferences: the evidence of arrays is that of the counts, and what is missing never helps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.columns import a_batch, drawn, ledger_of

from shadowmesh.evidence import MeanEvidence, Side, mean_interval
from shadowmesh.verdict import bets, grid, legs, means
from shadowmesh.verdict.deciding import Levels, Question
from shadowmesh.verdict.facts import Ints, PairColumns, State
from shadowmesh.verdict.settings import ErrorSettings, SimilaritySettings

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
    settings = ErrorSettings(margin=margin)
    before, after = errors_of(columns, settings), errors_of(worse, settings)
    assert after.passing.log <= before.passing.log + 1e-9
    assert after.failing.log >= before.failing.log - 1e-9


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_similarity_lies_between_its_step_and_the_one_above(one: float, other: float) -> None:
    steps = grid.steps(np.array([one, other]))
    for share, step in zip((one, other), steps, strict=True):
        assert step / grid.STEPS <= share + 1e-9
        assert share <= grid.above(np.array([step]))[0] / grid.STEPS + 1e-9


def test_a_perfect_similarity_is_perfect() -> None:
    columns = drawn(2000, similarity=0.9)
    assert columns.texts is not None
    columns.texts.similarity[:] = 1.0
    question = means.similarity(ledger_of(columns), SimilaritySettings(mode="absolute"), LEVELS)
    assert question.estimate == 1.0
    assert question.interval is not None
    assert question.interval[1] == 1.0


@pytest.mark.parametrize(
    ("similarity", "passes", "fails"), [(0.7, True, False), (0.665, False, False), (0.6, False, True)]
)
def test_similarity_is_held_against_its_share_of_the_floor(similarity: float, passes: bool, fails: bool) -> None:
    ledger = ledger_of(drawn(5000, similarity=similarity, floor=0.7))
    question = means.similarity(ledger, SimilaritySettings(), LEVELS)
    assert (question.passing.log > 3) is passes
    assert (question.failing.log > 3) is fails
    assert question.interval is not None
    assert question.interval[0] < similarity < question.interval[1]


def test_the_mean_of_outputs_varies_between_minutes_as_they_do() -> None:
    columns = drawn(12_000, similarity=0.7, floor=0.7)
    assert columns.texts is not None
    even = means.similarity(ledger_of(columns), SimilaritySettings(), LEVELS)
    minute = columns.dispatched_ns // 60_000_000_000
    columns.texts.similarity[minute % 7 == 0] = 0.4
    uneven = means.similarity(ledger_of(columns), SimilaritySettings(), LEVELS)
    assert even.factor < 2
    assert uneven.factor > 10
