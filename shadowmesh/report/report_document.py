"""
A report as JSON: the shape ``shadowmesh.report/1``.

One object: ``judgement`` is a document of the shape ``shadowmesh.verdict/1``, and ``candidates`` has, in the order of
its verdicts, what the verdicts do not say. Durations are seconds, moments RFC 3339 in UTC; ``null`` is unknown. Names
and statuses come from whoever sent spans. There is no captured text in it.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from shadowmesh.report.candidate import QUANTILES, CandidateReport, DailyUse, Distribution, Report, Timeline, WorstPair
from shadowmesh.verdict.document import to_document as judgement_document
from shadowmesh.verdict.judgement import Judgement

SCHEMA = "shadowmesh.report/1"

_SIDES = ("live", "shadow")


def to_document(report: Report) -> dict[str, Any]:
    """Return a report as JSON can hold it."""
    judged = Judgement(
        at_ns=report.created_ns, since_ns=report.since_ns, verdicts=tuple(one.verdict for one in report.candidates)
    )
    return {
        "schema": SCHEMA,
        "store": report.place,
        "judgement": judgement_document(judged),
        "candidates": [_candidate(one) for one in report.candidates],
    }


def _candidate(one: CandidateReport) -> dict[str, Any]:
    account = one.account
    return {
        "experiment": one.verdict.key.experiment,
        "target": one.verdict.key.target,
        "latency": {measure.name: _distribution(measure) for measure in one.distributions},
        "latency_by_load": [step._asdict() for step in one.by_load],
        "timeline": None if one.timeline is None else _timeline(one.timeline),
        "use": None if one.use is None else _use(one.use),
        "statuses": [row._asdict() for row in one.statuses],
        "funnel": None
        if account is None
        else {
            "decisions": dict(account.decisions),
            "drop_reasons": dict(account.drop_reasons),
            "outcomes": dict(account.outcomes),
        },
        "worst": [_worst(pair) for pair in one.worst],
    }


def _distribution(measure: Distribution) -> dict[str, Any]:
    """Return quantiles and the bins that hold something: lower edge, live, shadow."""
    names = [f"p{quantile * 100:g}" for quantile in QUANTILES]
    held = zip(measure.edges, measure.live, measure.shadow, strict=False)
    return {
        "live": dict(zip(names, measure.live_quantiles, strict=False)),
        "shadow": dict(zip(names, measure.shadow_quantiles, strict=False)),
        "cut_off": {"live": measure.beyond_live, "shadow": measure.beyond_shadow},
        "bins": [[edge, live, shadow] for edge, live, shadow in held if live or shadow],
    }


def _timeline(shown: Timeline) -> dict[str, Any]:
    return {
        "measure": shown.measure,
        "quantile": shown.quantile,
        "ratio_limit": shown.ratio_limit,
        "errors_limit": shown.errors_limit,
        "moments": [
            {
                "started": _moment(moment.started_ns),
                "pairs": moment.pairs,
                "ratio": moment.ratio,
                "errors": moment.errors,
            }
            for moment in shown.moments
        ],
    }


def _use(use: DailyUse) -> dict[str, Any]:
    said = asdict(use)
    return {"calls_per_day": said.pop("calls_per_day"), "per_call": {side: said.pop(side) for side in _SIDES}, **said}


def _worst(pair: WorstPair) -> dict[str, Any]:
    said = asdict(pair)
    troubles = {"trouble": str(pair.trouble), "also": [str(kind) for kind in pair.also]}
    return {**said, **troubles, "dispatched": _moment(said.pop("dispatched_ns"))}


def _moment(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat().replace("+00:00", "Z")
