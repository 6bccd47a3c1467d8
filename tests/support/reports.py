"""Reports made by hand, for pages and tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from shadowmesh.processor.funnel import Account
from shadowmesh.report.candidate import (
    CandidateReport,
    DailyUse,
    Distribution,
    Moment,
    OutputDiff,
    PerCall,
    Piece,
    Report,
    StatusRow,
    Timeline,
    Trouble,
    WorstPair,
)
from shadowmesh.verdict.records import Answer, EvidenceKey, Finding, Gate, Reason, Result, Verdict

NOW_NS = 1_767_225_600 * 10**9
_HOUR_NS = 3600 * 10**9
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

FINDINGS = (
    Finding(
        name="latency.duration.p95",
        gate=Gate.CRITERION,
        result=Result.PASS,
        reason=Reason.SHOWN,
        detail="P95 of the shadow is below 1.20 times that of live.",
        mode="margin",
        estimate=1.07,
        interval=(1.03, 1.12),
        limit=1.2,
        evidence=21.4,
        threshold=3.0,
        evidence_against=-18.2,
        threshold_against=4.6,
        pairs=41_870,
        missing=0.0021,
        blocks=660,
        variance_factor=1.31,
    ),
    Finding(
        name="errors",
        gate=Gate.CRITERION,
        result=Result.NOT_YET,
        reason=Reason.MORE_PAIRS,
        detail="The evidence points to a pass and has not crossed the threshold yet.",
        mode="margin",
        estimate=0.0011,
        interval=(-0.0009, 0.0056),
        limit=0.005,
        margin=0.005,
        evidence=2.1,
        threshold=3.0,
        evidence_against=-4.0,
        threshold_against=4.6,
        pairs=42_003,
        missing=0.0004,
        blocks=660,
        eta_pairs=11_200,
        eta_seconds=9_800.0,
    ),
    Finding(
        name="similarity",
        gate=Gate.CRITERION,
        result=Result.PASS,
        reason=Reason.SHOWN,
        detail="As similar to live as the live model is to itself, less 0.05.",
        mode="vs_floor",
        estimate=0.963,
        interval=(0.951, 0.974),
        limit=0.93,
        evidence=9.4,
        threshold=3.0,
        evidence_against=-9.9,
        threshold_against=4.6,
        pairs=8_120,
        blocks=630,
        floor=0.968,
    ),
    Finding(
        name="judge",
        gate=Gate.CRITERION,
        result=Result.OFF,
        reason=Reason.SWITCHED_OFF,
        detail="No judge is configured.",
        mode="noninferior",
    ),
    Finding(
        name="coverage",
        gate=Gate.CRITERION,
        result=Result.PASS,
        reason=Reason.SHOWN,
        detail="42,003 pairs in 660 minutes; 0.8 % were held back.",
        estimate=42_003.0,
        limit=10_000.0,
        unit="{pair}",
        pairs=42_003,
        blocks=660,
    ),
    Finding(
        name="guard.numbers",
        gate=Gate.GUARD,
        result=Result.PASS,
        reason=Reason.SHOWN,
        detail="Numbers differ from live as often as they do between live and control.",
        estimate=0.002,
        interval=(-0.004, 0.009),
        limit=0.02,
        evidence_against=-2.0,
        threshold_against=5.0,
        pairs=8_120,
    ),
    Finding(
        name="errors",
        gate=Gate.GUARD,
        result=Result.NOT_YET,
        reason=Reason.MORE_PAIRS,
        detail="Nothing is shown against it in this stratum.",
        stratum="/inference.GRPCInferenceService/ModelStreamInfer",
        estimate=0.0015,
        interval=(-0.004, 0.012),
        limit=0.005,
        evidence_against=-1.0,
        threshold_against=6.2,
        pairs=9_000,
    ),
)

KEY = EvidenceKey(
    experiment="checkout", target="llama-70b-fp8", target_digest="9f2c1a77b310", config_digest="5e0d44c1aa92"
)


def verdict(**changes: Any) -> Verdict:
    """Return the verdict of a candidate on its way, with some of its fields changed."""
    fields: dict[str, Any] = {
        "key": KEY,
        "answer": Answer.NOT_YET,
        "reason": "errors: the evidence points to a pass and needs about 11,200 more pairs",
        "alpha": 0.05,
        "attempt": 0,
        "pairs": 42_311,
        "comparable": 42_003,
        "first_ns": NOW_NS - 11 * _HOUR_NS,
        "last_ns": NOW_NS - 10**9,
        "blocks": 660,
        "pairs_per_second": 1.14,
        "findings": FINDINGS,
        "warnings": ("0.8 % of the exchanges were held back: at 5 % the coverage no longer counts.",),
        "criteria_digest": "c0ffee123456",
        "eta_pairs": 11_200,
        "eta_seconds": 9_800.0,
    }
    return Verdict(**{**fields, **changes})


def distribution(name: str = "duration", *, middle: float = 0.42, ratio: float = 1.07) -> Distribution:
    """Return two lognormal legs."""
    random = np.random.default_rng(7)
    edges = 10.0 ** np.arange(-3.0, 2.01, np.log10(1.2))
    live = random.lognormal(np.log(middle), 0.55, 42_003)
    shadow = live * ratio * random.lognormal(0, 0.12, live.size)
    quantiles = (0.5, 0.9, 0.95, 0.99)
    return Distribution(
        name=name,
        edges=tuple(edges.tolist()),
        live=tuple(np.histogram(live, edges)[0].tolist()),
        shadow=tuple(np.histogram(shadow, edges)[0].tolist()),
        beyond_live=12,
        beyond_shadow=51,
        live_quantiles=tuple(np.quantile(live, quantiles).tolist()),
        shadow_quantiles=tuple(np.quantile(shadow, quantiles).tolist()),
    )


def timeline() -> Timeline:
    """Return eleven hours, ten minutes a moment."""
    random = np.random.default_rng(3)
    moments = tuple(
        Moment(
            NOW_NS - (66 - place) * _HOUR_NS // 6,
            630,
            float(1.07 + random.normal(0, 0.03)),
            float(random.normal(0.001, 0.002)),
        )
        for place in range(66)
    )
    return Timeline(moments=moments, ratio_limit=1.2, errors_limit=0.005)


def worst() -> tuple[WorstPair, ...]:
    """Return one pair of each trouble."""
    common: dict[str, Any] = {"trace_id": TRACE, "method": "/chat.Chat/Complete", "dispatched_ns": NOW_NS - _HOUR_NS}
    return (
        WorstPair(
            trouble=Trouble.LATENCY,
            pair_id="01JH2Q7WZ4",
            live_status="OK",
            shadow_status="OK",
            live_duration=0.31,
            shadow_duration=4.2,
            **common,
        ),
        WorstPair(
            trouble=Trouble.STATUS,
            pair_id="01JH2Q8AAA",
            live_status="OK",
            shadow_status="RESOURCE_EXHAUSTED",
            live_duration=0.4,
            shadow_duration=0.002,
            **common,
        ),
        WorstPair(
            trouble=Trouble.SIMILARITY,
            pair_id="01JH2Q8BBB",
            live_status="OK",
            shadow_status="OK",
            similarity=0.31,
            live_duration=0.44,
            shadow_duration=0.41,
            **common,
        ),
    )


def diff() -> OutputDiff:
    """Return two answers that differ in a dose."""
    return OutputDiff(
        pair_id="01JH2Q8BBB",
        trace_id=TRACE,
        similarity=0.93,
        pieces=(
            Piece("same", "Take "),
            Piece("live", "5 mg "),
            Piece("shadow", "50 mg "),
            Piece("same", "of it once a day,\nin the morning."),
        ),
        cut=True,
    )


def candidate(**changes: Any) -> CandidateReport:
    """Return a candidate of which everything is known, with some of it changed."""
    fields: dict[str, Any] = {
        "verdict": verdict(),
        "distributions": (distribution(), distribution("time_to_first_chunk", middle=0.08, ratio=0.96)),
        "timeline": timeline(),
        "use": DailyUse(
            calls_per_day=1_970_000.0,
            live=PerCall(input_tokens=812.0, output_tokens=214.0, cost=0.00274),
            shadow=PerCall(input_tokens=812.0, output_tokens=231.0, cost=0.00213),
            pairs=41_900,
            currency="USD",
            assumptions=(
                "Calls a day: 42,311 pairs in 11 h, each standing for 20 (one over the sampling probability).",
            ),
        ),
        "statuses": (
            StatusRow("OK", "OK", 41_800),
            StatusRow("OK", "RESOURCE_EXHAUSTED", 120),
            StatusRow("OK", "DEADLINE_EXCEEDED", 51),
            StatusRow("UNAVAILABLE", "OK", 32),
            StatusRow("OK", "", 8),
        ),
        "account": Account(
            experiment=KEY.experiment,
            target=KEY.target,
            decisions={"not_sampled": 803_000, "dropped": 338, "mirrored": 42_003},
            drop_reasons={"queue_full": 301, "oversize": 37},
            outcomes={"matched": 42_003, "not_comparable": 300, "live_only": 8},
        ),
        "worst": worst(),
        "diffs": (diff(),),
    }
    return CandidateReport(**{**fields, **changes})


def report(*candidates: CandidateReport, jaeger: str = "") -> Report:
    """Return a report of these."""
    return Report(
        candidates=candidates,
        created_ns=NOW_NS,
        place="postgresql://db.example/shadowmesh",
        version="0.1.0",
        jaeger=jaeger,
    )
