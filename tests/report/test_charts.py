"""Charts: what they say in words, what they leave out, and that they take their colours from the page."""

from __future__ import annotations

import re
from dataclasses import replace
from math import inf

import pytest
from support.reports import FINDINGS, distribution, timeline

from shadowmesh.report import charts
from shadowmesh.report.candidate import Distribution, Moment, Timeline
from shadowmesh.report.interval_chart import intervals

LATENCY, ERRORS, SIMILARITY = FINDINGS[:3]


def description(drawing: str | None) -> str:
    assert drawing is not None
    found = re.search(r"<desc[^>]*>(.*?)</desc>", drawing, re.DOTALL)
    assert found is not None
    return found[1]


def test_colours_are_variables_of_the_page_and_fonts_are_its_own() -> None:
    for drawing in (
        intervals(FINDINGS, name="a"),
        charts.distribution(distribution(), title="Latency", name="b"),
        charts.timeline(timeline(), name="c"),
        charts.daily([("cost", 2.0, 1.0, "$2", "$1")], name="d"),
    ):
        assert drawing is not None
        assert set(re.findall(r"#[0-9a-f]{6}\b", drawing)) <= {"#000000"}
        assert "font-family" not in drawing
        assert "var(--live)" in drawing or "var(--shadow)" in drawing or "var(--pass)" in drawing
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", drawing)


def test_criteria_without_an_interval_or_a_limit_are_not_drawn() -> None:
    assert intervals([replace(LATENCY, interval=None), replace(ERRORS, limit=None)], name="a") is None
    assert description(intervals(FINDINGS[:5], name="a")).count("limit") == 3


def test_criteria_are_told_in_words() -> None:
    assert description(intervals([LATENCY, ERRORS], name="a")) == (
        "P95 latency: PASS, ×1.07, ×1.03 to ×1.12, limit ×1.20; "
        "errors: NOT YET, +0.11 pp, −0.09 pp to +0.56 pp, limit +0.50 pp"
    )


@pytest.mark.parametrize("interval", [(-inf, inf), (0.0, inf), (1.3, 1e9), (0.2, 0.3)])
@pytest.mark.parametrize("estimate", [None, 1.1, 0.0, 50.0])
def test_an_interval_of_any_kind_can_be_drawn(interval: tuple[float, float], estimate: float | None) -> None:
    assert intervals([replace(LATENCY, interval=interval, estimate=estimate)], name="a") is not None


def test_no_ratio_below_zero_is_on_an_axis() -> None:
    drawn = intervals([replace(LATENCY, interval=(0.0, 5.0), estimate=2.5, limit=0.2)], name="a")
    assert drawn is not None
    assert "×\N{MINUS SIGN}" not in drawn
    assert "\N{MINUS SIGN}×" not in drawn
    assert not re.search(r">[^<]*\N{MINUS SIGN}[^<]*</text>", drawn)


def heights(drawing: str | None, label: str) -> list[float]:
    """Return how far down the page each label of this text stands."""
    assert drawing is not None
    return [float(y) for y in re.findall(rf"translate\([\d.]+ ([\d.]+)\)[^>]*>{label}</text>", drawing)] or [
        float(y) for y in re.findall(rf'<text[^>]* y="([\d.]+)"[^>]*>{label}</text>', drawing)
    ]


def test_labels_of_quantiles_that_are_close_stand_in_rows_of_their_own() -> None:
    near = replace(distribution(), live_quantiles=(0.4, 0.5, 0.6, 0.7), shadow_quantiles=(0.41, 0.5, 0.61, 0.7))
    far = replace(near, live_quantiles=(0.1, 0.2, 0.3, 0.4), shadow_quantiles=(0.6, 0.9, 2.0, 3.0))
    for measure, rows in ((near, 2), (far, 1)):
        drawn = charts.distribution(measure, title="Latency", name="a")
        assert [len(set(heights(drawn, label))) for label in ("P50", "P95")] == [rows, rows]


def test_without_figures_there_is_no_distribution() -> None:
    assert (
        charts.distribution(Distribution(name="duration", edges=(1, 2), live=(0,), shadow=(0,)), title="", name="a")
        is None
    )


def test_one_leg_alone_is_drawn() -> None:
    alone = Distribution(name="duration", edges=(0.1, 0.2, 0.4), live=(3, 0), shadow=(0, 0), live_quantiles=(0.1,) * 4)
    assert description(charts.distribution(alone, title="Latency", name="a")).startswith("live: P50 100.0 ms")


def test_a_course_needs_two_moments() -> None:
    one, other = Moment(0, 9, 1.1, 0.0), Moment(60 * 10**9, 9, None, 0.0)
    assert charts.timeline(Timeline(moments=(one,)), name="a") is None
    drawn = charts.timeline(Timeline(moments=(one, other)), name="a")
    assert description(drawn) == "errors, shadow − live: from 0.00 pp to 0.00 pp, last 0.00 pp"


def test_a_day_that_uses_nothing_can_be_drawn() -> None:
    assert charts.daily([], name="a") is None
    assert charts.daily([("cost", 0.0, 0.0, "$0", "$0")], name="a") is not None
