"""What a day uses."""

from __future__ import annotations

from shadowmesh.report.candidate import DailyUse, PerCall
from shadowmesh.report.daily_use import Day, day, quantity

LIVE = PerCall(input_tokens=800.0, output_tokens=200.0, cost=0.002)
SHADOW = PerCall(input_tokens=800.0, output_tokens=210.0, cost=0.0015)


def test_a_day_is_what_a_call_uses_times_its_calls() -> None:
    shown = day(DailyUse(calls_per_day=1_000_000.0, live=LIVE, shadow=SHADOW, pairs=9, currency="USD"))
    assert shown.per == "a day, 1.00 M calls"
    assert [(row.label, row.live, row.shadow) for row in shown.rows] == [
        ("input tokens", 800e6, 800e6),
        ("output tokens", 200e6, 210e6),
        ("cost", 2000.0, 1500.0),
    ]
    assert [row.difference for row in shown.rows] == ["0", "+10.0 M (+5.0%)", "−$500.00 (−25.0%)"]
    assert shown.saving == "Switching would save about $500.00 a day (25.0%)."


def test_a_dearer_candidate_is_said_to_cost_more() -> None:
    shown = day(DailyUse(calls_per_day=1e6, live=SHADOW, shadow=LIVE, pairs=9, currency="EUR"))
    assert shown.saving == "Switching would cost about 500.00 EUR a day more (33.3%)."


def test_without_a_rate_it_is_a_thousand_calls() -> None:
    shown = day(DailyUse(calls_per_day=None, live=LIVE, shadow=SHADOW, pairs=9, currency="USD"))
    assert shown.per == "1,000 calls"
    assert shown.saving == "Switching would save about $0.500 per 1,000 calls (25.0%)."


def test_cost_of_one_side_alone_is_no_saving() -> None:
    shown = day(DailyUse(calls_per_day=1e6, live=LIVE, shadow=PerCall(output_tokens=1.0), pairs=9, currency="USD"))
    assert [row.label for row in shown.rows] == ["output tokens"]
    assert shown.saving == ""
    assert "unknown" in shown.notes[-1]


def test_a_free_live_model_has_no_percentage() -> None:
    free = PerCall(cost=0.0)
    shown = day(DailyUse(calls_per_day=1e6, live=free, shadow=LIVE, pairs=9, currency="USD"))
    assert shown.saving == "Switching would cost about $2,000.00 a day more."
    assert day(DailyUse(calls_per_day=1e6, live=free, shadow=free, pairs=9, currency="USD")).saving.endswith(
        "the cost."
    )


def test_of_nothing_known_nothing_is_shown() -> None:
    assert day(None) == Day()
    assert day(DailyUse(calls_per_day=1.0, live=PerCall(), shadow=PerCall(), pairs=0)) == Day()


def test_large_numbers_have_three_figures() -> None:
    assert [quantity(value) for value in (0, 999, 1234, 12_345, 123_456, 4.567e6, 8e9, 2e12)] == [
        *("0", "999", "1.23 k", "12.3 k", "123 k", "4.57 M", "8.00 G", "2.00 T")
    ]
