"""Where our own telemetry goes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shadowmesh.settings import ByteSize, Endpoint, Seconds, Settings
from shadowmesh.telemetry.local_address import StatusAddress


class OtlpSettings(Settings):
    """
    An OTLP/gRPC endpoint; what is not said here follows the standard ``OTEL_EXPORTER_OTLP_*`` variables.

    Args:
        endpoint: ``http://host:port`` in plain text, ``https://host:port`` with TLS.
    """

    endpoint: Endpoint


class TelemetrySettings(Settings):
    """
    Names and limits of our own telemetry.

    Args:
        service_name: ``service.name`` of the spans and metrics; ``OTEL_SERVICE_NAME`` where absent.
        otlp: where to send them; where absent, what ``OTEL_TRACES_EXPORTER`` and its kin say (by default OTLP).
        queue_pairs: pairs waiting for the exporter; more are dropped whole and counted.
        queue_content: bytes of captured text waiting with them; more is let go, and counted, and its pairs stay.
        metric_interval: seconds between two exports of the funnel; ``OTEL_METRIC_EXPORT_INTERVAL`` where absent, and
            where that is absent too, 10 s.
        status: where ``shadowmesh status`` may ask this process; nowhere where absent. One address and no more to set:
            who may ask is decided by the socket's file mode, or by being on this machine. It stands here because the
            answer is telemetry of ours, and not at the top because one file may serve a processor as well, which
            needs an address of its own (``processor.status``).
    """

    service_name: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    otlp: OtlpSettings | None = None
    queue_pairs: Annotated[int, Field(strict=True, ge=1)] = 4096
    queue_content: ByteSize = 32 * 1024 * 1024
    metric_interval: Seconds | None = None
    status: StatusAddress | None = None
