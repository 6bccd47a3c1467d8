"""
Captured text on its way out: as a log event for each leg, or as attributes of its span.

Either is made only for an experiment that asks for it. The event is ``gen_ai.client.inference.operation.details`` of
semantic conventions 1.41.1, ``docs/gen-ai/gen-ai-events.md``, whose texts must be structured; spans, whose attributes
cannot be, have the same lists as JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from shadowmesh import names
from shadowmesh.model import Leg
from shadowmesh.protocols.content import NOTHING, Said, as_json
from shadowmesh.telemetry.attributes import Value, error_type

CONTENT_KEYS = (names.GEN_AI_SYSTEM_INSTRUCTIONS, names.GEN_AI_INPUT_MESSAGES, names.GEN_AI_OUTPUT_MESSAGES)


class Text(NamedTuple):
    """What one leg was told, asked, and answered; ``lost`` says that there was an answer and nobody kept it."""

    instructions: Said = NOTHING
    input: Said = NOTHING
    output: Said = NOTHING
    lost: bool = False

    @property
    def size(self) -> int:
        """Bytes of all of it as JSON."""
        return self.instructions.size + self.input.size + self.output.size


class ContentEvent(NamedTuple):
    """The text of one leg as a log event, in the context of the leg's span; ``at_ns`` is its end by the wall clock."""

    trace_id: int
    span_id: int
    flags: int
    at_ns: int
    attributes: dict[str, Any]
    resource: Resource


def content_event(leg: Leg, text: Text, *, resource: Resource, flags: int) -> ContentEvent | None:
    """Return the event of a leg, ``None`` where it has no text."""
    said = _said(text, list)
    if not said:
        return None
    about = {
        names.PAIR_ID: leg.pair_id,
        names.EXPERIMENT_NAME: leg.experiment,
        names.ROLE: leg.role,
        names.TARGET_NAME: leg.target or None,
        names.EXCHANGE_INDEX: leg.exchange_index,
        names.STREAM_COMPLETE: leg.complete,
        names.GEN_AI_OPERATION_NAME: leg.fields.operation,
        names.GEN_AI_REQUEST_MODEL: leg.fields.request_model,
        names.ERROR_TYPE: error_type(leg),
    }
    attributes = {name: value for name, value in about.items() if value is not None} | said
    return ContentEvent(leg.trace_id, leg.span_id, flags, leg.ended_ns, attributes, resource)


def content_attributes(text: Text) -> dict[str, Value]:
    """Return what the span of a leg says of its text."""
    return _said(text, as_json)


def without_content(span: ReadableSpan) -> ReadableSpan:
    """Return a span that says which texts it had, and not what they were."""
    attributes = dict(span.attributes or {})
    let_go = tuple(name for name in CONTENT_KEYS if attributes.pop(name, None) is not None)
    if not let_go:
        return span
    attributes[names.CONTENT_TRUNCATED] = let_go
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _said(text: Text, written: Callable[[list[dict[str, Any]]], Any]) -> dict[str, Any]:
    lists = dict(zip(CONTENT_KEYS, text[:3], strict=True))
    said = {name: written(one.items) for name, one in lists.items() if one.items}
    cut = {name for name, one in lists.items() if one.cut} | ({names.GEN_AI_OUTPUT_MESSAGES} if text.lost else set())
    if cut:
        said[names.CONTENT_TRUNCATED] = tuple(sorted(cut))
    return said
