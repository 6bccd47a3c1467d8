"""
The charts of a report: records in, ``<svg>`` out.

Two legs differ in colour and in the kind of their line, so that nothing hangs on seeing colours. What a chart shows is
in a table beside it too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from shadowmesh.report import units
from shadowmesh.report.candidate import QUANTILES, Distribution, Timeline
from shadowmesh.report.finding_text import measure_words, points
from shadowmesh.report.svg import WIDTH, Ink, drawing, inline

_LIVE_LINE, _SHADOW_LINE = "-", (0, (5, 1.6))
# What a label of a quantile takes: of the height of the curves, and of the width of the axis.
_ROW, _LABEL = 0.09, 0.045


def distribution(measure: Distribution, *, title: str, name: str) -> str | None:
    """Return both legs of a measure on one logarithmic axis, in shares of their calls; ``None`` without any."""
    live, shadow = np.asarray(measure.live, float), np.asarray(measure.shadow, float)
    seen = np.flatnonzero(live + shadow)
    if not seen.size:
        return None
    first, last = max(int(seen[0]) - 1, 0), min(int(seen[-1]) + 2, len(live))
    edges = np.asarray(measure.edges)[first : last + 1]
    with drawing():
        figure = Figure(figsize=(WIDTH, 3.1))
        axes = figure.add_axes((0.06, 0.17, 0.92, 0.7))
        for counts, beyond, ink, line, label in (
            (live, measure.beyond_live, Ink.LIVE, _LIVE_LINE, "live"),
            (shadow, measure.beyond_shadow, Ink.SHADOW, _SHADOW_LINE, "shadow"),
        ):
            shares = counts[first:last] / max(counts.sum() + beyond, 1)
            axes.stairs(shares, edges, color=ink, fill=True, alpha=0.1)
            axes.stairs(shares, edges, color=ink, linewidth=1.7, linestyle=line, label=label)
        top = axes.get_ylim()[1]
        axes.set_ylim(0, top * (1.04 + _ROW * _quantile_marks(axes, measure, top, (edges[0], edges[-1]))))
        axes.set_xscale("log")
        axes.set_xlim(edges[0], edges[-1])
        _time_ticks(axes)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g} %"))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="y", linewidth=0.6)
        axes.tick_params(axis="y", length=0)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, borderpad=0)
        axes.set_title("share of calls", loc="left", fontsize=9, color=Ink.MUTED)
        return inline(figure, name=name, title=f"{title} of live and shadow", description=_spoken(measure))


def timeline(shown: Timeline, *, name: str) -> str | None:
    """Return the ratio and the difference of errors over time; ``None`` where there are not two moments to join."""
    lanes: list[tuple[str, Callable[[float], str], list[tuple[int, float]], float | None, float]] = []
    ratios = [(moment.started_ns, moment.ratio) for moment in shown.moments if moment.ratio is not None]
    errors = [(moment.started_ns, moment.errors) for moment in shown.moments if moment.errors is not None]
    if len(ratios) > 1:
        label = f"P{shown.quantile * 100:g} of {measure_words(shown.measure)}, shadow / live"
        lanes.append((label, units.ratio, ratios, shown.ratio_limit, 1.0))
    if len(errors) > 1:
        lanes.append(("errors, shadow − live", points, errors, shown.errors_limit, 0.0))
    if not lanes:
        return None
    with drawing():
        height = 0.35 + 1.75 * len(lanes)
        figure = Figure(figsize=(WIDTH, height))
        rows = figure.subplots(len(lanes), 1, squeeze=False, sharex=True)[:, 0]
        figure.subplots_adjust(left=0.075, right=0.93, top=1 - 0.3 / height, bottom=0.35 / height, hspace=0.42)
        for axes, (label, text, series, limit, equal) in zip(rows, lanes, strict=True):
            _lane(axes, label, text, series, limit, equal)
        _dates(rows[-1], [at for _, _, series, _, _ in lanes for at, _ in series])
        said = "; ".join(
            f"{label}: from {text(min(value for _, value in series))} to {text(max(value for _, value in series))}, "
            f"last {text(series[-1][1])}"
            for label, text, series, _, _ in lanes
        )
        return inline(figure, name=name, title="The comparison over time", description=said)


def daily(bars: Sequence[tuple[str, float, float, str, str]], *, name: str) -> str | None:
    """
    Return what a day would use on either side, each quantity in its own scale.

    Args:
        bars: label, live, shadow and both as text.
    """
    if not bars:
        return None
    with drawing():
        height = 0.1 + 0.78 * len(bars)
        figure = Figure(figsize=(WIDTH, height))
        rows = figure.subplots(len(bars), 1, squeeze=False)[:, 0]
        figure.subplots_adjust(left=0.15, right=0.84, top=0.98, bottom=0.02, hspace=0.3)
        for axes, (label, live, shadow, live_text, shadow_text) in zip(rows, bars, strict=True):
            longest = max(live, shadow) or 1.0
            for at, value, text, ink, hatch, side in (
                (1, live, live_text, Ink.LIVE, None, "live"),
                (0, shadow, shadow_text, Ink.SHADOW, "///", "shadow"),
            ):
                axes.barh(at, value / longest, height=0.72, color=ink, alpha=0.85 if hatch is None else 0.35)
                axes.barh(at, value / longest, height=0.72, fill=False, edgecolor=ink, linewidth=1.2)
                axes.text(value / longest + 0.01, at, f"{text}  {side}", va="center", fontsize=9.5)
            axes.set_xlim(0, 1)
            axes.set_ylim(-0.5, 1.5)
            axes.set_axis_off()
            axes.text(-0.02, 0.5, label, ha="right", va="center", fontsize=10)
        said = "; ".join(f"{label}: live {live}, shadow {shadow}" for label, _, _, live, shadow in bars)
        return inline(figure, name=name, title="A day at full traffic on either side", description=said)


def _quantile_marks(axes: Axes, measure: Distribution, top: float, shown: tuple[float, float]) -> int:
    """Mark P50 and P95 of both legs above the curves, in as many rows as keep close ones apart; return how many."""
    marks = []
    for values, ink, line in (
        (measure.live_quantiles, Ink.LIVE, _LIVE_LINE),
        (measure.shadow_quantiles, Ink.SHADOW, _SHADOW_LINE),
    ):
        for quantile, value in zip(QUANTILES, values, strict=False):
            if quantile in {0.5, 0.95} and value is not None and value > 0:
                marks.append((value, f"P{quantile * 100:g}", ink, line))
    placed: list[tuple[float, int]] = []
    # From the right, each above those it would run into: so no line goes through a label.
    for value, label, ink, line in sorted(marks, key=lambda mark: -mark[0]):
        at = math.log(value / shown[0]) / math.log(shown[1] / shown[0])
        row = max((1 + row for other, row in placed if other < at + _LABEL), default=0)
        placed.append((at, row))
        height = top * (1 + _ROW * row)
        axes.plot([value, value], [0, height + top * _ROW * 0.6], color=ink, linewidth=1, linestyle=line, alpha=0.75)
        axes.annotate(label, (value, height), xytext=(3, 0), textcoords="offset points", fontsize=9, color=ink)
    return max((1 + row for _, row in placed), default=0)


def _lane(
    axes: Axes,
    label: str,
    text: Callable[[float], str],
    series: Sequence[tuple[int, float]],
    limit: float | None,
    equal: float,
) -> None:
    at, values = [moment / 1e9 for moment, _ in series], [value for _, value in series]
    axes.axhline(equal, color=Ink.MUTED, linewidth=0.9)
    if limit is not None:
        axes.axhline(limit, color=Ink.TEXT, linewidth=1.2, linestyle=(0, (4, 2)))
        axes.annotate(
            f"limit\n{text(limit)}", (1, limit), xycoords=("axes fraction", "data"), xytext=(6, 0),
            textcoords="offset points", va="center", fontsize=9,
        )  # fmt: skip
    axes.plot(at, values, color=Ink.SHADOW, linewidth=1.5, marker="o", markersize=3 if len(at) > 40 else 4)
    low, high = min(*values, equal, limit or equal), max(*values, equal, limit or equal)
    room = (high - low or 0.1) * 0.12
    axes.set_ylim(low - room, high + room)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axes.grid(axis="y", linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_title(label, loc="left", fontsize=10, color=Ink.TEXT)


def _dates(axes: Axes, moments_ns: Sequence[int]) -> None:
    first, last = min(moments_ns) / 1e9, max(moments_ns) / 1e9
    room = (last - first) * 0.01
    axes.set_xlim(first - room, last + room)
    ticks = np.linspace(first, last, 6)
    pattern = "%H:%M:%S" if last - first < 600 else "%d %b %H:%M" if last - first < 5 * 86400 else "%d %b"
    axes.set_xticks(ticks, [datetime.fromtimestamp(tick, UTC).strftime(pattern) for tick in ticks])
    axes.tick_params(axis="x", length=2.5, labelsize=9)


def _time_ticks(axes: Axes) -> None:
    axes.xaxis.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0), numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _tick(seconds: float) -> str:
    for factor, label in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= factor * 0.999:
            return f"{seconds / factor:g} {label}"
    return f"{seconds:g} s"


def _spoken(measure: Distribution) -> str:
    parts = []
    for side, values in (("live", measure.live_quantiles), ("shadow", measure.shadow_quantiles)):
        said = (
            f"P{quantile * 100:g} {units.duration(value)}" for quantile, value in zip(QUANTILES, values, strict=False)
        )
        parts.append(f"{side}: {', '.join(said)}")
    return "; ".join(parts)
