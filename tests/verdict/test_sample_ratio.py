"""Sampling is as it was configured, however often one looks; what is not is seen soon."""

from __future__ import annotations

import numpy as np
import pytest
from sim.outcome import most_hits

from shadowmesh.verdict.coverage import SampleRatio, sample_ratio
from shadowmesh.verdict.records import Reason, Result

ALPHA = 0.05
CALLS = 20_000
LOOK = 100


def looked_at(rates: np.ndarray[tuple[int], np.dtype[np.float64]], seed: int, *, taken: float = 1.0) -> int | None:
    """Return after how many calls a mismatch is found, looking on; of those to be sampled a share is ``taken``."""
    random = np.random.default_rng(seed)
    sampled = np.cumsum(random.random(len(rates)) < rates * taken)
    expected = np.cumsum(rates)
    for calls in range(LOOK, len(rates) + 1, LOOK):
        counts = SampleRatio(eligible=calls, sampled=int(sampled[calls - 1]), expected=float(expected[calls - 1]))
        if sample_ratio(counts, ALPHA).reason is Reason.SAMPLE_RATIO:
            return calls
    return None


@pytest.mark.parametrize(
    ("before", "after"),
    [(0.5, 0.5), (0.01, 0.01), (0.5, 0.05), (0.01, 0.9), (0.001, 0.001), (0.99, 0.99)],
    ids=lambda rate: f"{rate:g}",
)
def test_honest_sampling_is_hardly_ever_found_wrong_though_its_rate_changes(before: float, after: float) -> None:
    rates = np.where(np.arange(CALLS) < CALLS // 2, before, after)
    wrong = sum(looked_at(rates, seed) is not None for seed in range(200))
    assert wrong <= most_hits(200, ALPHA)


@pytest.mark.parametrize(("rate", "taken", "calls"), [(0.5, 0.4, 200), (0.5, 0.9, 5_000), (0.01, 0.5, 10_000)])
def test_a_sampler_that_takes_too_few_is_found(rate: float, taken: float, calls: int) -> None:
    found = [looked_at(np.full(CALLS, rate), seed, taken=taken) for seed in range(20)]
    assert sum(each is not None and each <= calls for each in found) >= 16


def test_one_that_takes_too_many_is_found_as_well() -> None:
    finding = sample_ratio(SampleRatio(eligible=1000, sampled=200, expected=100.0), ALPHA)
    assert (finding.result, finding.detail) == (Result.NOT_YET, "20% sampled instead of 10%")


def test_small_rates_are_told_apart() -> None:
    finding = sample_ratio(SampleRatio(eligible=10**8, sampled=14_000, expected=12_000.0), ALPHA)
    assert finding.detail == "0.014% sampled instead of 0.012%"


@pytest.mark.parametrize("rate", [0.0001, 0.001, 0.01, 0.5, 0.99, 0.999])
@pytest.mark.parametrize("change", [-0.2, 0.2])
def test_a_fifth_too_many_or_too_few_is_found_at_any_rate(rate: float, change: float) -> None:
    # Of what is rarer: of calls that were sampled, or of those that were not.
    calls = round(2000 / min(rate, 1 - rate))
    sampled = calls * rate + change * calls * min(rate, 1 - rate)
    finding = sample_ratio(SampleRatio(eligible=calls, sampled=round(sampled), expected=calls * rate), ALPHA)
    assert finding.reason is Reason.SAMPLE_RATIO


def test_sums_of_unlike_rates_are_held_against_their_mean() -> None:
    fits = SampleRatio(eligible=2000, sampled=598, expected=0.5 * 1000 + 0.1 * 1000)
    assert fits.rate == pytest.approx(0.3)
    assert sample_ratio(fits, ALPHA).result is Result.PASS
    assert SampleRatio(eligible=0, sampled=0, expected=0.0).rate == 0.0
