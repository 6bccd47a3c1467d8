"""From rows to figures, what was expected of them, and what makes them doubtful (pure)."""

from __future__ import annotations

from statistics import median
from typing import Any, Final, Literal, NamedTuple

_Row = dict[str, Any]

# Of a core: more of the processor's used by others, or of the sender's by the sender, and the figures are about those.
_MOST_OTHERS = 0.05
_MOST_LOAD = 0.9


class Expectation(NamedTuple):
    """What was expected of one figure."""

    figure: str
    relation: Literal["<=", ">="]
    limit: float


EXPECTED: Final = (
    Expectation("pairs_per_s", ">=", 8000),
    Expectation("pairs_per_cpu_s", ">=", 8000),
    Expectation("bytes_per_open_pair", "<=", 2048),
    Expectation("growth_of_cost", "<=", 1.2),
)


def headline(saturation: list[_Row]) -> _Row:
    """Return the medians over the rounds, without the Collector's where it was not measured."""
    ours = [row for row in saturation if row["subject"] == "processor"]
    theirs = [row for row in saturation if row["subject"] == "collector"]
    pairs, cost = _median(ours, "pairs_per_s"), _median(ours, "cpu_us_per_pair")
    figures = {
        "pairs_per_s": round(pairs),
        "spans_per_s": round(2 * pairs),
        "pairs_per_cpu_s": round(1e6 / cost),
        "cpu_us_per_pair": cost,
    }
    if theirs:
        their_pairs, their_cost = _median(theirs, "pairs_per_s"), _median(theirs, "cpu_us_per_pair")
        figures |= {
            "collector_spans_per_s": round(2 * their_pairs),
            "collector_spans_per_cpu_s": round(2e6 / their_cost),
            "ratio": round(pairs / their_pairs, 3),
            "ratio_cpu": round(their_cost / cost, 3),
        }
    return figures


def expectations(report: _Row) -> list[_Row]:
    """Return every expectation with what was measured and whether that meets it."""
    costs = [row["cpu_us_per_pair"] for row in report["growth"]]
    measured = {**report, "growth_of_cost": round(costs[-1] / costs[0], 3)}
    return [
        {
            **expected._asdict(),
            "value": (value := measured[expected.figure]),
            "met": value >= expected.limit if expected.relation == ">=" else value <= expected.limit,
        }
        for expected in EXPECTED
    ]


def notes(report: _Row) -> list[str]:
    """Return what a reader must know before believing a figure."""
    rows = [*report["saturation"], *report["load"], *report["growth"]]
    others, load = (max(row[name] for row in rows) for name in ("others_on_core", "load_busy"))
    found = []
    if "ratio" not in report:
        found.append("the Collector was not measured: the stack is not built (make stack)")
    if others > _MOST_OTHERS:
        found.append(f"others used up to {others:.0%} of the processor's core: read the figures per CPU time")
    if load > _MOST_LOAD:
        found.append(f"the sender used {load:.0%} of a core: it may be what was measured")
    return found + [
        f"at {row['rate']} pairs/s {row['refused']} requests were told to come again"
        for row in report["load"]
        if row["refused"]
    ]


def _median(rows: list[_Row], name: str) -> float:
    return float(median(row[name] for row in rows))
