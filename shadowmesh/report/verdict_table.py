"""
Verdicts as tables for a terminal of 80 columns, without need of colour.

Names come from whoever sent spans, so what is no printable character is not printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shadowmesh.report import units
from shadowmesh.report.circumstances_text import facts
from shadowmesh.report.finding_text import because, method_of
from shadowmesh.report.terminal import Trimmed
from shadowmesh.verdict.judgement import Judgement
from shadowmesh.verdict.records import Answer, Finding, Gate, Reason, Result, Verdict

_NOTHING = "\N{EN DASH}"
_ANSWERS = {Answer.GO: "bold green", Answer.NO_GO: "bold red", Answer.NOT_YET: "bold yellow"}
_RESULTS = {Result.PASS: "green", Result.FAIL: "bold red", Result.NOT_YET: "yellow", Result.OFF: "dim"}
_MEASURES = {"duration": "latency"}
_INDENT = 2
_MOST_REASONS = 4


def judgement(asked: Judgement) -> RenderableType:
    """Return everything a judgement says; with more than one candidate, or none, the answer for all of them last."""
    parts: list[RenderableType] = []
    for one in asked.verdicts:
        parts += [verdict(one), Text()]
    if len(asked.verdicts) == 1:
        return Trimmed(Group(*parts[:-1]))
    return Trimmed(Group(*parts, _answer("all candidates" if parts else "no candidate", asked.answer, _of_all(asked))))


def _of_all(asked: Judgement) -> str:
    """Return which candidates decide for all of them, and why."""
    deciding = [one for one in asked.verdicts if one.answer is asked.answer]
    if not deciding:
        return asked.reason
    said = [f"{one.key.experiment}/{one.key.target}: {because(one, _title)}" for one in deciding]
    more = f"; and {len(said) - _MOST_REASONS} more" if len(said) > _MOST_REASONS else ""
    return "; ".join(said[:_MOST_REASONS]) + more


def verdict(one: Verdict) -> RenderableType:
    """Return the answer for one candidate, every criterion with its numbers, and what stands in the way."""
    shown = [finding for finding in one.findings if _is_shown(finding)]
    parts: list[RenderableType] = [
        _answer(f"{_plain(one.key.target)} of {_plain(one.key.experiment)}", one.answer, because(one, _title)),
        Text(_evidence(one), style="dim"),
    ]
    parts += [Text(f"{fact.label}: {fact.text}", style="dim") for fact in facts(one.circumstances)]
    if shown:
        parts += [Text(), _table(shown)]
    parts += _remarks(one)
    return Group(*parts)


def _answer(what: str, answer: Answer, reason: str) -> Text:
    return Text.assemble((f"{what}: ", "bold"), (answer.replace("_", " "), _ANSWERS[answer]), f"  {_plain(reason)}")


def _is_shown(finding: Finding) -> bool:
    return finding.result is not Result.OFF or (finding.gate is Gate.REPORT and finding.estimate is not None)


def _evidence(one: Verdict) -> str:
    if not one.pairs:
        return "no committed pairs"
    parts = [f"{one.pairs:,} pairs, {one.comparable:,} comparable"]
    lasted = (one.last_ns - one.first_ns) / 1e9
    parts.append(f"over {units.elapsed(lasted)} until {_moment(one.last_ns)} (minutes with pairs: {one.blocks:,})")
    if one.attempt:
        parts.append(f"attempt {one.attempt + 1}: \N{GREEK SMALL LETTER ALPHA} {one.alpha:.3g}")
    return ", ".join(parts)


def _table(findings: Iterable[Finding]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 2), pad_edge=False, show_edge=False)
    table.add_column("criterion", overflow="fold", max_width=24)
    for column in ("estimate", "interval", "limit", "evidence"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("result", no_wrap=True)
    for gate in Gate:
        for finding in findings:
            if finding.gate is gate:
                table.add_row(*_cells(finding))
    return table


def _cells(finding: Finding) -> Iterator[str | Text]:
    yield Text(_name(finding), style="dim" if finding.gate is Gate.REPORT else "")
    yield _number(finding.estimate)
    yield _interval(finding)
    yield _number(finding.limit)
    yield _weight(finding)
    result = _NOTHING if finding.gate is Gate.REPORT else finding.result.replace("_", " ")
    yield Text(result, style=_RESULTS[finding.result])


def _interval(finding: Finding) -> str:
    if finding.interval is None:
        return _NOTHING
    low, high = map(_number, finding.interval)
    return f"{low} \N{HORIZONTAL ELLIPSIS} {high}"


def _weight(finding: Finding) -> str:
    """Return the evidence for the side that it points to, beside what it takes there; logarithms."""
    both = (finding.evidence, finding.threshold), (finding.evidence_against, finding.threshold_against)
    known = [(evidence, threshold) for evidence, threshold in both if evidence is not None and threshold is not None]
    if not known:
        return _NOTHING
    evidence, threshold = max(known)
    return f"{_number(evidence, digits=2)} / {_number(threshold, digits=2)}"


def _remarks(one: Verdict) -> Iterator[RenderableType]:
    """Return, line by line, why what has not passed has not, what is off, and what should be known."""
    lines = [_remark(finding) for finding in one.findings if finding.result in (Result.FAIL, Result.NOT_YET)]
    lines += [_remark(finding) for finding in one.findings if finding.result is Result.PASS and finding.missing > 0]
    off = [f"{_name(finding)} ({_spaced(finding.reason)})" for finding in one.findings if not _is_shown(finding)]
    if off:
        lines.append(Text(f"not asked: {', '.join(off)}", style="dim"))
    lines += [Text.assemble(("note: ", "bold yellow"), _plain(warning)) for warning in one.warnings]
    if lines:
        yield Text()
    yield from (Padding(line, (0, 0, 0, _INDENT), expand=False) for line in lines)


def _remark(finding: Finding) -> Text:
    passed = finding.result is Result.PASS
    parts = [] if passed else [_plain(finding.detail) or _spaced(finding.reason)]
    if finding.missing > 0:
        parts.append(f"{finding.missing:.2%} of its pairs are assumed either way")
    if eta := _still(finding.eta_pairs, finding.eta_seconds):
        parts.append(eta)
    tells_itself = passed or finding.reason in (Reason.SHOWN, finding.name)
    label = _name(finding) if tells_itself else f"{_name(finding)}, {_spaced(finding.reason)}"
    return Text.assemble((label, _RESULTS[finding.result]), f": {'; '.join(parts)}")


def _still(pairs: int | None, seconds: float | None) -> str:
    if not pairs:
        return ""
    within = f", {units.elapsed(seconds)} at this rate" if seconds is not None else ""
    return f"about {pairs:,} more pairs{within}"


def _title(finding: Finding) -> str:
    measure, _, quantile = finding.name.removeprefix("latency.").partition(".p")
    name = f"{_MEASURES.get(measure, measure)} P{quantile}" if quantile else finding.name
    return _plain(_spaced(name.replace(".", " ")))


def _name(finding: Finding) -> str:
    parts = [_title(finding)]
    if finding.mode:
        parts.append(_spaced(finding.mode))
    if finding.stratum:
        parts.append(f"in {method_of(finding)}")
    return _plain(", ".join(parts))


def _number(value: float | None, *, digits: int = 3) -> str:
    if value is None:
        return _NOTHING
    if value in (float("inf"), float("-inf")):
        return "\N{INFINITY}" if value > 0 else "\N{MINUS SIGN}\N{INFINITY}"
    # From where on rounding to so many figures would make one more, and an exponent of it.
    if float(value).is_integer() or abs(value) >= 10**digits - 0.5:
        return f"{value:,.0f}".replace("-", "\N{MINUS SIGN}")
    return f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def _moment(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _spaced(text: str) -> str:
    return text.replace("_", " ")


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
