"""One compared exchange as the tree the report draws."""

from __future__ import annotations

from collections.abc import Iterator

from shadowmesh import names
from shadowmesh.cli.demo.pairs import ComparedPair
from shadowmesh.model import Leg
from shadowmesh.report import units
from shadowmesh.report.records import TraceSpan

_SEPARATOR = " · "


def tree(pair: ComparedPair) -> TraceSpan:
    """Return inbound call, live leg, shadow leg and comparison, as their spans hang together."""
    live = TraceSpan(
        name=f"live    {_model(pair.live)}",
        role=names.Role.LIVE,
        started_ns=pair.live.started_ns,
        ended_ns=pair.live.ended_ns,
        facts=(_SEPARATOR.join(_facts(pair.live)),),
    )
    linked = pair.live.span_id in pair.shadow_span.linked_span_ids
    shadow = TraceSpan(
        name=f"shadow  {_model(pair.shadow)}" + (" (link: live)" if linked else ""),
        role=names.Role.SHADOW,
        started_ns=pair.shadow.started_ns,
        ended_ns=pair.shadow.ended_ns,
        facts=(_SEPARATOR.join(_facts(pair.shadow)),),
        children=(_comparison(pair),),
    )
    inbound = pair.inbound_span
    return TraceSpan(
        name=(inbound.name if inbound else pair.live.method).rsplit(".", 1)[-1],
        role="",
        started_ns=inbound.started_ns if inbound else pair.live.started_ns,
        ended_ns=inbound.ended_ns if inbound else pair.live.ended_ns,
        children=(live, shadow),
    )


def _model(leg: Leg) -> str:
    return leg.fields.response_model or leg.fields.request_model or leg.target or "unknown model"


def _facts(leg: Leg) -> Iterator[str]:
    yield leg.status or "status unknown"
    if leg.fields.finish_reasons:
        yield f"finish {leg.fields.finish_reasons[0]}"
    tokens = (leg.fields.input_tokens, leg.fields.output_tokens)
    if None not in tokens:
        yield f"{tokens[0]} → {tokens[1]} tokens"
    if leg.time_to_first_chunk is not None:
        yield f"first chunk {units.duration(leg.time_to_first_chunk)}"
    if leg.streaming:
        yield f"{leg.message_count} messages"


def _comparison(pair: ComparedPair) -> TraceSpan:
    span = pair.compare_span
    return TraceSpan(
        name=span.name,
        role="",
        started_ns=span.started_ns,
        # A moment: that it lasts a nanosecond is for those who draw spans from their ends.
        ended_ns=span.started_ns,
        facts=(_SEPARATOR.join(_differences(pair)),),
    )


def _differences(pair: ComparedPair) -> Iterator[str]:
    said = pair.compare_span.attributes
    yield str(said[names.PAIR_OUTCOME])
    latency = said.get(names.PAIR_DURATION_DELTA)
    if latency is not None:
        slower = units.ratio(said.get(names.PAIR_DURATION_RATIO))
        yield f"latency {units.duration(latency, signed=True)} ({slower})"
    tokens = said.get(names.PAIR_OUTPUT_TOKENS_DELTA)
    if tokens is not None:
        yield f"output {units.scale_for('{token}', tokens).text(tokens, signed=True)} tokens"
    cost = said.get(names.PAIR_COST_RATIO)
    yield f"cost {units.ratio(cost)}"
