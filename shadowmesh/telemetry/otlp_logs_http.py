"""The SDK's OTLP/HTTP exporter of logs for our events; its encoder has no place where ours could stand in."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

from shadowmesh import names
from shadowmesh.telemetry.content import ContentEvent
from shadowmesh.telemetry.log_records import log_record

_NAMED = "event_name" in signature(LogRecord.__init__).parameters
"""Whether this SDK writes the name of an event; before 1.35 the conventions had an attribute for it."""


class HttpEventLogExporter(OTLPLogExporter):
    """Exports events."""

    def export(self, batch: Sequence[Any]) -> Any:
        """Export a batch."""
        return super().export([log_record(event if _NAMED else _with_name(event)) for event in batch])


def _with_name(event: ContentEvent) -> ContentEvent:
    return event._replace(attributes={names.EVENT_NAME: names.GEN_AI_EVENT} | event.attributes)
