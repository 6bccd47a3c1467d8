import io

import pytest
from rich.console import Console, RenderableType

from shadowmesh.report import terminal
from shadowmesh.report.records import CheckCounts, CostRow, Funnel, Group, MetricRow, Quantiles

FUNNEL = Funnel(
    experiment="demo",
    target="trigram",
    eligible=200,
    decisions={"mirrored": 150, "not_sampled": 40, "dropped": 10},
    drop_reasons={"concurrency_limit": 9, "queue_full": 1},
    outcomes={"matched": 145, "live_only": 5, "not_comparable": 10},
)


def text_of(drawn: RenderableType, *, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(drawn)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def row(name: str = "duration", unit: str = "s", scale: float = 1.0) -> MetricRow:
    return MetricRow(
        name=name,
        unit=unit,
        pairs=82,
        live=Quantiles(0.1013 * scale, 0.1823 * scale),
        shadow=Quantiles(0.1302 * scale, 0.2207 * scale),
        ratio=Quantiles(1.28, 12.5),
        delta=Quantiles(0.0291 * scale, -0.0802 * scale),
    )


def test_the_funnel_shows_every_decision_and_outcome_and_that_they_add_up() -> None:
    drawn = text_of(terminal.funnel(FUNNEL))
    for line in (
        "200  eligible exchanges",
        "40  not sampled",
        "10  dropped",
        "9  concurrency limit",
        "150  mirrored",
        "160  pairs",
        "145  matched",
        "0  lost",
    ):
        assert line in drawn
    assert "adds up: 200 = 40 + 10 + 150 exchanges, 160 = 145 + 5 + 0 + 10 + 0 pairs" in drawn
    assert "disabled" not in drawn


@pytest.mark.parametrize(
    ("wrong", "gap"),
    [
        ({"eligible": 203}, "3 without a decision"),
        ({"eligible": 199}, "-1 without a decision"),
        ({"outcomes": {"matched": 158}}, "2 lost"),
    ],
)
def test_a_funnel_that_does_not_add_up_says_by_how_much(wrong: dict[str, object], gap: str) -> None:
    fields = {
        "experiment": "demo",
        "target": "trigram",
        "eligible": 200,
        "decisions": FUNNEL.decisions,
        "outcomes": FUNNEL.outcomes,
    }
    account = Funnel(**(fields | wrong))  # type: ignore[arg-type]
    assert not account.adds_up
    assert f"does not add up ({gap})" in text_of(terminal.funnel(account), width=120)


def test_an_empty_funnel_is_drawn_as_zeros() -> None:
    empty = Funnel(experiment="demo", target="trigram", eligible=0, decisions={})
    assert "adds up: 0 = 0 + 0 + 0 exchanges" in text_of(terminal.funnel(empty))


def test_a_row_has_both_quantiles_of_all_four_sides_in_one_unit() -> None:
    group = Group(name="unary", pairs=82, rows=(row(),), cost=CostRow(live=None, shadow=None, currency=None))
    drawn = text_of(terminal.comparison([group]))
    assert "unary (82)" in drawn
    latency = next(line for line in drawn.splitlines() if "latency" in line)
    assert latency.split() == ["latency", "ms", "101.3", "182.3", "130.2", "220.7", "1.28", "12.5", "+29.1", "−80.2"]


def test_what_was_not_measured_is_a_dash() -> None:
    nothing = MetricRow(name="duration", unit="s", pairs=0, live=None, shadow=None, ratio=None, delta=None)
    group = Group(name="unary", pairs=1, rows=(nothing,), cost=CostRow(live=None, shadow=None, currency=None))
    drawn = text_of(terminal.comparison([group]))
    assert drawn.count("–") == 8


def test_unknown_cost_is_unknown_and_a_known_side_is_still_shown() -> None:
    group = Group(name="unary", pairs=1, rows=(), cost=CostRow(live=0.0158, shadow=None, currency="USD"))
    line = text_of(terminal.costs([group])).splitlines()[-1]
    assert line.split() == ["unary", "$0.0158", "unknown", "unknown", "unknown"]


def test_checks_are_named_in_words() -> None:
    counts = [CheckCounts(name="output_exact", match=3, mismatch=2, not_comparable=1)]
    assert text_of(terminal.checks(counts)).splitlines()[-1].split()[-3:] == ["3", "2", "1"]


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 40.0])
def test_everything_fits_80_columns_uncut_and_without_colour(scale: float) -> None:
    rows = (
        row("duration", "s", scale),
        row("time_to_first_chunk", "s", scale),
        row("time_per_output_token", "s", scale),
        row("output_tokens", "{token}", 9000),
        row("output_rate", "{token}/s", 9000),
    )
    cost = CostRow(live=1234.5, shadow=2345.6, currency="EUR")
    group = Group(name="streaming", pairs=123_456, rows=rows, cost=cost)
    for drawn in (terminal.comparison([group]), terminal.costs([group]), terminal.funnel(FUNNEL)):
        text = text_of(drawn)
        assert max(map(len, text.splitlines())) <= 80
        assert "…" not in text
        assert "\x1b" not in text
