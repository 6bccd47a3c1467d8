"""
Resource and exporters, from our settings and the standard ``OTEL_*`` variables.

Settings that are given win over the variables, as code always does in OpenTelemetry; what is not given is left to
them. Exporters are imported here, where they are built, and nowhere earlier.
"""

from __future__ import annotations

import logging
import os
import uuid
from importlib import import_module
from importlib.metadata import version
from typing import Any

from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    MetricExporter,
    MetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter

from shadowmesh.errors import ConfigError
from shadowmesh.names import DISTRO_NAME, DISTRO_VERSION, SERVICE_INSTANCE_ID, SERVICE_NAME
from shadowmesh.telemetry.content_export import EventExporter
from shadowmesh.telemetry.settings import TelemetrySettings

_LOG = logging.getLogger("shadowmesh")
_HTTP = "http/protobuf"
_OTLP = "opentelemetry.exporter.otlp.proto"
_EXPORTERS = {
    ("TRACES", "grpc"): ("shadowmesh.telemetry.otlp", "PairSpanExporter"),
    ("TRACES", _HTTP): (f"{_OTLP}.http.trace_exporter", "OTLPSpanExporter"),
    ("METRICS", "grpc"): (f"{_OTLP}.grpc.metric_exporter", "OTLPMetricExporter"),
    ("METRICS", _HTTP): (f"{_OTLP}.http.metric_exporter", "OTLPMetricExporter"),
    ("LOGS", "grpc"): ("shadowmesh.telemetry.otlp_logs", "EventLogExporter"),
    ("LOGS", _HTTP): ("shadowmesh.telemetry.otlp_logs_http", "HttpEventLogExporter"),
}
_INTERVAL_MILLIS = 10_000.0


def sdk_disabled() -> bool:
    """Return whether ``OTEL_SDK_DISABLED`` is true: nothing is mirrored then."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def make_resource(settings: TelemetrySettings) -> Resource:
    """Return the resource of this process, with a ``service.instance.id`` of its own if the environment gave none."""
    ours: dict[str, str] = {}
    if settings.service_name is not None:
        ours[SERVICE_NAME] = settings.service_name
    resource = Resource.create(ours)
    if SERVICE_INSTANCE_ID not in resource.attributes:
        resource = resource.merge(Resource({SERVICE_INSTANCE_ID: str(uuid.uuid4())}))
    return resource.merge(Resource({DISTRO_NAME: "shadowmesh", DISTRO_VERSION: version("shadowmesh")}))


def check(settings: TelemetrySettings) -> None:
    """
    Refuse what could not be built later and load what it needs, without building it.

    Raises:
        ConfigError: the variables name an exporter or a protocol we do not know.
    """
    for signal, module in (("TRACES", "trace_exporter"), ("METRICS", "metric_exporter")):
        if _kind(settings, f"OTEL_{signal}_EXPORTER") == "otlp":
            # Loaded now: the exporters themselves are made by the first covered call, which must not wait for imports.
            transport = "grpc" if settings.otlp is not None or _protocol(signal) == "grpc" else "http"
            import_module(f"opentelemetry.exporter.otlp.proto.{transport}.{module}")


def check_logs(settings: TelemetrySettings) -> None:
    """
    Refuse what could not be built for captured text; nothing is loaded, because a thread of its own does that later.

    Raises:
        ConfigError: the variables name an exporter or a protocol we do not know.
    """
    if _kind(settings, "OTEL_LOGS_EXPORTER") == "otlp" and settings.otlp is None:
        _protocol("LOGS")


def span_exporter(settings: TelemetrySettings) -> SpanExporter | None:
    """Return the exporter for spans, ``None`` where ``OTEL_TRACES_EXPORTER`` is ``none``."""
    kind = _kind(settings, "OTEL_TRACES_EXPORTER")
    if kind == "otlp":
        exporter: SpanExporter = _otlp("TRACES", settings)
        return exporter
    return ConsoleSpanExporter() if kind == "console" else None


def log_exporter(settings: TelemetrySettings) -> EventExporter | None:
    """Return the exporter for captured text, ``None`` where ``OTEL_LOGS_EXPORTER`` is ``none``."""
    kind = _kind(settings, "OTEL_LOGS_EXPORTER")
    if kind == "none":
        return None
    if kind == "otlp":
        exporter: EventExporter = _otlp("LOGS", settings)
        return exporter
    console: EventExporter = import_module("shadowmesh.telemetry.log_records").ConsoleEventExporter()
    return console


def metric_reader(settings: TelemetrySettings) -> MetricReader | None:
    """Return what exports the metrics at intervals, ``None`` where ``OTEL_METRICS_EXPORTER`` is ``none``."""
    kind = _kind(settings, "OTEL_METRICS_EXPORTER")
    if kind == "none":
        return None
    exporter: MetricExporter = _otlp("METRICS", settings) if kind == "otlp" else ConsoleMetricExporter()
    return PeriodicExportingMetricReader(exporter, export_interval_millis=_interval_millis(settings))


def _interval_millis(settings: TelemetrySettings) -> float | None:
    """Return the interval, ``None`` where the SDK is to read it from its own variable."""
    if settings.metric_interval is not None:
        return settings.metric_interval * 1e3
    return None if os.environ.get("OTEL_METRIC_EXPORT_INTERVAL") else _INTERVAL_MILLIS


def _kind(settings: TelemetrySettings, variable: str) -> str:
    if settings.otlp is not None:
        return "otlp"
    value = os.environ.get(variable, "").strip().lower() or "otlp"
    kind, *others = (part.strip() for part in value.split(","))
    for part in (kind, *others):
        if part not in ("otlp", "console", "none"):
            raise ConfigError(f"{variable}={part} is not one of otlp, console, none")
    if others:
        _LOG.warning("%s=%s: only %s is used for the mirror's own telemetry", variable, value, kind)
    return kind


def _otlp(signal: str, settings: TelemetrySettings) -> Any:
    if settings.otlp is not None:
        endpoint = settings.otlp.endpoint
        return _class(signal, "grpc")(endpoint=endpoint, insecure=not endpoint.startswith("https://"))
    return _class(signal, _protocol(signal))()


def _protocol(signal: str) -> str:
    for variable in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = os.environ.get(variable, "").strip()
        if protocol and protocol not in ("grpc", _HTTP):
            raise ConfigError(f"{variable}={protocol} is not one of grpc, {_HTTP}")
        if protocol:
            return protocol
    return "grpc"


def _class(signal: str, protocol: str) -> Any:
    module, name = _EXPORTERS[signal, protocol]
    return getattr(import_module(module), name)
