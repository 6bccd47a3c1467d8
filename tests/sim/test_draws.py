"""The worlds are as their arguments say, or the simulations would prove nothing."""

from __future__ import annotations

import numpy as np
import pytest
from sim.draws import difference_shares, down_at, failing_per_minute, latencies, outcomes, quantile, similarities
from sim.worlds import World

from shadowmesh.verdict.facts import State

RANDOM_SEED = 17


def test_every_quantile_of_the_shadow_is_the_ratio_times_that_of_live() -> None:
    live, shadow = latencies(np.random.default_rng(RANDOM_SEED), (400_000,), ratio=1.3, correlation=0.6)
    for share in (0.5, 0.95):
        assert np.quantile(shadow, share) / np.quantile(live, share) == pytest.approx(1.3, rel=0.015)
    assert np.corrcoef(np.log(live), np.log(shadow))[0, 1] == pytest.approx(0.6, abs=0.01)


def test_similarities_have_the_mean_that_was_asked_for() -> None:
    drawn = similarities(np.random.default_rng(RANDOM_SEED), (200_000,), mean=0.95)
    assert drawn.mean() == pytest.approx(0.95, abs=0.001)
    assert drawn.std() == pytest.approx(0.05, abs=0.001)


def test_counts_only_grow_and_have_the_shares_that_were_asked_for() -> None:
    counts = outcomes(
        np.random.default_rng(RANDOM_SEED), runs=50, looks=100, step=100, shares=difference_shares(0.02, 0.01)
    )
    assert (np.diff(counts, axis=1) >= 0).all()
    assert counts[:, -1].sum(axis=1).tolist() == [10_000] * 50
    worse, _, better = counts[:, -1].mean(axis=0)
    assert (worse - better) / 10_000 == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("outage", [1.0, 20.0, 300.0])
def test_outages_take_their_share_of_the_time_and_last_as_long_as_they_should(outage: float) -> None:
    random = np.random.default_rng(RANDOM_SEED)
    down = down_at(random, np.arange(2_000_000) / 5, share=0.05, outage=outage)
    assert down.mean() == pytest.approx(0.05, rel=0.15)
    begins = np.count_nonzero(np.diff(down.astype(int)) == 1)
    assert down.sum() / 5 / begins == pytest.approx(outage, rel=0.15)


def test_failures_by_the_minute_add_up_to_the_same_share_and_come_together() -> None:
    failing = failing_per_minute(np.random.default_rng(RANDOM_SEED), minutes=20_000, rate=20, share=0.01, outage=60)
    assert failing.mean() / 1200 == pytest.approx(0.01, rel=0.15)
    assert np.count_nonzero(failing) < 0.03 * len(failing)
    assert failing.min() >= 0
    assert failing.max() <= 1200


def test_a_world_loses_its_slowest_shadows_and_no_others() -> None:
    pairs = World(lost=0.03, shadow_errors=0.0).draw(np.random.default_rng(RANDOM_SEED), 10_000)
    lost = pairs.shadow.state == State.MISSING
    assert np.count_nonzero(lost) == 300
    assert pairs.shadow.duration[lost].min() > pairs.shadow.duration[~lost].max()


def test_a_world_may_fail_its_shortest_calls_instead() -> None:
    world = World(lost=0.03, lost_as=State.FAILED, lost_are="shortest", shadow_errors=0.0)
    pairs = world.draw(np.random.default_rng(RANDOM_SEED), 10_000)
    failed = pairs.shadow.state == State.FAILED
    assert np.count_nonzero(failed) == 300
    assert pairs.shadow.duration[failed].max() < pairs.shadow.duration[~failed].min()


def test_a_deadline_ends_shadows_that_would_have_taken_longer() -> None:
    pairs = World(deadline=2.0, shadow_errors=0.0).draw(np.random.default_rng(RANDOM_SEED), 10_000)
    assert pairs.shadow.duration.max() == 2.0
    assert ((pairs.shadow.state == State.TIMED_OUT) == (pairs.shadow.duration == 2.0)).all()


def test_clients_leave_when_live_is_slow_and_take_what_still_runs_with_them() -> None:
    plain = World(live_errors=0.0, shadow_errors=0.0).draw(np.random.default_rng(RANDOM_SEED), 10_000)
    world = World(live_errors=0.0, shadow_errors=0.0, patience=quantile(0.97))
    pairs = world.draw(np.random.default_rng(RANDOM_SEED), 10_000)
    left = plain.live.duration > quantile(0.97)
    assert left.mean() == pytest.approx(0.03, abs=0.005)
    assert ((pairs.live.state == State.STOPPED) == left).all()
    assert ((pairs.shadow.state == State.STOPPED) == (left & (plain.shadow.duration > quantile(0.97)))).all()
    assert (pairs.shadow.duration[~left] == plain.shadow.duration[~left]).all()


def test_a_slow_way_is_the_control_s_too_and_a_sixth_may_be_slower_still() -> None:
    world = World(path=1.3, sixth=1.5, live_errors=0.0)
    pairs = world.draw(np.random.default_rng(RANDOM_SEED), 600_000)
    assert pairs.control is not None
    medians = [float(np.median(leg)) for leg in (pairs.control.duration, pairs.shadow.duration[5::6])]
    assert medians == pytest.approx([1.3, 1.3 * 1.5], rel=0.01)
    logs = np.log(np.stack([pairs.live.duration, pairs.control.duration]))
    assert np.corrcoef(logs)[0, 1] == pytest.approx(0.6, abs=0.01)


def test_a_judge_reads_a_share_of_the_pairs_and_prefers_as_often_as_it_should() -> None:
    said = World(judged=0.3, ties=0.4, won=0.45).judgements(np.random.default_rng(RANDOM_SEED), 400_000)
    assert np.bincount(said) / 400_000 == pytest.approx([0.3 * 0.6 * 0.45, 0.3 * 0.4, 0.3 * 0.6 * 0.55, 0.7], abs=0.003)


def test_a_world_dispatches_evenly_and_fails_in_outages_where_it_should() -> None:
    world = World(pairs_per_second=10, shadow_errors=0.05, outage=30.0)
    pairs = world.draw(np.random.default_rng(RANDOM_SEED), 100_000)
    assert np.abs(np.diff(pairs.dispatched_ns) - 100_000_000).max() <= 1
    failed = pairs.shadow.state == State.FAILED
    assert np.count_nonzero(np.diff(failed.astype(int)) == 1) < failed.sum() / 100
