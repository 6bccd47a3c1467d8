"""A finding's name and its numbers as people say them."""

from __future__ import annotations

import math
from collections.abc import Callable

from shadowmesh.report import units
from shadowmesh.verdict.records import Answer, Finding, Gate, Result, Verdict

_MEASURES = {
    "duration": "latency",
    "time_to_first_chunk": "time to first chunk",
    "time_per_output_token": "time per output token",
    "per_token": "time per output token",
    "first_chunk": "time to first chunk",
}
_TITLES = {
    "similarity": "output similarity",
    "exact": "equal outputs",
    "judge": "judge win rate",
    "coverage": "pairs compared",
    "sample_ratio": "sample ratio",
}
_FLOORS = ("similarity", "exact", "judge", "coverage")
NOTHING = "\N{EN DASH}"
SIGNS = {
    Result.PASS: "\N{CHECK MARK}",
    Result.FAIL: "\N{MULTIPLICATION X}",
    Result.NOT_YET: "\N{HORIZONTAL ELLIPSIS}",
    Result.OFF: NOTHING,
}
"""Before a result, so that it is not told by colour alone."""


def measure_words(measure: str) -> str:
    """Return a measure of latency as people say it."""
    return _MEASURES.get(measure, measure.replace("_", " "))


def title_of(finding: Finding) -> str:
    """Return what a finding is about: ``P95 latency``, ``guard: numbers``; its stratum is not in it."""
    head, _, rest = finding.name.partition(".")
    if head == "latency" and rest:
        measure, _, quantile = rest.partition(".")
        return f"{quantile.upper()} {measure_words(measure)}".strip()
    if head == "control" and rest:
        measure, _, quantile = rest.partition(".")
        return f"live again: {quantile.upper()} {measure_words(measure)}".strip()
    if head == "guard" and rest:
        return f"guard: {rest.replace('_', ' ')}"
    return _TITLES.get(finding.name, finding.name.replace("_", " ").replace(".", " "))


def because(verdict: Verdict, title: Callable[[Finding], str]) -> str:
    """
    Return why the answer is what it is; where that is for several findings, only their names: each says its own.

    Args:
        title: how a finding is called where this stands.
    """
    telling = {Answer.NO_GO: Result.FAIL, Answer.NOT_YET: Result.NOT_YET}.get(verdict.answer)
    # A guard that is open holds nothing up.
    gates = (Gate.CRITERION, Gate.GUARD) if verdict.answer is Answer.NO_GO else (Gate.CRITERION,)
    deciding = [one for one in verdict.findings if one.result is telling and one.gate in gates]
    if not deciding:
        return verdict.reason
    if verdict.answer is Answer.NOT_YET and len(deciding) == 1:
        return f"{title(deciding[0])}: {deciding[0].detail}"
    what = "worse than allowed" if verdict.answer is Answer.NO_GO else "still open"
    named = (f"{title(one)} in {method_of(one)}" if one.stratum else title(one) for one in deciding)
    return f"{what}: {', '.join(named)}"


def method_of(finding: Finding) -> str:
    """Return the name of the method that was asked alone, without its service."""
    return finding.stratum.rpartition("/")[2]


def is_floor(finding: Finding) -> bool:
    """Tell whether what is above the limit passes; of the others it is what is below."""
    return finding.name.partition(".")[0] in _FLOORS


def is_share(finding: Finding) -> bool:
    """Tell whether its numbers are shares, from 0 to 1."""
    return is_floor(finding) and finding.unit == "1" and finding.name != "coverage"


def text_of(finding: Finding, value: float | None) -> str:
    """Return one of a finding's numbers with its unit: ×1.20, +0.50 pp, 95.0 %, 10,000."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "\N{INFINITY}" if value > 0 else "\N{MINUS SIGN}\N{INFINITY}"
    head = finding.name.partition(".")[0]
    if head == "latency":
        return units.ratio(value)
    if head in {"errors", "guard"}:
        return points(value)
    if head == "coverage" or finding.unit not in {"1", ""}:
        return f"{value:,.0f}"
    return f"{value * 100:.1f} %"


def interval_of(finding: Finding) -> str:
    """Return the interval as text; a dash without one."""
    if finding.interval is None:
        return NOTHING
    low, high = finding.interval
    return f"{text_of(finding, low)} to {text_of(finding, high)}"


def points(value: float) -> str:
    """Return a difference of shares in percentage points."""
    scaled = round(value * 100, 2)
    sign = "\N{MINUS SIGN}" if scaled < 0 else "+" if scaled > 0 else ""
    return f"{sign}{abs(scaled):.2f} pp"
