"""What a user may set of a processor."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from shadowmesh.pricing import PriceSettings
from shadowmesh.settings import ByteSize, Endpoint, ListenAddress, Seconds, Settings
from shadowmesh.telemetry.local_address import StatusAddress

Pattern = Annotated[str, Field(min_length=1, max_length=256)]
"""A shell pattern such as ``acme.v1.Models/*``."""


class ExportSettings(Settings):
    """
    One OTLP/gRPC endpoint, and what it gets.

    ``traces`` are the compare spans and ``metrics`` the comparison; ``forward_spans`` and
    ``forward_metrics`` also pass on what was received, byte for byte. TLS unless the endpoint is
    ``http://…`` or ``insecure`` is set; the standard ``OTEL_EXPORTER_OTLP_*`` variables give what is not
    set here.
    """

    endpoint: Endpoint
    traces: bool = True
    metrics: bool = True
    forward_spans: bool = False
    forward_metrics: bool = False
    insecure: bool | None = None
    headers: dict[Annotated[str, Field(pattern=r"^[a-z0-9_.-]+$")], SecretStr] = Field(default_factory=dict)


class QueueSettings(Settings):
    """How much may wait for one endpoint; what does not fit is dropped and counted."""

    items: Annotated[int, Field(strict=True, gt=0, le=100_000_000)] = 8192
    size: ByteSize = 64 * 1024 * 1024


class ProcessorSettings(Settings):
    """
    The processor: where it listens, how long legs wait for each other, where the comparison goes.

    ``capacity`` is the number of legs that may wait; one holds a few KiB, at most 16 KiB of text.
    ``methods`` and ``models`` are the ones metrics tell apart (the rest is ``_OTHER``): every method when
    ``methods`` is empty, no model when ``models`` is. ``series`` bounds the attribute sets of each metric
    either way. ``compare_spans`` knows no threshold yet: all pairs with both legs, or none.
    ``status`` is where ``shadowmesh status`` may ask; it is not the interceptor's key, because one file may set both
    and they cannot share an address.
    """

    listen: ListenAddress = "127.0.0.1:24317"
    window: Seconds = 60.0
    capacity: Annotated[int, Field(strict=True, gt=0, le=100_000_000)] = 100_000
    max_message_bytes: Annotated[ByteSize, Field(le=1 << 30)] = 16 * 1024 * 1024
    export: tuple[ExportSettings, ...] = ()
    metric_interval: Seconds = 10.0
    compare_spans: Literal["always", "never"] = "always"
    prices: tuple[PriceSettings, ...] = ()
    methods: tuple[Pattern, ...] = ()
    models: tuple[Pattern, ...] = ()
    series: Annotated[int, Field(strict=True, gt=0, le=100_000_000)] = 2000
    queue: QueueSettings = QueueSettings()
    status: StatusAddress | None = None
