"""
The demo's results as JSON. The shape is versioned by ``schema``; fields may be added under the same version.

::

    schema      "shadowmesh.demo/1"
    seconds     how long the client sent, as asked
    adds_up     whether every call has its decision and every pair its outcome
    client      method -> status -> calls, as the client saw them
    funnel      experiment, target, eligible, decisions{}, drop_reasons{}, pairs_expected, outcomes{}, lost, undecided
    groups[]    name ("unary", "streaming"), pairs, metrics[], cost_per_1000_calls{}
      metrics[] name, unit (UCUM), pairs, and live, shadow, ratio, delta: each {p50, p95} or null for unknown
      cost…     live, shadow, ratio, delta: a mean or null for unknown; currency (ISO 4217)
    checks[]    name, match, mismatch, not_comparable
    trace       null, or trace_id, pair_id and spans[]: name, role, span_id, parent_span_id, linked_span_ids[],
                start_ns (wall clock), duration_s, attributes{}
    verdict     the document of shape shadowmesh.verdict/1 that the gate prints; null with --keep, which judges nothing
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from shadowmesh import names
from shadowmesh.cli.demo.pairs import ComparedPair
from shadowmesh.cli.demo.results import Results
from shadowmesh.cli.demo.sink import Span
from shadowmesh.report.records import Funnel, Group
from shadowmesh.verdict.document import to_document
from shadowmesh.verdict.judgement import Judgement

SCHEMA = "shadowmesh.demo/1"


def document(results: Results, *, seconds: float, judged: Judgement | None) -> dict[str, Any]:
    """Return the JSON document."""
    return {
        "schema": SCHEMA,
        "seconds": seconds,
        "adds_up": results.funnel.adds_up,
        "client": results.sent.by_method(),
        "funnel": _funnel(results.funnel),
        "groups": [_group(group) for group in results.groups],
        "checks": [asdict(check) for check in results.checks],
        "trace": _trace(results.example) if results.example else None,
        "verdict": None if judged is None else to_document(judged),
    }


def _funnel(funnel: Funnel) -> dict[str, Any]:
    return {
        "experiment": funnel.experiment,
        "target": funnel.target,
        "eligible": funnel.eligible,
        "decisions": _all(funnel.decisions, names.Decision),
        "drop_reasons": dict(funnel.drop_reasons),
        "pairs_expected": funnel.pairs_expected,
        "outcomes": _all(funnel.outcomes, names.Outcome),
        "lost": funnel.lost,
        "undecided": funnel.undecided,
    }


def _all(counts: Mapping[str, int], keys: type[names.Decision | names.Outcome]) -> dict[str, int]:
    """Return a count for every key: a reader should not have to know that a missing one is 0."""
    return {str(key): counts.get(key, 0) for key in keys}


def _group(group: Group) -> dict[str, Any]:
    cost = group.cost
    return {
        "name": group.name,
        "pairs": group.pairs,
        "metrics": [asdict(row) for row in group.rows],
        "cost_per_1000_calls": asdict(cost) | {"ratio": cost.ratio, "delta": cost.delta},
    }


def _trace(pair: ComparedPair) -> dict[str, Any]:
    spans = (pair.inbound_span, pair.live_span, pair.shadow_span, pair.compare_span)
    return {
        "trace_id": f"{pair.live.trace_id:032x}",
        "pair_id": pair.live.pair_id,
        "spans": [_span(span) for span in spans if span is not None],
    }


def _span(span: Span) -> dict[str, Any]:
    return {
        "name": span.name,
        "role": span.attributes.get(names.ROLE),
        "span_id": f"{span.span_id:016x}",
        "parent_span_id": f"{span.parent_span_id:016x}" if span.parent_span_id else None,
        "linked_span_ids": [f"{linked:016x}" for linked in span.linked_span_ids],
        "start_ns": span.started_ns,
        "duration_s": (span.ended_ns - span.started_ns) / 1e9,
        "attributes": dict(span.attributes),
    }
