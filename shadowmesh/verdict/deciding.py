"""From evidence both ways to PASS, FAIL or NOT_YET, with the reason and what is still needed."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

from shadowmesh.evidence import log_threshold
from shadowmesh.verdict.bets import NOTHING, Evidence
from shadowmesh.verdict.guard import guarded
from shadowmesh.verdict.records import Finding, Gate, Reason, Result

_MINUTE: Final = 60.0
_FEW: Final = 1000
"""Of fewer pairs an estimate may be at its limit by luck, so that nothing is said of what will never be decided."""
_FORESEEN_FROM: Final = 100
"""Of fewer pairs the evidence of a pair is mostly luck, and how many are needed would be too few by a factor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """
    How strictly something is asked, and at which pace pairs come.

    Args:
        passing, failing: the errors allowed; both hold over all looks together.
        min_blocks: dispatch minutes that a PASS takes; ``min_blocks_against`` those that a FAIL takes.
        pace: pairs per second of late; 0 where none came.
        only_failing: whether nothing but FAIL is wanted: no evidence for PASS and no intervals, most of the work.
    """

    passing: float
    failing: float
    min_blocks: int
    min_blocks_against: int
    pace: float
    only_failing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """
    Something asked of evidence, and what it shows. See :class:`~shadowmesh.verdict.records.Finding` for the rest.

    Args:
        passing, failing: evidence for each answer, before the variance guard.
        blocks: dispatch minutes with pairs.
        literal: whether the point estimate is on the right side of the limit as it is written, where there is one.
        obstacle: what keeps it open, where that is not a lack of pairs; it counts only while nothing is shown.
    """

    name: str
    gate: Gate
    mode: str = ""
    unit: str = "1"
    stratum: str = ""
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    limit: float | None = None
    margin: float = 0.0
    floor: float | None = None
    passing: Evidence = NOTHING
    failing: Evidence = NOTHING
    factor: float = 1.0
    pairs: int = 0
    missing: float = 0.0
    blocks: int = 0
    literal: bool = True
    obstacle: Reason | None = None


_SAID: Final = {
    Reason.NO_EVIDENCE: "no pair says anything of it",
    Reason.UNDECIDABLE: "too close to its limit: at the estimate the evidence does not grow",
    Reason.BURSTS: "the evidence is there, but it comes in bursts: more minutes are needed",
    Reason.ESTIMATE: "shown with its margin, but the estimate itself is beyond the limit",
    Reason.TOO_MUCH_SHED: "what is missing could turn the answer: too many legs were shed or lost",
    Reason.TOO_MANY_FAILED: "how slow the failed calls would have been could turn the answer: too many have failed",
    Reason.DEADLINE_SHORT: "shadows are ended before it could be seen how slow they are: their deadline is too short",
    Reason.TEXT_MISSING: "what is missing could turn the answer: too many outputs were cut or never came",
    Reason.UNREACHABLE: "live does not reach the limit against itself, so no candidate can",
    Reason.NO_CONTROL: "the floor is unknown: no control target has answered the same exchanges",
    Reason.CONTROL_BIAS: "the shadow path itself changes latency, and no exchange was answered by the control, too",
}


def decided(question: Question, levels: Levels) -> Finding:
    """Return what is found."""
    for_it, against = log_threshold(levels.passing), log_threshold(levels.failing)
    evidence = guarded(question.passing.log, question.factor)
    counter = guarded(question.failing.log, question.factor)
    result, reason = _answer(question, levels, evidence >= for_it, counter >= against)
    eta_pairs, eta_seconds = _needed(question, levels, result, reason)
    return Finding(
        name=question.name,
        gate=question.gate,
        result=result,
        reason=reason,
        detail=_detail(question, levels, result, reason),
        stratum=question.stratum,
        mode=question.mode,
        unit=question.unit,
        estimate=question.estimate,
        interval=question.interval,
        limit=question.limit,
        margin=question.margin,
        evidence=evidence,
        threshold=for_it,
        evidence_against=counter,
        threshold_against=against,
        pairs=question.pairs,
        missing=question.missing,
        blocks=question.blocks,
        variance_factor=question.factor,
        floor=question.floor,
        eta_pairs=eta_pairs,
        eta_seconds=eta_seconds,
    )


