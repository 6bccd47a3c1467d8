"""The quantile test is what its definition says, place by place, and its interval is what it shows."""

from __future__ import annotations

from dataclasses import replace
from math import exp, inf, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.columns import a_batch, drawn, ledger_of, scaled

from shadowmesh.evidence import MeanEvidence, Side, log_threshold
from shadowmesh.verdict import bins
from shadowmesh.verdict.cells import Cells, View, views
from shadowmesh.verdict.facts import Ints, LegColumns, PairColumns, State
from shadowmesh.verdict.quantile import QuantileTest, ratio

SHIFT = 20


def views_of(columns: PairColumns) -> tuple[View, View]:
    return views([Cells(*ledger_of(columns).tally("joint.duration").items())])


def evidence_for(columns: PairColumns, shift: int = SHIFT) -> float:
    return QuantileTest(views_of(columns)[0], 0.95, alpha=0.05).evidence(shift).log


def evidence_against(columns: PairColumns, shift: int = SHIFT) -> float:
    return QuantileTest(views_of(columns)[1], 0.95, alpha=0.05).evidence(shift).log


def by_definition(side: Side, live: Ints, shadow: Ints, quantile: float, shift: int, alpha: float) -> float:
    """The least evidence over every place that two Bernoulli tests leave to live's quantile."""
    low, high = MeanEvidence((1.0, 0.0), quantile, side=-1), MeanEvidence((1.0, 0.0), quantile, side=1)
    balance = MeanEvidence((1.0, 0.0, -1.0), 0.0, side=side)
    alone = MeanEvidence((1.0, 0.0), 1 - quantile, side=side)
    known = (shadow > 0) & (shadow < bins.TOP)
    moved = np.where(known, shadow - shift, np.where(shadow == 0, -inf, inf))
    least, pairs, threshold = inf, len(live), log_threshold(0.2 * alpha / 2)
    for place in range(1, bins.TOP):
        upto, below = int((live <= place).sum()), int((live < place).sum())
        if (
            low.log_evidence([upto, pairs - upto]) >= threshold
            or high.log_evidence([below, pairs - below]) >= threshold
        ):
            continue
        exceeds = moved >= place if side == -1 else moved > place
        beyond = live > place if side == -1 else live >= place
        ups, downs = int((exceeds & ~beyond).sum()), int((beyond & ~exceeds).sum())
        hits = int(exceeds.sum())
        both = balance.log_evidence([ups, pairs - ups - downs, downs]), alone.log_evidence([hits, pairs - hits])
        least = min(least, float(np.logaddexp(log(0.9) + both[0], log(0.1) + both[1])))
    return least + log(0.8)


@pytest.mark.parametrize("seed", range(12))
def test_the_evidence_is_that_of_the_definition(seed: int) -> None:
    random = np.random.default_rng(seed)
    side: Side = 1 if seed % 2 else -1
    pairs, quantile = int(random.integers(150, 500)), (0.5, 0.9)[seed // 2 % 2]
    live, shadow = 1000 + random.integers(0, 30, pairs), 1000 + random.integers(0, 60, pairs)
    unknown = random.random(pairs)
    live[unknown < 0.02], shadow[unknown > 0.98] = (0, bins.TOP) if side == -1 else (bins.TOP, 0)
    codes = [np.where((leg > 0) & (leg < bins.TOP), leg - 1, bins.LOST) for leg in (live, shadow)]
    view = View(side, [Cells(codes[0] * bins.CODES + codes[1], np.ones(pairs, np.int64))], answered=False)
    shift = int(random.integers(-10, 40))
    found = QuantileTest(view, quantile, alpha=0.05).evidence(shift).log
    assert found == pytest.approx(by_definition(side, live, shadow, quantile, shift, 0.05), abs=1e-9)


def test_equal_latencies_are_shown_to_be_below_and_slower_ones_above() -> None:
    assert evidence_for(drawn(3000)) > log_threshold(0.05) > evidence_against(drawn(3000))
    assert evidence_against(drawn(3000, ratio=1.5)) > log_threshold(0.05) > evidence_for(drawn(3000, ratio=1.5))


def test_the_interval_holds_the_truth_and_ends_where_the_test_begins_to_reject() -> None:
    slow, fast = views_of(drawn(12_000, ratio=1.1, live_errors=0, shadow_errors=0))
    above, below = QuantileTest(fast, 0.95, alpha=0.025), QuantileTest(slow, 0.95, alpha=0.025)
    assert 0.95 < above.bound() < 1.1 < below.bound() < 1.25
    edge = round(log(below.bound()) / bins.LOG_GAMMA)
    assert below.shown(edge)
    assert not below.shown(edge - 1)


@pytest.mark.parametrize("ratio", [0.2, 0.97, 1.3, 8.0])
@pytest.mark.parametrize("pairs", [60, 400, 6000])
def test_the_ends_of_the_interval_are_those_that_asking_at_every_shift_finds(ratio: float, pairs: int) -> None:
    for view in views_of(drawn(pairs, ratio=ratio, live_errors=0.02, shadow_errors=0.02)):
        test = QuantileTest(view, 0.95, alpha=0.025)
        shown = [shift for shift in range(-bins.BINS, bins.BINS + 1) if test.shown(shift)]
        if view.side == -1:
            assert test.bound() == (exp(min(shown) * bins.LOG_GAMMA) if shown else inf)
        else:
            assert test.bound() == (exp(max(shown) * bins.LOG_GAMMA) if shown else 0.0)


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.3])
@pytest.mark.parametrize("pairs", [30, 5000])
def test_a_test_at_a_greater_alpha_counts_no_less_for_being_derived(pairs: int, alpha: float) -> None:
    for view in views_of(drawn(pairs, live_errors=0.02, shadow_errors=0.02)):
        derived, own = QuantileTest(view, 0.95, alpha=0.001).at(alpha), QuantileTest(view, 0.95, alpha=alpha)
        for shift in (-30, 0, SHIFT, 60):
            assert derived.evidence(shift) == own.evidence(shift)
            assert derived.evidence(shift, place=1000) == own.evidence(shift, place=1000)
        assert derived.bound() == own.bound()


