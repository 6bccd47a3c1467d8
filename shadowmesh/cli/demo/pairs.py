"""The pairs the processor compared, put together again from the spans it sent on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shadowmesh import names
from shadowmesh.cli.demo.sink import Span
from shadowmesh.model import Leg
from shadowmesh.telemetry.attributes import from_attributes

About = tuple[str, str]
"""An experiment and one of its targets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPair:
    """The two legs of one exchange, the spans they came in, and the processor's word on them."""

    live: Leg
    shadow: Leg
    live_span: Span
    shadow_span: Span
    compare_span: Span
    inbound_span: Span | None


def compared_pairs(spans: Sequence[Span], about: About) -> list[ComparedPair]:
    """Return the matched pairs of one target; a compare span without its legs is no pair."""
    by_id = {span.span_id: span for span in spans}
    live_legs = {
        span.attributes.get(names.PAIR_ID): span for span in spans if span.attributes.get(names.ROLE) == names.Role.LIVE
    }
    pairs = []
    for span in spans:
        said = span.attributes
        if span.name != names.COMPARE_SPAN or about_of(said) != about:
            continue
        live, shadow = live_legs.get(said.get(names.PAIR_ID)), by_id.get(span.parent_span_id)
        if live and shadow and said.get(names.PAIR_OUTCOME) == names.Outcome.MATCHED:
            pairs.append(
                ComparedPair(
                    live=_leg(live),
                    shadow=_leg(shadow),
                    live_span=live,
                    shadow_span=shadow,
                    compare_span=span,
                    inbound_span=by_id.get(live.parent_span_id),
                )
            )
    return pairs


def about_of(said: Mapping[str, Any]) -> tuple[object, object]:
    """Return the experiment and the target that a span or a point names."""
    return said.get(names.EXPERIMENT_NAME), said.get(names.TARGET_NAME)


def _leg(span: Span) -> Leg:
    return from_attributes(
        span.attributes,
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_span_id,
        started_ns=span.started_ns,
        ended_ns=span.ended_ns,
    )
