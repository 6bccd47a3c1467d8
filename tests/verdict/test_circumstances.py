"""Under what circumstances pairs were compared: said where it matters, and no part of any answer."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.columns import START_NS, a_batch, drawn, ledger_of, of_prompts

from shadowmesh.verdict.change import error_differences
from shadowmesh.verdict.circumstance_keys import LOADS, calls_at
from shadowmesh.verdict.circumstances import circumstances
from shadowmesh.verdict.facts import Floats, LegColumns, PairColumns, State
from shadowmesh.verdict.ledger import MINUTE_NS, Ledger
from shadowmesh.verdict.records import Cached, Circumstances, EvidenceKey, Verdict
from shadowmesh.verdict.settings import CriteriaSettings
from shadowmesh.verdict.verdict import judge

KEY = EvidenceKey(experiment="summaries", target="candidate", target_digest="aaa", config_digest="bbb")
NOW = START_NS + 121 * MINUTE_NS
PAIRS = 2000


def judged(columns: PairColumns) -> Verdict:
    return judge(KEY, {"/s/Generate": ledger_of(columns)}, CriteriaSettings(), now_ns=NOW)


def around(columns: PairColumns) -> Circumstances:
    return circumstances(ledger_of(columns))


def each(leg: LegColumns, **figures: float | Floats) -> LegColumns:
    size = len(leg.state)
    columns: dict[str, Any] = {name: np.broadcast_to(np.float64(one), size).copy() for name, one in figures.items()}
    return replace(leg, **columns)


def changed(
    columns: PairColumns, live: dict[str, Any] | None = None, shadow: dict[str, Any] | None = None
) -> PairColumns:
    return replace(columns, live=each(columns.live, **live or {}), shadow=each(columns.shadow, **shadow or {}))


UNLIKE: dict[str, tuple[PairColumns, str]] = {
    "prompts": (
        replace(drawn(PAIRS), prompt=of_prompts(np.arange(PAIRS) % 100)),
        "have different prompts",
    ),
    "more load": (changed(drawn(PAIRS), {"in_flight": 4.0}, {"in_flight": 9.0}), "beside a shadow leg 9.5"),
    "less load": (changed(drawn(PAIRS), {"in_flight": 2000.0}, {"in_flight": 4.0}), "beside a live leg 1,984 calls"),
    "caches": (changed(drawn(PAIRS), {"cached_tokens": 40.0}, {"cached_tokens": 0.0}), "80.0% of live's input tokens"),
    "lag": (replace(drawn(PAIRS), lag=np.full(PAIRS, 0.01)), "ms after their live legs (P95)"),
}


@pytest.mark.parametrize("what", UNLIKE)
def test_what_makes_numbers_carry_less_far_is_said(what: str) -> None:
    columns, said = UNLIKE[what]
    (warning,) = judged(columns).warnings
    assert said in warning


@pytest.mark.parametrize("what", UNLIKE)
def test_of_few_pairs_it_is_not(what: str) -> None:
    columns, _ = UNLIKE[what]
    assert judged(columns.where(np.arange(PAIRS) < 99)).warnings == ()


@pytest.mark.parametrize(
    "columns",
    [
        replace(drawn(PAIRS), prompt=of_prompts(np.arange(PAIRS) % 1200)),
        changed(drawn(PAIRS), {"in_flight": 4.0}, {"in_flight": 7.0}),
        changed(drawn(PAIRS), {"cached_tokens": 40.0}, {"cached_tokens": 39.6}),
        changed(drawn(PAIRS), {"cached_tokens": 10.0}, {"cached_tokens": 8.0}),
        replace(drawn(PAIRS), lag=np.full(PAIRS, 0.0015)),
    ],
)
def test_what_is_nearly_alike_is_no_reason_to_say_anything(columns: PairColumns) -> None:
    assert judged(columns).warnings == ()


def unknown(columns: PairColumns) -> PairColumns:
    """Return the same pairs, of which nobody knows how they were compared."""
    nothing = {"in_flight": np.nan, "cached_tokens": np.nan}
    return replace(changed(columns, nothing, nothing), lag=np.full(len(columns), np.nan), prompt=None)


@pytest.mark.parametrize("what", UNLIKE)
def test_none_of_it_changes_an_answer(what: str) -> None:
    columns, _ = UNLIKE[what]
    one, other = judged(columns), judged(unknown(columns))
    assert one.warnings != other.warnings
    assert replace(one, warnings=(), circumstances=Circumstances()) == replace(other, warnings=())


@settings(max_examples=40, deadline=None)
@given(a_batch(60))
def test_none_of_it_changes_any_answer(columns: PairColumns) -> None:
    known, nothing = judged(columns), judged(unknown(columns))
    assert (known.answer, known.findings) == (nothing.answer, nothing.findings)


def test_what_no_pair_says_is_unknown() -> None:
    assert around(unknown(drawn(100))) == Circumstances()
    assert circumstances(Ledger()) == Circumstances()


@pytest.mark.parametrize("side", ["live", "shadow"])
@pytest.mark.parametrize("field", ["in_flight", "cached_tokens"])
def test_what_one_side_alone_says_is_compared_with_nothing(side: str, field: str) -> None:
    found = around(changed(drawn(100), **{side: {field: np.nan}}))
    assert (found.load if field == "in_flight" else found.cached) is None


def test_load_is_that_of_all_compared_pairs() -> None:
    calls = np.where(np.arange(1000) % 4 == 0, 9.0, 1.0)
    columns = drawn(1000, live_errors=0, shadow_errors=0)
    found = around(changed(columns, {"in_flight": calls}, {"in_flight": 2.5})).load
    assert found is not None
    assert (found.pairs, found.live_median) == (1000, 1.0)
    means = pytest.approx([3.0, 2.5, 2.5], rel=1 / 16)
    assert [found.live_mean, found.shadow_mean, found.shadow_median] == means


def test_shares_of_caches_are_those_of_tokens_and_not_of_pairs() -> None:
    tokens = {"input_tokens": np.where(np.arange(100) < 50, 10.0, 90.0)}
    cached = np.where(np.arange(100) < 50, 10.0, 0.0)
    found = around(changed(drawn(100), {**tokens, "cached_tokens": cached}, {**tokens, "cached_tokens": 5.0})).cached
    assert found == Cached(live=0.1, shadow=0.1, pairs=100)


def test_more_cached_tokens_than_there_are_are_all_of_them() -> None:
    found = around(changed(drawn(100), {"cached_tokens": 70.0})).cached
    assert found is not None
    assert found.live == 1.0


def test_the_lag_is_held_against_the_first_chunk_and_where_there_is_no_stream_the_whole_answer() -> None:
    columns = drawn(1001, live_errors=0, shadow_errors=0)
    columns = changed(columns, {"duration": 2.0, "first_chunk": 0.5})
    lag = np.where(np.arange(1001) % 10 == 0, 0.03, 0.001)
    found = around(replace(columns, lag=lag)).lag
    assert found is not None
    assert [found.p95, found.first_answer] == pytest.approx([0.03, 0.5], rel=0.03)
    assert found.share == pytest.approx(0.06, rel=0.04)
    nothing: dict[str, Any] = {"first_chunk": np.nan}
    whole = around(replace(changed(columns, nothing, nothing), lag=lag)).lag
    assert whole is not None
    assert whole.first_answer == pytest.approx(2.0, rel=0.01)


@given(st.floats(1, 1e5))
def test_calls_in_flight_are_known_to_a_sixteenth_and_one_alone_is_one(calls: float) -> None:
    load = around(changed(drawn(1, live_errors=0, shadow_errors=0), {"in_flight": calls})).load
    assert load is not None
    assert load.live_mean == load.live_median == pytest.approx(calls, rel=1 / 8 if calls < 1.125 else 1 / 16)
    assert calls > 1 or load.live_mean == 1.0


@given(st.floats(1e-9, 1e4))
def test_a_lag_is_known_to_three_per_cent(seconds: float) -> None:
    found = around(replace(drawn(1), lag=np.array([seconds]))).lag
    assert found is not None
    assert found.p95 == pytest.approx(seconds, rel=0.03)


def test_what_is_beyond_all_bins_is_in_the_last_one() -> None:
    columns = drawn(10, live_errors=0, shadow_errors=0)
    columns = replace(changed(columns, {"in_flight": np.inf}), lag=np.full(10, 1e300))
    found = around(columns)
    assert found.load is not None
    assert found.load.live_median == calls_at(LOADS - 1)
    assert Ledger.from_bytes(ledger_of(columns).to_bytes()).pairs == 10
    assert found.lag is not None
    assert found.lag.p95 == pytest.approx(1e300, rel=0.03)
    for nothing in (np.inf, -1.0, np.nan):
        assert around(replace(drawn(10), lag=np.full(10, nothing))).lag is None
    for at_once in (0.0, -0.0):
        lag = around(replace(drawn(10), lag=np.full(10, at_once))).lag
        assert lag is not None
        assert lag.p95 < 1e-300


# --- warm-up --------------------------------------------------------------------------------------------------


def warming(columns: PairColumns, picked: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> PairColumns:
    states = np.where(picked, State.WARM_UP, columns.shadow.state).astype(np.uint8)
    return replace(columns, shadow=replace(columns.shadow, state=states))


def test_pairs_of_a_warm_up_are_counted_and_no_evidence() -> None:
    columns = drawn(3000, similarity=0.9, floor=0.9, control_ratio=1.0)
    early = columns.dispatched_ns < START_NS + 10 * MINUTE_NS
    one, other = judged(warming(columns, early)), judged(columns.where(~early))
    assert one.circumstances == replace(other.circumstances, warm_up=int(early.sum()))
    assert (one.findings, one.comparable, one.blocks) == (other.findings, other.comparable, other.blocks)
    assert (one.pairs, one.first_ns) == (3000, columns.dispatched_ns[0])
    assert one.warnings == other.warnings == ()


def test_nobody_is_alarmed_by_a_warm_up() -> None:
    columns = drawn(100, live_errors=0, shadow_errors=1.0)
    early = np.arange(100) < 30
    assert len(error_differences(warming(columns, early))) == 70


@given(a_batch(40), st.integers(0, 1000))
def test_whoever_counts_them_leaves_out_the_same_pairs(columns: PairColumns, seed: int) -> None:
    random = np.random.default_rng(seed)
    columns = warming(columns, random.random(len(columns)) < 0.4)
    cut = random.random(len(columns)) < 0.5
    merged = ledger_of(columns.where(cut))
    merged.merge(ledger_of(columns.where(~cut)))
    assert merged.to_bytes() == ledger_of(columns).to_bytes()
    assert len(fields(PairColumns)) == 9, "what is new may have to be left out, too"