def off(name: str, gate: Gate, reason: Reason, detail: str, *, mode: str = "") -> Finding:
    """Return that something takes no part."""
    return Finding(name=name, gate=gate, result=Result.OFF, reason=reason, detail=detail, mode=mode)


def _answer(question: Question, levels: Levels, shown: bool, refuted: bool) -> tuple[Result, Reason]:
    unreachable = question.obstacle is Reason.UNREACHABLE
    if refuted and question.blocks >= levels.min_blocks_against and not unreachable:
        return Result.FAIL, Reason.SHOWN
    if shown and question.blocks >= levels.min_blocks and not unreachable:
        return (Result.PASS, Reason.SHOWN) if question.literal else (Result.NOT_YET, Reason.ESTIMATE)
    return Result.NOT_YET, _why_open(question, levels, shown or refuted)


def _why_open(question: Question, levels: Levels, crossed: bool) -> Reason:
    stuck = question.passing.growth <= 0 and question.failing.growth <= 0
    bursts = question.passing.log >= log_threshold(levels.passing) or question.failing.log >= log_threshold(
        levels.failing
    )
    reasons = (
        (not question.pairs, question.obstacle or Reason.NO_EVIDENCE),
        (question.obstacle is Reason.UNREACHABLE, Reason.UNREACHABLE),
        (crossed, Reason.MORE_BLOCKS),
        (bursts, Reason.BURSTS),
        (question.obstacle is not None, question.obstacle or Reason.MORE_PAIRS),
        (stuck and question.pairs >= _FEW, Reason.UNDECIDABLE),
    )
    return next((reason for holds, reason in reasons if holds), Reason.MORE_PAIRS)


def _needed(question: Question, levels: Levels, result: Result, reason: Reason) -> tuple[int | None, float | None]:
    """Return the pairs and seconds until it is decided, if all goes on as it went."""
    if result is not Result.NOT_YET:
        return 0, 0.0
    if reason not in (Reason.MORE_PAIRS, Reason.BURSTS, Reason.MORE_BLOCKS):
        return None, None
    sides = (
        (question.passing, log_threshold(levels.passing), levels.min_blocks),
        (question.failing, log_threshold(levels.failing), levels.min_blocks_against),
    )
    evidence, threshold, blocks = max(sides, key=lambda side: side[0].growth)
    if evidence.growth <= 0 or question.pairs < _FORESEEN_FROM:
        return None, None
    pairs = max(0, ceil((threshold * question.factor - evidence.log) / evidence.growth))
    minutes = max(0, blocks - question.blocks) * _MINUTE
    if not levels.pace:
        return pairs, None
    return pairs, max(pairs / levels.pace, minutes)


def _detail(question: Question, levels: Levels, result: Result, reason: Reason) -> str:
    if result is Result.PASS:
        return "shown"
    if result is Result.FAIL:
        return "the opposite is shown"
    if reason is Reason.MORE_BLOCKS:
        failing = question.failing.growth > question.passing.growth
        needed = levels.min_blocks_against if failing else levels.min_blocks
        return f"{question.blocks:,} of {needed:,} dispatch minutes seen"
    if reason is Reason.MORE_PAIRS:
        if max(question.passing.growth, question.failing.growth) <= 0:
            return "the evidence points neither way yet"
        leads = "for" if question.passing.growth > question.failing.growth else "against"
        return f"the evidence points {leads} it and does not suffice yet"
    unknown = reason is Reason.ESTIMATE and question.estimate is None
    return "shown, but what is missing leaves the estimate unknown" if unknown else _SAID[reason]