@pytest.mark.parametrize("live", [0.1, 0.9])
def test_latencies_that_never_vary_are_decided_too(live: float) -> None:
    def constant(seconds: float) -> PairColumns:
        columns = drawn(3000, live_errors=0, shadow_errors=0)
        return replace(
            columns,
            live=replace(columns.live, duration=np.full(3000, live)),
            shadow=replace(columns.shadow, duration=np.full(3000, seconds)),
        )

    assert evidence_for(constant(live)) > log_threshold(0.05) > evidence_against(constant(live))
    assert evidence_against(constant(10 * live)) > log_threshold(0.05) > evidence_for(constant(10 * live))


def test_few_pairs_bound_nothing() -> None:
    slow, fast = views_of(drawn(20))
    assert QuantileTest(fast, 0.95, alpha=0.05).bound() == 0.0
    assert QuantileTest(slow, 0.95, alpha=0.05).bound() == inf


def test_no_pairs_show_nothing() -> None:
    slow, _ = views([Cells(np.empty(0, np.int64), np.empty(0, np.int64))])
    assert QuantileTest(slow, 0.95, alpha=0.05).evidence(SHIFT) == (0.0, 0.0)
    assert ratio(slow, 0.95) is None


@pytest.mark.parametrize(("state", "answered"), [(State.MISSING, False), (State.FAILED, True)])
def test_a_live_quantile_that_is_not_known_shows_nothing_at_any_ratio(state: State, answered: bool) -> None:
    slow, fast = views_of(ended(ended(drawn(3000), 0.1, state), 0.1, state, side="live"))
    assert QuantileTest(slow, 0.95, alpha=0.05).bound() == inf
    assert (QuantileTest(fast, 0.95, alpha=0.05).bound() > 0) is answered


@given(a_batch())
def test_no_view_leaves_what_is_known(columns: PairColumns) -> None:
    cells = [Cells(*ledger_of(columns).tally("joint.duration").items())]
    slow, fast = View(-1, cells, answered=False), View(1, cells, answered=False)
    assert (np.cumsum(slow.lives) >= np.cumsum(fast.lives)).all()
    assert (np.cumsum(slow.shadows) <= np.cumsum(fast.shadows)).all()


@given(st.lists(a_batch(), min_size=1, max_size=4), st.integers(-1, bins.TOP))
def test_cells_of_several_ledgers_are_read_as_those_of_one(batches: list[PairColumns], place: int) -> None:
    parts = [Cells(*ledger_of(each).tally("joint.duration").items()) for each in batches]
    whole = [Cells(*ledger_of(*batches).tally("joint.duration").items())]
    for one, other in zip(views(parts), views(whole), strict=True):
        assert (one.pairs, one.lives.tolist(), one.shadows.tolist()) == (
            other.pairs, other.lives.tolist(), other.shadows.tolist(),
        )  # fmt: skip
        assert sorted(_listed(one, place)) == sorted(_listed(other, place))


def _listed(view: View, place: int) -> list[tuple[int, int]]:
    live, shadow, counts = view.beyond(place)
    assert (live > place).all()
    cells = zip(live.tolist(), shadow.tolist(), counts.tolist(), strict=True)
    return [(one, other) for one, other, count in cells for _ in range(int(count))]


@given(a_batch())
def test_the_view_for_a_fail_is_of_those_that_both_answered_and_the_other_of_all(columns: PairColumns) -> None:
    slow, fast = views_of(columns)
    states = np.stack([columns.live.state, columns.shadow.state])
    evidence = ~np.isin(states, (State.SKIPPED, State.WARM_UP)).any(axis=0) & (columns.live.state != State.STOPPED)
    assert slow.pairs == np.count_nonzero(evidence)
    assert fast.pairs == np.count_nonzero(evidence & (states != State.FAILED).all(axis=0))


