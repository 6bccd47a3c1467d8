"""The chart of criteria: each one's interval against its limit, in colour, sign and word."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from shadowmesh.report.finding_text import SIGNS, interval_of, is_floor, is_share, text_of, title_of
from shadowmesh.report.svg import WIDTH, Ink, drawing, inline
from shadowmesh.verdict.records import Finding, Result

_COLOURS = {Result.PASS: Ink.PASS, Result.FAIL: Ink.FAIL, Result.NOT_YET: Ink.WAIT, Result.OFF: Ink.MUTED}
# How far is shown beyond estimate and limit, in their distance: an interval that says nothing yet is cut there.
_REACH = 1.5


def intervals(findings: Sequence[Finding], *, name: str) -> str | None:
    """
    Return each finding's interval against its limit, a scale each; ``None`` where none has both.

    The side on which a criterion passes is shaded.
    """
    shown = [
        (finding, *finding.interval, finding.limit)
        for finding in findings
        if finding.interval is not None and finding.limit is not None
    ]
    if not shown:
        return None
    with drawing():
        height = 0.2 + 0.72 * len(shown)
        figure = Figure(figsize=(WIDTH, height))
        rows = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
        figure.subplots_adjust(left=0.235, right=0.86, top=1 - 0.1 / height, bottom=0.3 / height, hspace=1.25)
        for axes, (finding, low, high, limit) in zip(rows, shown, strict=True):
            _row(axes, finding, low=low, high=high, limit=limit)
        said = "; ".join(
            f"{title_of(finding)}: {finding.result.replace('_', ' ')}, {text_of(finding, finding.estimate)}, "
            f"{interval_of(finding)}, limit {text_of(finding, finding.limit)}"
            for finding, *_ in shown
        )
        return inline(figure, name=name, title="Criteria: estimate and interval against the limit", description=said)


def _row(axes: Axes, finding: Finding, *, low: float, high: float, limit: float) -> None:
    estimate = finding.estimate
    near = [limit] + ([estimate] if estimate is not None and math.isfinite(estimate) else [])
    reach = max(max(near) - min(near), abs(limit) * 0.15, 0.002) * _REACH
    left, right = min(near) - reach, max(near) + reach
    # A bar that fits is shown whole.
    left, right = _stretch(low, left, reach, -1), _stretch(high, right, reach, 1)
    room = (right - left) * 0.03
    left, right = left - room, right + room
    if is_share(finding):
        left, right = max(left, 0.0), min(right, 1.0)
    elif finding.name.startswith("latency."):
        # No ratio is below 0.
        left = max(left, 0.0)
    axes.set_xlim(left, right)
    axes.set_ylim(0, 1)
    ink = _COLOURS[finding.result]
    good = (limit, right) if is_floor(finding) else (left, limit)
    axes.axvspan(*good, color=Ink.PASS, alpha=0.09, linewidth=0)
    axes.axvline(limit, color=Ink.TEXT, linewidth=1.3, linestyle=(0, (4, 2)))
    axes.plot([max(low, left), min(high, right)], [0.5, 0.5], color=ink, linewidth=5, solid_capstyle="butt", alpha=0.6)
    for end, edge, arrow in ((low, left, "<"), (high, right, ">")):
        if (end < edge) if arrow == "<" else (end > edge):
            axes.plot([edge], [0.5], marker=arrow, color=ink, markersize=8)
    if estimate is not None and left <= estimate <= right:
        axes.plot(
            [estimate], [0.5], marker="o", markersize=8, color=ink, markeredgecolor=Ink.PAPER, markeredgewidth=1.2
        )
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: text_of(finding, value)))
    axes.tick_params(axis="x", length=2.5, labelsize=8.5)
    axes.text(-0.02, 0.5, title_of(finding), transform=axes.transAxes, ha="right", va="center", fontsize=10.5)
    axes.text(
        1.02,
        0.5,
        f"{SIGNS[finding.result]} {finding.result.replace('_', ' ')}",
        transform=axes.transAxes,
        ha="left",
        va="center",
        fontsize=10.5,
        color=ink,
        weight="bold",
    )


def _stretch(end: float, edge: float, reach: float, side: int) -> float:
    """Return how far to show so that an end of an interval is seen, but no further than a few times the rest."""
    if not math.isfinite(end) or side * (end - edge) <= 0 or side * (end - edge) > 2 * reach:
        return edge
    return end
