"""What a pair shows: outcome, changes, checks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.legs import lasting, live, shadow, usage

from shadowmesh.compare.comparison import compare
from shadowmesh.model import Change, ChunkGaps, Comparison, Cost, Leg, Pair
from shadowmesh.names import Check


def comparison(live_leg: Leg | None, shadow_leg: Leg | None) -> Comparison:
    return compare(Pair(pair_id="p1", target="candidate", live=live_leg, shadow=shadow_leg))


def dollars(amount: float, currency: str = "USD") -> Cost:
    return Cost(amount=amount, currency=currency, source="provider")


def test_two_successful_legs_are_matched_and_every_known_quantity_is_a_change() -> None:
    shown = comparison(
        live(**lasting(0.25), time_to_first_chunk=0.1, fields=usage(10, 40), cost=dollars(0.5)),
        shadow(**lasting(0.5), time_to_first_chunk=0.05, fields=usage(10, 60), cost=dollars(0.25)),
    )
    assert shown.outcome == "matched"
    assert shown.duration == Change(live=0.25, shadow=0.5, delta=0.25, ratio=2)
    assert shown.time_to_first_chunk == Change(live=0.1, shadow=0.05, delta=-0.05, ratio=0.5)
    assert shown.input_tokens == Change(live=10, shadow=10, delta=0, ratio=1)
    assert shown.output_tokens == Change(live=40, shadow=60, delta=20, ratio=1.5)
    assert (shown.cost, shown.currency) == (Change(live=0.5, shadow=0.25, delta=-0.25, ratio=0.5), "USD")


@pytest.mark.parametrize(
    ("live_leg", "shadow_leg", "outcome"),
    [(live(), None, "live_only"), (None, shadow(), "shadow_only")],
)
def test_a_missing_side_is_its_own_outcome(live_leg: Leg | None, shadow_leg: Leg | None, outcome: str) -> None:
    assert comparison(live_leg, shadow_leg) == Comparison(outcome=outcome)


@pytest.mark.parametrize(
    "inconclusive",
    [
        {"end": "shed", "status": None, "drop_reason": "queue_full"},
        {"end": "cut", "complete": False},
        {"end": "cancelled", "status": "CANCELLED", "complete": False},
        {"status": None},
    ],
    ids=["shed", "cut", "cancelled", "unknown status"],
)
@pytest.mark.parametrize("side", ["live", "shadow"])
def test_a_leg_whose_backend_never_had_its_say_cannot_be_compared(side: str, inconclusive: dict[str, Any]) -> None:
    shown = comparison(
        live(**(inconclusive if side == "live" else {})), shadow(**(inconclusive if side == "shadow" else {}))
    )
    assert shown.outcome == "not_comparable"
    assert shown.matches == dict.fromkeys(Check, None)
    assert shown.duration is None


@pytest.mark.parametrize(
    "failure",
    [
        {"status": "INTERNAL", "complete": False},
        {"status": "DEADLINE_EXCEEDED", "end": "deadline", "complete": False},
        {"status": "UNAVAILABLE"},
        # The backend itself may answer with CANCELLED; that is its say.
        {"status": "CANCELLED"},
    ],
)
def test_a_failed_shadow_is_a_result_and_gains_nothing_by_failing_fast(failure: dict[str, Any]) -> None:
    shown = comparison(
        live(fields=usage(10, 40), cost=dollars(1)),
        shadow(**{**lasting(0.001), "fields": usage(10, 1), "cost": dollars(0.01), **failure}),
    )
    assert shown.outcome == "matched"
    assert shown.matches[Check.STATUS_CODE] is False
    assert (shown.duration, shown.output_tokens, shown.cost, shown.currency) == (None, None, None, None)


def test_two_legs_that_fail_alike_match_and_are_not_measured() -> None:
    shown = comparison(live(status="NOT_FOUND"), shadow(status="NOT_FOUND"))
    assert shown.outcome == "matched"
    assert shown.matches[Check.STATUS_CODE] is True
    assert shown.duration is None


def test_durations_are_each_legs_own_and_leave_out_a_slow_clients_stall() -> None:
    shown = comparison(live(**lasting(1.0), write_stall=0.5), shadow(**lasting(0.5)))
    assert shown.duration == Change(live=0.5, shadow=0.5, delta=0, ratio=1)


def test_what_one_side_does_not_say_is_unknown() -> None:
    shown = comparison(
        live(fields=usage(None, 40, finish_reasons=("stop",)), cost=dollars(1), time_to_first_chunk=0.1),
        shadow(fields=usage(10, None), output_digest="d"),
    )
    assert (shown.time_to_first_chunk, shown.input_tokens, shown.output_tokens, shown.cost) == (None,) * 4
    assert shown.matches == {Check.STATUS_CODE: True, Check.FINISH_REASON: None, Check.OUTPUT_EXACT: None}


@pytest.mark.parametrize(("digest", "reasons", "equal"), [("a", ("stop",), True), ("b", ("length",), False)])
def test_checks_are_equality_of_what_both_sides_say(digest: str, reasons: tuple[str, ...], *, equal: bool) -> None:
    shown = comparison(
        live(output_digest="a", fields=usage(1, 1, finish_reasons=("stop",))),
        shadow(output_digest=digest, fields=usage(1, 1, finish_reasons=reasons)),
    )
    assert shown.matches == {
        Check.STATUS_CODE: True,
        Check.FINISH_REASON: equal,
        Check.OUTPUT_EXACT: equal,
    }


def stream(seconds: float, first: float, tokens: int, p95: float, longest: float, stalls: int) -> dict[str, Any]:
    return {
        **lasting(seconds),
        "time_to_first_chunk": first,
        "chunk_gaps": ChunkGaps(p50=0.01, p95=p95, max=longest),
        "stall_count": stalls,
        "fields": usage(10, tokens),
    }


def test_the_shape_of_two_streams_is_compared() -> None:
    shown = comparison(live(**stream(1.0, 0.5, 5, 0.1, 0.25, 0)), shadow(**stream(2.0, 1.0, 5, 0.2, 1.5, 1)))
    assert shown.time_per_output_token == Change(live=0.125, shadow=0.25, delta=0.125, ratio=2)
    assert shown.output_rate == Change(live=10, shadow=5, delta=-5, ratio=0.5)
    assert shown.chunk_gap_p95 == Change(live=0.1, shadow=0.2, delta=0.1, ratio=2)
    assert shown.chunk_gap_max == Change(live=0.25, shadow=1.5, delta=1.25, ratio=6)
    assert shown.stall_count == Change(live=0, shadow=1, delta=1, ratio=None)


def test_gaps_that_a_slow_client_made_are_not_compared_and_what_he_did_not_make_is() -> None:
    slow = live(**stream(1.5, 0.5, 5, 0.6, 0.6, 1), write_stall=0.5)
    shown = comparison(slow, shadow(**stream(1.0, 0.5, 5, 0.1, 0.1, 0)))
    assert (shown.chunk_gap_p95, shown.chunk_gap_max, shown.stall_count) == (None, None, None)
    assert shown.output_rate == Change(live=10, shadow=10, delta=0, ratio=1)


@pytest.mark.parametrize("side", ["live", "shadow"])
def test_without_two_streams_there_is_no_shape_to_compare(side: str) -> None:
    one, whole = {"fields": usage(10, 5)}, stream(1.0, 0.5, 5, 0.1, 0.2, 0)
    shown = comparison(live(**(one if side == "live" else whole)), shadow(**(one if side == "shadow" else whole)))
    shapes = (
        shown.time_per_output_token,
        shown.output_rate,
        shown.chunk_gap_p95,
        shown.chunk_gap_max,
        shown.stall_count,
    )
    assert shapes == (None,) * 5


def test_money_of_two_currencies_is_never_compared() -> None:
    shown = comparison(live(cost=dollars(1)), shadow(cost=dollars(1, "EUR")))
    assert (shown.cost, shown.currency) == (None, None)


@given(st.floats(min_value=0, max_value=1e300), st.floats(min_value=0, max_value=1e300))
def test_a_ratio_is_a_finite_number_or_none_and_none_at_live_zero(before: float, after: float) -> None:
    change = comparison(live(cost=dollars(before)), shadow(cost=dollars(after))).cost
    assert change is not None
    assert change.delta == after - before
    if change.ratio is not None:
        assert change.ratio == after / before
    else:
        assert before == 0 or before < 1