def ended(columns: PairColumns, share: float, state: State, *, side: str = "shadow", seed: int = 1) -> PairColumns:
    """Return the same pairs where a share of the legs of one side that ended well ended in another state."""
    leg: LegColumns = getattr(columns, side)
    hit = (np.random.default_rng(seed).random(len(columns)) < share) & (leg.state == State.OK)
    changed = replace(leg, state=np.where(hit, state, leg.state).astype(np.uint8))
    return replace(columns, live=changed) if side == "live" else replace(columns, shadow=changed)


@given(
    st.integers(0, 10_000),
    st.floats(0.0, 0.2),
    st.floats(0.01, 30.0),
    st.sampled_from([State.SHED, State.MISSING, State.FAILED]),
)
@settings(max_examples=40)
def test_whatever_missing_shadows_would_have_been_no_evidence_was_too_much(
    seed: int, share: float, seconds: float, state: State
) -> None:
    columns = drawn(1500, seed=seed, live_errors=0, shadow_errors=0)
    unknown = ended(columns, share, state, seed=seed)
    truth = np.where(unknown.shadow.state == state, seconds, columns.shadow.duration)
    known = replace(columns, shadow=replace(columns.shadow, duration=truth))
    assert evidence_for(unknown) <= evidence_for(known) + 1e-9
    if state is not State.FAILED:
        assert evidence_against(unknown) <= evidence_against(known) + 1e-9


@given(st.integers(0, 10_000), st.floats(0.0, 0.2), st.sampled_from(["live", "shadow"]))
@settings(max_examples=25)
def test_evidence_against_is_the_same_without_the_pairs_of_which_a_leg_failed(
    seed: int, share: float, side: str
) -> None:
    columns = ended(drawn(1500, seed=seed, ratio=1.3), share, State.FAILED, side=side, seed=seed)
    answered = (columns.live.state == State.OK) & (columns.shadow.state == State.OK)
    assert evidence_against(columns) == evidence_against(columns.where(answered))


@given(
    st.integers(0, 10_000),
    st.floats(0.0, 0.3),
    st.sampled_from([0.9, 1.0, 1.15, 1.5]),
    st.sampled_from([State.TIMED_OUT, State.FAILED]),
)
@settings(max_examples=40)
def test_a_finished_shadow_that_times_out_or_fails_instead_never_helps_it(
    seed: int, share: float, slower: float, state: State
) -> None:
    columns = drawn(1500, seed=seed, ratio=slower)
    worse = ended(columns, share, state, seed=seed)
    assert evidence_for(worse) <= evidence_for(columns) + 1e-9
    if state is State.TIMED_OUT:
        assert evidence_against(worse) >= evidence_against(columns) - 1e-9


@given(st.integers(0, 10_000), st.integers(-200, 200))
@settings(max_examples=25)
def test_scaling_both_latencies_changes_nothing(seed: int, by: int) -> None:
    columns = drawn(1500, seed=seed)
    # Half a bin up, so that rounding does not carry anything over an edge.
    middle = replace(columns, live=_centred(columns.live), shadow=_centred(columns.shadow))
    assert evidence_for(scaled(middle, by)) == pytest.approx(evidence_for(middle), abs=1e-9)
    assert evidence_against(scaled(middle, by)) == pytest.approx(evidence_against(middle), abs=1e-9)


def _centred(leg: LegColumns) -> LegColumns:
    return replace(leg, duration=bins.GAMMA ** (np.floor(np.log(leg.duration) / bins.LOG_GAMMA) + 0.5))


@given(st.integers(0, 10_000), st.sampled_from([0.5, 2.0]))
@settings(max_examples=25)
def test_swapping_the_arms_turns_below_into_above(seed: int, slower: float) -> None:
    columns = drawn(1500, seed=seed, ratio=slower, live_errors=0, shadow_errors=0)
    swapped = replace(columns, live=columns.shadow, shadow=columns.live)
    threshold = log_threshold(0.05)
    assert (evidence_for(columns, SHIFT) >= threshold) == (evidence_against(swapped, -SHIFT) >= threshold)
    assert (evidence_against(columns, SHIFT) >= threshold) == (evidence_for(swapped, -SHIFT) >= threshold)


@pytest.mark.parametrize(
    ("asked", "down", "up"), [(1.2, 20, 20), (1.44, 40, 40), (1.1, 10, 11), (0.9, -12, -11), (1, 0, 0)]
)
def test_a_ratio_between_two_bins_is_taken_so_that_neither_answer_comes_too_easily(
    asked: float, down: int, up: int
) -> None:
    assert bins.shift(asked, upwards=False) == down
    assert bins.shift(asked, upwards=True) == up


@given(st.floats(1e-5, 9e3))
def test_a_duration_lies_in_its_bin(seconds: float) -> None:
    place = bins.place_of(seconds)
    assert bins.seconds_at(place) <= seconds * (1 + 1e-9)
    assert seconds <= bins.seconds_at(place + 1) * (1 + 1e-9)
