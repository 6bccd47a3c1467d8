"""The variance guard sees bursts at every scale, and nothing where pairs are independent."""

from __future__ import annotations

import numpy as np
import pytest
from support.columns import START_NS, drawn, ledger_of

from shadowmesh.verdict import bins, guard, legs
from shadowmesh.verdict.cells import Cells, View
from shadowmesh.verdict.ledger import MINUTE_NS, Ledger
from shadowmesh.verdict.quantile import quantile_place


def factor(values: np.ndarray[tuple[int], np.dtype[np.float64]], per_block: int) -> float:
    sums = values.reshape(-1, per_block).sum(axis=1)
    return guard.variance_factor(np.full(len(sums), float(per_block)), sums, float(values.var()))


def test_independent_values_have_a_factor_of_about_one() -> None:
    values = (np.random.default_rng(1).random(60_000) < 0.01).astype(np.float64)
    assert factor(values, 100) < 1.3


@pytest.mark.parametrize("length", [50, 400, 3000])
def test_outages_shorter_and_longer_than_a_block_are_seen(length: int) -> None:
    values = np.repeat((np.random.default_rng(1).random(60_000 // length) < 0.2).astype(np.float64), length)
    assert factor(values, 100) > length / 4


def test_a_few_blocks_or_a_constant_say_nothing() -> None:
    assert guard.variance_factor(np.array([5.0]), np.array([3.0]), 0.2) == 1.0
    assert guard.variance_factor(np.empty(0), np.empty(0), 0.0) == 1.0
    assert guard.variance_factor(np.full(50, 5.0), np.full(50, 5.0), 0.0) == 1.0


def test_blocks_of_different_sizes_are_weighed() -> None:
    random = np.random.default_rng(3)
    sizes = random.integers(1, 500, 400)
    sums = np.array([random.binomial(size, 0.1) for size in sizes], np.float64)
    assert guard.variance_factor(sizes.astype(np.float64), sums, 0.09) == pytest.approx(1.0, abs=0.25)


def test_only_evidence_for_something_is_divided() -> None:
    assert guard.guarded(6.0, 2.0) == 3.0
    assert guard.guarded(-6.0, 2.0) == -6.0


@pytest.mark.parametrize("gap", [0, 1_000_000])
@pytest.mark.parametrize(("quantile", "shift"), [(0.95, 20), (0.5, -40), (0.999, 3000)])
def test_latency_sums_of_blocks_add_up_to_what_the_pairs_say(quantile: float, shift: int, gap: int) -> None:
    columns = drawn(12_000, live_errors=0.01, shadow_errors=0.01)
    ends = START_NS + gap * MINUTE_NS + columns.dispatched_ns[-1000:] - START_NS
    columns.dispatched_ns[-1000:] = ends
    ledger = Ledger()
    # As many processors would have it: what waits is in no order.
    for part in range(3):
        ledger.merge(ledger_of(columns.where(np.arange(12_000) % 3 == part)))
    slow = View(-1, [Cells(*ledger.tally("joint.duration").loose())], answered=False)
    place = int(quantile_place(slow.lives, quantile))
    sizes, sums = guard.latency_series(ledger, "duration", place, shift)
    _, live, shadow = legs.latency_codes(columns.live, columns.shadow, "duration")
    edge = round((place - 1) / bins.COARSE) + 1
    live_beyond = bins.coarse(bins.LOWEST_PLACE[live]) >= edge
    shadow_beyond = bins.coarse(bins.HIGHEST_PLACE[shadow]) >= edge + round(shift / bins.COARSE)
    values = shadow_beyond.astype(np.float64) - live_beyond
    _, at = np.unique(columns.dispatched_ns // MINUTE_NS >> ledger.shift, return_inverse=True)
    assert sizes.tolist() == np.bincount(at).tolist()
    assert sums.tolist() == np.bincount(at, values).tolist()
    assert guard.latency_variance(slow, place, shift) == pytest.approx(values.var(), abs=1e-9)


def test_latency_of_independent_pairs_has_a_factor_of_about_one() -> None:
    ledger = ledger_of(drawn(12_000, live_errors=0, shadow_errors=0))
    slow = View(-1, [Cells(*ledger.tally("joint.duration").items())], answered=False)
    place = int(quantile_place(slow.lives, 0.95))
    series = guard.latency_series(ledger, "duration", place, 20)
    assert guard.variance_factor(*series, guard.latency_variance(slow, place, 20)) < 1.5
