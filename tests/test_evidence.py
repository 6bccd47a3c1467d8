"""The evidence is what verdict.md b1 says, cannot be fooled by looking often, and merges by addition."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.evidence import MeanEvidence, Side, log_threshold, mean_interval

COUNTS = st.lists(st.integers(0, 10_000), min_size=3, max_size=3)
SIDES = st.sampled_from([1, -1])
WIN_TIE_LOSS = (1.0, 0.5, 0.0)


def reference(values: list[float], null: float, side: int, counts: list[int]) -> float:
    """The fifteen lines of verdict.md b1."""
    gains = [side * (value - null) for value in values]
    largest, ratio = 1 / -min(gains), (0.95 / 0.004) ** (1 / 23)
    table = [[math.log1p(largest * 0.004 * ratio**bet * gain) for gain in gains] for bet in range(24)]
    sums = [sum(count * factor for count, factor in zip(counts, row, strict=True)) for row in table]
    most = max(sums)
    return most + math.log(sum(math.exp(each - most) for each in sums) / len(sums))


@given(COUNTS, st.floats(0.01, 0.99), SIDES)
def test_the_evidence_is_that_of_the_specification(counts: list[int], null: float, side: Side) -> None:
    found = MeanEvidence(WIN_TIE_LOSS, null, side=side).log_evidence(counts)
    assert found == pytest.approx(reference(list(WIN_TIE_LOSS), null, side, counts), rel=1e-9, abs=1e-9)


def test_no_observations_are_no_evidence() -> None:
    assert MeanEvidence(WIN_TIE_LOSS, 0.5, side=1).log_evidence([0, 0, 0]) == pytest.approx(0.0, abs=1e-12)


def test_one_observation_multiplies_the_stake_by_the_mean_bet() -> None:
    ratio = (0.95 / 0.004) ** (1 / 23)
    mean_share = 0.004 * (ratio**24 - 1) / (ratio - 1) / 24
    evidence = MeanEvidence((1.0, 0.0), 0.5, side=1)
    assert evidence.log_evidence([1, 0]) == pytest.approx(math.log(1 + mean_share))
    assert evidence.log_evidence([0, 1]) == pytest.approx(math.log(1 - mean_share))


def test_a_billion_observations_neither_overflow_nor_say_anything_but_a_number() -> None:
    evidence = MeanEvidence((1.0, 0.0, -1.0), 0.0, side=1)
    assert 1e8 < evidence.log_evidence([10**9, 0, 0]) < math.inf
    assert -1e8 < evidence.log_evidence([0, 0, 10**9]) < 0


@given(st.lists(st.sampled_from(WIN_TIE_LOSS), max_size=40), st.floats(0.1, 0.9), SIDES)
def test_betting_one_by_one_in_any_order_ends_with_the_evidence_of_the_counts(
    observed: list[float], null: float, side: Side
) -> None:
    largest = 1 / max(-side * (value - null) for value in WIN_TIE_LOSS)
    wealths = [1.0] * 24
    for value in observed:
        for bet in range(24):
            share = 0.004 * (0.95 / 0.004) ** (bet / 23)
            wealths[bet] *= 1 + share * largest * side * (value - null)
    counts = [observed.count(value) for value in WIN_TIE_LOSS]
    found = MeanEvidence(WIN_TIE_LOSS, null, side=side).log_evidence(counts)
    assert found == pytest.approx(math.log(sum(wealths) / 24), rel=1e-6, abs=1e-6)


@given(COUNTS, st.floats(0.05, 0.95))
def test_swapping_the_arms_mirrors_the_evidence(counts: list[int], null: float) -> None:
    above = MeanEvidence(WIN_TIE_LOSS, null, side=1).log_evidence(counts)
    mirrored = MeanEvidence((0.0, 0.5, 1.0), 1 - null, side=-1).log_evidence(counts)
    assert above == pytest.approx(mirrored, rel=1e-6, abs=1e-6)


@given(COUNTS, st.lists(st.floats(0.01, 0.99), min_size=2, max_size=6))
def test_a_null_further_off_is_refuted_more(counts: list[int], nulls: list[float]) -> None:
    found = [MeanEvidence(WIN_TIE_LOSS, null, side=1).log_evidence(counts) for null in sorted(nulls)]
    assert all(near >= far - 1e-6 for near, far in pairwise(found))


def test_at_the_edge_of_the_range_one_impossible_observation_refutes_and_the_rest_says_nothing() -> None:
    never = MeanEvidence((0.0, 1.0), 0.0, side=1)
    assert never.log_evidence([10_000, 0]) == 0.0
    assert never.log_evidence([10_000, 1]) == math.inf


@pytest.mark.parametrize(
    ("values", "null"), [((), 0.5), ((0.0, 1.0), 1.01), ((0.0, 1.0), -0.01), ((0.0, 1.0), math.nan)]
)
def test_a_null_that_no_mean_can_meet_is_refused(values: tuple[float, ...], null: float) -> None:
    with pytest.raises(ValueError, match="not possible"):
        MeanEvidence(values, null, side=1)


def test_counts_must_fit_the_values() -> None:
    with pytest.raises(ValueError, match="zip"):
        MeanEvidence((0.0, 1.0), 0.5, side=1).log_evidence([1, 2, 3])


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, math.nan])
def test_an_alpha_outside_the_open_unit_interval_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        log_threshold(alpha)


# 400 runs, looks every 100 up to 5 000: at most 35 may err at alpha 0.05 (99.9 % of a binomial with that chance).
RUNS, LOOKS, STEP, LIMIT = 400, 50, 100, 35


def looked_at(probability: float, seed: int) -> np.ndarray:
    draws = np.random.default_rng(seed).binomial(STEP, probability, size=(RUNS, LOOKS))
    return np.cumsum(draws, axis=1)


@pytest.mark.parametrize(("null", "side"), [(0.5, 1), (0.05, 1), (0.95, -1)])
def test_under_constant_peeking_a_true_null_is_hardly_ever_rejected(null: float, side: Side) -> None:
    evidence, threshold = MeanEvidence((1.0, 0.0), null, side=side), log_threshold(0.05)
    rejected = sum(
        any(evidence.log_evidence((hits, (look + 1) * STEP - hits)) >= threshold for look, hits in enumerate(run))
        for run in looked_at(null, seed=3).tolist()
    )
    assert rejected <= LIMIT


def test_the_same_peeking_fools_a_test_that_is_made_for_one_look() -> None:
    sizes = STEP * np.arange(1, LOOKS + 1)
    scores = (looked_at(0.5, seed=3) - sizes / 2) / np.sqrt(sizes / 4)
    assert int((scores > 1.645).any(axis=1).sum()) > 2 * LIMIT


def test_dependence_alone_does_not_feign_evidence_where_every_step_is_fair() -> None:
    # Whoever knows the past chooses how the next fair observation is spread: after a gain ties, after a loss stakes.
    random = np.random.default_rng(5)
    evidence, threshold, rejected = MeanEvidence(WIN_TIE_LOSS, 0.5, side=1), log_threshold(0.05), 0
    for _ in range(150):
        counts, balance, fooled = [0, 0, 0], 0, False
        for step, coin in enumerate(random.integers(0, 2, size=1500).tolist()):
            place = 1 if balance > 2 and step % 3 else 2 * coin
            counts[place] += 1
            balance += 1 - place
            fooled = fooled or (step % 20 == 0 and evidence.log_evidence(counts) >= threshold)
        rejected += fooled
    assert rejected <= 18


def test_a_false_null_falls_within_the_published_number_of_observations() -> None:
    # verdict.md b4: 55 % of decisive pairs against a null of 50 %: half the runs by 850, four in five by 1 400.
    evidence, threshold = MeanEvidence((1.0, 0.0), 0.5, side=1), log_threshold(0.05)
    needed = []
    for run in looked_at(0.55, seed=7)[:100].tolist():
        crossed = (
            (look + 1) * STEP
            for look, hits in enumerate(run)
            if evidence.log_evidence((hits, (look + 1) * STEP - hits)) >= threshold
        )
        needed.append(next(crossed, 10**9))
    assert 600 <= np.median(needed) <= 1_100
    assert np.percentile(needed, 80) <= 1_800


@given(COUNTS, st.floats(0.001, 0.5))
def test_an_interval_lies_in_the_range_and_holds_the_observed_mean(counts: list[int], alpha: float) -> None:
    low, high = mean_interval(WIN_TIE_LOSS, counts, alpha=alpha)
    assert 0.0 <= low <= high <= 1.0
    if sum(counts):
        mean = sum(count * value for count, value in zip(counts, WIN_TIE_LOSS, strict=True)) / sum(counts)
        assert low - 1e-9 <= mean <= high + 1e-9


def test_an_interval_ends_where_the_tests_of_either_side_stop_rejecting() -> None:
    counts, alpha = (40, 60), 0.05
    low, high = mean_interval((1.0, 0.0), counts, alpha=alpha)
    ends: tuple[tuple[float, Side], ...] = ((low, 1), (high, -1))
    for end, side in ends:
        at, inside = (
            MeanEvidence((1.0, 0.0), mean, side=side).log_evidence(counts) for mean in (end, end + side * 1e-6)
        )
        assert inside < log_threshold(alpha / 2) <= at


def test_without_observations_an_interval_is_the_whole_range() -> None:
    assert mean_interval((3.0, -2.0, 1.0), (0, 0, 0), alpha=0.05) == (-2.0, 3.0)


def test_an_interval_narrows_with_more_of_the_same_and_widens_with_less_error_allowed() -> None:
    narrow, wide = (mean_interval((1.0, 0.0), (n, n), alpha=0.05) for n in (10_000, 100))
    strict = mean_interval((1.0, 0.0), (100, 100), alpha=0.001)
    assert strict[0] < wide[0] < narrow[0] < 0.5 < narrow[1] < wide[1] < strict[1]


def test_intervals_hold_the_truth_at_every_look_together() -> None:
    missed = 0
    for run in looked_at(0.3, seed=11)[:60, ::10].tolist():
        for look, hits in enumerate(run):
            size = STEP * (1 + 10 * look)
            low, high = mean_interval((1.0, 0.0), (hits, size - hits), alpha=0.1)
            if not low <= 0.3 <= high:
                missed += 1
                break
    assert missed <= 14, "99.9 % of a binomial(60, 0.1)"
