"""Captured text for tests: events made by hand, and what came of those that were exported."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.sdk.resources import Resource
from support.legs import live

from shadowmesh.protocols.content import Said
from shadowmesh.telemetry.content import ContentEvent, Text, content_event

RESOURCE = Resource({"service.name": "model-server"})


def said(text: str) -> Said:
    """Return a message of the user with this text."""
    return Said([{"role": "user", "parts": [{"type": "text", "content": text}]}], len(text), False)


def event(text: str = "Why?", **leg: Any) -> ContentEvent:
    """Return the event of a live leg that was asked ``text``."""
    made = content_event(live(**leg), Text(input=said(text)), resource=RESOURCE, flags=1)
    assert made is not None
    return made


@dataclass(frozen=True)
class Received:
    """One log record as it came."""

    name: str
    trace_id: int
    span_id: int
    flags: int
    at_ns: int
    severity: int
    attributes: dict[str, Any]
    resource: dict[str, Any]
    scope: tuple[str, str]


class EventSink:
    """Collects log records; ``wait_for`` waits for them without sleeping."""

    def __init__(self) -> None:
        self._events: list[Received] = []
        self._arrived = threading.Condition()

    @property
    def events(self) -> list[Received]:
        """Everything collected so far."""
        with self._arrived:
            return list(self._events)

    def take(self, request: bytes) -> None:
        """Take an export request."""
        with self._arrived:
            self._events.extend(events_in(request))
            self._arrived.notify_all()

    def wait_for(self, count: int, timeout: float = 20.0) -> list[Received]:
        """Return the events once there are ``count``."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._events) >= count, timeout):
                raise TimeoutError(f"{len(self._events)} of {count} events after {timeout:g} s")
            return list(self._events)


def events_in(request: bytes) -> Iterable[Received]:
    """Yield the log records of an export request."""
    for resource in ExportLogsServiceRequest.FromString(request).resource_logs:
        for scope in resource.scope_logs:
            for record in scope.log_records:
                attributes = _attributes(record.attributes)
                yield Received(
                    # Where the messages of an old SDK do not know it, it stands among what they passed on.
                    name=getattr(record, "event_name", "") or _name(record.SerializeToString()),
                    trace_id=int.from_bytes(record.trace_id, "big"),
                    span_id=int.from_bytes(record.span_id, "big"),
                    flags=record.flags,
                    at_ns=record.time_unix_nano,
                    severity=record.severity_number,
                    attributes=attributes,
                    resource=_attributes(resource.resource.attributes),
                    scope=(scope.scope.name, scope.schema_url),
                )


def _name(record: bytes) -> str:
    name = b"gen_ai.client.inference.operation.details"
    return name.decode() if bytes([12 << 3 | 2, len(name)]) + name in record else ""


def _attributes(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {entry.key: _value(entry.value) for entry in attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind) if kind else None
