"""
Events in the shape that the SDK's exporters of logs read.

The SDK's own records changed their classes between 1.28 and 1.45 (``LogData``, then ``ReadableLogRecord``) and not what
its encoders ask of them, which is what these have.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import export
from opentelemetry.trace import TraceFlags

from shadowmesh import names
from shadowmesh.telemetry.content import ContentEvent
from shadowmesh.telemetry.spans import INTERCEPTOR_SCOPE

_Console: Any = getattr(export, "ConsoleLogRecordExporter", None) or export.ConsoleLogExporter


def log_record(event: ContentEvent) -> Any:
    """Return the event as an encoder of the SDK reads it, whichever of its two levels it looks at."""
    about: dict[str, Any] = {
        "resource": event.resource,
        "instrumentation_scope": INTERCEPTOR_SCOPE,
        "dropped_attributes": 0,
        "to_json": lambda: json.dumps({"event_name": names.GEN_AI_EVENT, "attributes": event.attributes}),
    }
    record = SimpleNamespace(
        timestamp=event.at_ns,
        observed_timestamp=event.at_ns,
        trace_id=event.trace_id,
        span_id=event.span_id,
        trace_flags=TraceFlags(event.flags),
        severity_text=None,
        severity_number=SeverityNumber.INFO,
        # Not None, which 1.28 cannot encode.
        body="",
        attributes=event.attributes,
        event_name=names.GEN_AI_EVENT,
        **about,
    )
    return SimpleNamespace(log_record=record, **about)


class ConsoleEventExporter(_Console):  # type: ignore[misc]  # one class by two names
    """Prints events, as ``OTEL_LOGS_EXPORTER=console`` asks."""

    def export(self, batch: Sequence[ContentEvent]) -> Any:
        """Print a batch."""
        return super().export([log_record(event) for event in batch])
