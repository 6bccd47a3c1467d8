"""Verdicts made by hand, for those who show them."""

from __future__ import annotations

from math import inf
from typing import Any

from support.legs import T0

from shadowmesh.verdict.judgement import Judgement
from shadowmesh.verdict.records import Answer, EvidenceKey, Finding, Gate, Reason, Result, Verdict

MINUTE_NS = 60_000_000_000


def key(target: str = "candidate", **changes: Any) -> EvidenceKey:
    """Return what a verdict is about."""
    facts = {"experiment": "summaries", "target_digest": "a" * 12, "config_digest": "c" * 12}
    return EvidenceKey(target=target, **facts | changes)


def finding(name: str, result: Result = Result.PASS, **changes: Any) -> Finding:
    """Return a criterion that has passed unless ``changes`` say more."""
    facts: dict[str, Any] = {"gate": Gate.CRITERION, "reason": Reason.SHOWN, "detail": "shown", "pairs": 12_345}
    return Finding(name=name, result=result, **facts | changes)


FINDINGS = (
    finding(
        "latency.duration.p95", mode="margin", estimate=1.031, interval=(0.994, 1.062), limit=1.2,
        evidence=41.7, threshold=2.996, evidence_against=-3.0, threshold_against=4.605, blocks=130,
    ),
    finding(
        "errors", Result.NOT_YET, reason=Reason.MORE_PAIRS, detail="the evidence points to PASS", mode="margin",
        estimate=0.0004, interval=(-0.0021, 0.0051), limit=0.005, margin=0.005, evidence=2.1, threshold=2.996,
        evidence_against=-2.0, threshold_against=4.605, missing=0.0012, eta_pairs=2400, eta_seconds=1260.0, blocks=130,
    ),
    finding(
        "coverage", estimate=12_345.0, limit=10_000.0, detail="12,345 compared pairs over 130 minutes", blocks=130,
    ),
    finding(
        "similarity", Result.OFF, reason=Reason.NO_CONTENT, detail="no text is captured", mode="vs_floor", pairs=0,
    ),
    finding("judge", Result.OFF, reason=Reason.SWITCHED_OFF, detail="no judge is configured", pairs=0),
    finding(
        "guard.numbers", gate=Gate.GUARD, estimate=0.001, interval=(-inf, inf), limit=0.0, evidence_against=0.4,
        threshold_against=4.605, mode="margin", stratum="/acme.v1.Models/Generate",
    ),
)  # fmt: skip


def verdict(answer: Answer = Answer.NOT_YET, *, target: str = "candidate", **changes: Any) -> Verdict:
    """Return a verdict over two hours in which something is still open."""
    facts: dict[str, Any] = {
        "key": key(target),
        "reason": "errors: more pairs are needed",
        "alpha": 0.05,
        "attempt": 0,
        "pairs": 12_400,
        "comparable": 12_345,
        "first_ns": T0,
        "last_ns": T0 + 130 * MINUTE_NS,
        "blocks": 130,
        "pairs_per_second": 1.6,
        "findings": FINDINGS,
        "criteria_digest": "d" * 12,
        "eta_pairs": 2400,
        "eta_seconds": 1260.0,
    }
    return Verdict(answer=answer, **facts | changes)


def judgement(*verdicts: Verdict, **changes: Any) -> Judgement:
    """Return a judgement three hours after the first pair."""
    return Judgement(at_ns=T0 + 180 * MINUTE_NS, verdicts=verdicts, **changes)
