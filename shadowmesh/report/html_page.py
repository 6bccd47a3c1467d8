"""
A report as one HTML file: styles and charts are in it, nothing is fetched, no script runs.

Whatever comes from the wire is hostile: Jinja escapes it, :mod:`~shadowmesh.report.wire_text` takes out what moves text
about, and a content security policy forbids all that is not a style of the page itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from shadowmesh.report import charts
from shadowmesh.report.candidate import QUANTILES, CandidateReport, Report
from shadowmesh.report.daily_use import day
from shadowmesh.report.finding_text import measure_words
from shadowmesh.report.html_filters import FILTERS
from shadowmesh.report.interval_chart import intervals
from shadowmesh.report.wire_text import one_line
from shadowmesh.verdict.records import Finding, Gate, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The charts of one candidate; ``None`` where there is nothing to draw."""

    criteria: Markup | None
    distributions: tuple[Markup | None, ...]
    timeline: Markup | None
    daily: Markup | None


def page(report: Report) -> str:
    """Return the whole page."""
    environment = _environment()
    return environment.get_template("report.html").render(
        report=report,
        title=_title(report),
        style=Markup(_style()),  # noqa: S704 - our own file
        drawn=[_drawn(one, number) for number, one in enumerate(report.candidates, 1)],
        QUANTILES=QUANTILES,
    )


def _title(report: Report) -> str:
    if len(report.candidates) == 1:
        return f"May {one_line(report.candidates[0].verdict.key.target)} go live?"
    return "May the candidates go live?"


def _drawn(one: CandidateReport, number: int) -> Drawn:
    return Drawn(
        criteria=_markup(intervals(_charted(one.verdict.findings), name=f"criteria-{number}")),
        distributions=tuple(
            _markup(
                charts.distribution(
                    measure, title=measure_words(measure.name).capitalize(), name=f"latency-{number}-{place}"
                )
            )
            for place, measure in enumerate(one.distributions, 1)
        ),
        timeline=_markup(charts.timeline(one.timeline, name=f"time-{number}") if one.timeline is not None else None),
        daily=_markup(charts.daily([row[:5] for row in day(one.use).rows], name=f"day-{number}")),
    )


def _charted(findings: Sequence[Finding]) -> list[Finding]:
    """Return what the chart shows: criteria of everything, for strata and guards would make it a wall."""
    return [
        finding
        for finding in findings
        if finding.gate is Gate.CRITERION and finding.result is not Result.OFF and not finding.stratum
    ]


def _markup(drawing: str | None) -> Markup | None:
    return Markup(drawing) if drawing else None  # noqa: S704 - from our own drawing, which escapes text


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("shadowmesh.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return environment


@cache
def _style() -> str:
    return files("shadowmesh.report").joinpath("templates/report.css").read_text(encoding="utf-8").strip()
