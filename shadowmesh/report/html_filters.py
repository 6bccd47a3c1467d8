"""How the page writes records: the filters of its templates, each from a value to text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from shadowmesh.report import units
from shadowmesh.report.candidate_text import funnel_rows, load_words, moment, needed, percent, step, trouble, words
from shadowmesh.report.circumstances_text import facts
from shadowmesh.report.daily_use import day
from shadowmesh.report.finding_text import NOTHING, SIGNS, because, interval_of, measure_words, text_of, title_of
from shadowmesh.report.wire_text import many_lines, one_line
from shadowmesh.verdict.records import Answer, Finding, Gate, Result

_ANSWERS = {Answer.GO: Result.PASS, Answer.NO_GO: Result.FAIL, Answer.NOT_YET: Result.NOT_YET}


def evidence(finding: Finding) -> Markup:
    """Return log evidence on either side against what is needed; a dash where neither is asked for."""
    sides = (
        ("pass", finding.evidence, finding.threshold),
        ("fail", finding.evidence_against, finding.threshold_against),
    )
    said = [
        Markup("<div>{} {} of {}</div>").format(side, _figure(value), _figure(threshold))
        for side, value, threshold in sides
        if value is not None and threshold is not None
    ]
    return Markup("").join(said) or Markup(NOTHING)  # noqa: S704 - a dash of ours


def _figure(value: float) -> str:
    if value == float("inf"):
        return "\N{INFINITY}"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"
    return text.replace("-", "\N{MINUS SIGN}")


def _sign(result: str) -> str:
    return SIGNS[_ANSWERS[Answer(result)] if result in set(Answer) else Result(result)]


def _over(live: float | None, shadow: float | None) -> str:
    return units.ratio(shadow / live) if live and shadow is not None else NOTHING


def _wire(text: str, most: int = 160) -> Markup:
    """Return text of the wire, escaped and in a direction of its own."""
    return Markup("<bdi>{}</bdi>").format(one_line(text, most)) if text else Markup("")


def _status(status: str) -> Markup:
    return _wire(status) if status else Markup('<span class="muted">unknown</span>')


def _gated(findings: Sequence[Finding], gate: str) -> list[Finding]:
    return [finding for finding in findings if finding.gate is Gate(gate)]


FILTERS: Mapping[str, Callable[..., Any]] = {
    "because": lambda verdict: because(verdict, title_of),
    "count": lambda number: f"{number:,}",
    "day": day,
    "duration": lambda seconds: NOTHING if seconds is None else units.duration(seconds),
    "evidence": evidence,
    "facts": facts,
    "funnel_rows": funnel_rows,
    "gated": _gated,
    "interval": interval_of,
    "load": load_words,
    "measure": measure_words,
    "moment": moment,
    "needed": needed,
    "number": text_of,
    "over": _over,
    "percent": percent,
    "sign": _sign,
    "status": _status,
    "step": step,
    "text": many_lines,
    "title": title_of,
    "trouble": trouble,
    "wire": _wire,
    "words": lambda name: one_line(words(name)),
}
"""Those with an argument take it after the value that is filtered."""
