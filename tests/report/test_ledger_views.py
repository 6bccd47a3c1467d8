"""What is shown of a ledger."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.reports import FINDINGS

from shadowmesh.report import ledger_views
from shadowmesh.verdict.facts import Floats, LegColumns, PairColumns, State
from shadowmesh.verdict.ledger import MINUTE_NS, Ledger

PAIRS = 4000


def leg(seconds: Floats, state: State | None = None, **figures: Floats) -> LegColumns:
    unknown = np.full(len(seconds), np.nan)
    names = ("first_chunk", "per_token", "input_tokens", "cached_tokens", "output_tokens", "cost", "in_flight")
    columns: dict[str, Any] = {name: figures.get(name, unknown) for name in names}
    return LegColumns(state=np.full(len(seconds), state or State.OK, np.uint8), duration=seconds, **columns)


def ledger(live: LegColumns, shadow: LegColumns, *, minutes: int = 100, currency: str | None = None) -> Ledger:
    pairs = len(live.state)
    made = Ledger(currency=currency)
    made.add(
        PairColumns(
            dispatched_ns=np.arange(pairs) * (minutes * MINUTE_NS // pairs),
            live=live,
            shadow=shadow,
            control=None,
            exact=np.full(pairs, np.nan),
            texts=None,
            lag=np.full(pairs, np.nan),
        )
    )
    return made


@pytest.fixture
def seconds() -> Floats:
    return np.random.default_rng(1).lognormal(-1.0, 0.6, PAIRS)


def test_a_distribution_has_every_call_and_quantiles_within_a_per_cent(seconds: Floats) -> None:
    (shown,) = ledger_views.distributions(ledger(leg(seconds), leg(seconds * 1.2)))
    assert shown.name == "duration"
    assert (sum(shown.live), sum(shown.shadow)) == (PAIRS, PAIRS)
    assert len(shown.edges) == len(shown.live) + 1 == len(shown.shadow) + 1
    assert shown.live_quantiles == pytest.approx(np.quantile(seconds, (0.5, 0.9, 0.95, 0.99)), rel=0.015)
    assert shown.shadow_quantiles == pytest.approx(1.2 * np.quantile(seconds, (0.5, 0.9, 0.95, 0.99)), rel=0.015)
    for edge, next_edge, calls in zip(shown.edges, shown.edges[1:], shown.live, strict=False):
        if calls > 100:
            assert calls == pytest.approx(((seconds >= edge) & (seconds < next_edge)).sum(), abs=1)


def test_calls_that_were_cut_off_count_as_longer_than_all_others(seconds: Floats) -> None:
    states = np.where(np.arange(PAIRS) % 10 == 0, State.TIMED_OUT, State.OK).astype(np.uint8)
    shadow = leg(seconds)
    shadow.state[:] = states
    (shown,) = ledger_views.distributions(ledger(leg(seconds), shadow))
    assert shown.beyond_shadow == PAIRS // 10
    assert sum(shown.shadow) == PAIRS - PAIRS // 10
    assert shown.shadow_quantiles[0] is not None
    assert shown.shadow_quantiles[2:] == (None, None)


def test_calls_without_a_figure_are_in_no_distribution(seconds: Floats) -> None:
    (shown,) = ledger_views.distributions(ledger(leg(seconds), leg(seconds, State.FAILED)))
    assert (sum(shown.shadow), shown.beyond_shadow) == (0, 0)
    assert shown.shadow_quantiles == (None,) * 4


def test_the_course_shows_the_ratio_when_it_was_so(seconds: Floats) -> None:
    slow = np.where(np.arange(PAIRS) < PAIRS // 2, 1.0, 1.5)
    shown = ledger_views.timeline(ledger(leg(seconds), leg(seconds * slow)), FINDINGS)
    assert shown is not None
    assert (shown.measure, shown.quantile, shown.ratio_limit, shown.errors_limit) == ("duration", 0.95, 1.2, 0.005)
    ratios = [moment.ratio for moment in shown.moments]
    half = len(ratios) // 2
    assert ratios[: half - 1] == pytest.approx([1.0] * (half - 1), abs=0.01)
    assert ratios[half + 1 :] == pytest.approx([1.5] * (len(ratios) - half - 1), rel=0.15)
    assert sum(moment.pairs for moment in shown.moments) == PAIRS
    assert [moment.started_ns for moment in shown.moments] == sorted({moment.started_ns for moment in shown.moments})
    assert {moment.errors for moment in shown.moments} == {0.0}


def test_the_course_of_weeks_has_no_more_moments_than_can_be_seen(seconds: Floats) -> None:
    shown = ledger_views.timeline(ledger(leg(seconds), leg(seconds, State.FAILED), minutes=50_000))
    assert shown is not None
    assert 30 <= len(shown.moments) <= 61
    assert {moment.errors for moment in shown.moments} == {1.0}
    assert {moment.ratio for moment in shown.moments} == {None}
    assert (shown.ratio_limit, shown.errors_limit) == (None, None)


def test_of_no_pairs_there_is_nothing_to_show() -> None:
    assert ledger_views.distributions(Ledger()) == ()
    assert ledger_views.timeline(Ledger()) is None
    assert ledger_views.per_call(Ledger())[2:] == (None, 0)


def test_amounts_are_means_over_pairs_of_which_both_are_known(seconds: Floats) -> None:
    tokens = np.full(PAIRS, 200.0)
    half = np.where(np.arange(PAIRS) % 2, 210.0, np.nan)
    live = leg(seconds, output_tokens=tokens, cost=tokens / 1e5)
    shadow = leg(seconds, output_tokens=half, cost=tokens / 2e5)
    before, after, currency, pairs = ledger_views.per_call(ledger(live, shadow, currency="EUR"))
    assert (before.output_tokens, after.output_tokens) == (200.0, 210.0)
    assert (before.cost, after.cost) == pytest.approx((0.002, 0.001))
    assert (before.input_tokens, currency, pairs) == (None, "EUR", PAIRS)


def test_the_whole_is_the_sum_of_its_strata(seconds: Floats) -> None:
    one, other = ledger(leg(seconds), leg(seconds)), ledger(leg(seconds[:10]), leg(seconds[:10]))
    assert ledger_views.whole({"a": one, "b": other}).pairs == PAIRS + 10
    assert one.pairs == PAIRS
