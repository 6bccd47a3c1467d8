"""What a user may set of a processor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from shadowmesh.pricing import PriceSettings
from shadowmesh.processor.alert_settings import AlertSettings
from shadowmesh.processor.journal_settings import JournalSettings
from shadowmesh.processor.limits import LimitSettings
from shadowmesh.processor.tokens import BearerTokenSettings
from shadowmesh.settings import ByteSize, Endpoint, ListenAddress, Seconds, Settings
from shadowmesh.store.settings import StoreSettings
from shadowmesh.telemetry.local_address import StatusAddress
from shadowmesh.telemetry.server_tls import ServerTlsSettings

Pattern = Annotated[str, Field(min_length=1, max_length=256)]
"""A shell pattern such as ``acme.v1.Models/*``."""


class ExportSettings(Settings):
    """
    One OTLP/gRPC endpoint, and what it gets.

    ``traces`` are the compare spans and ``metrics`` the comparison; ``forward_spans``, ``forward_metrics`` and
    ``forward_logs`` also pass on what was received, byte for byte (what came as JSON, as protobuf). TLS unless the
    endpoint is ``http://…`` or ``insecure`` is set; the standard ``OTEL_EXPORTER_OTLP_*`` variables give what is not
    set here.
    """

    endpoint: Endpoint
    traces: bool = True
    metrics: bool = True
    forward_spans: bool = False
    forward_metrics: bool = False
    forward_logs: bool = False
    insecure: bool | None = None
    headers: dict[Annotated[str, Field(pattern=r"^[a-z0-9_.-]+$")], SecretStr] = Field(default_factory=dict)


class QueueSettings(Settings):
    """How much may wait for one endpoint; what does not fit is dropped and counted."""

    items: Annotated[int, Field(strict=True, gt=0, le=100_000_000)] = 8192
    size: ByteSize = 64 * 1024 * 1024


Factor = Annotated[float, Field(strict=True, gt=1, le=1_000_000, allow_inf_nan=False)]
"""How many times as much, or as little, is remarkable."""


class CompareThresholdSettings(Settings):
    """
    From when on a pair is worth a compare span, with ``compare_spans: threshold``.

    It always is when status, finish reason or output differ, or when it cannot be compared. Else when a figure of the
    shadow is more than so many times the live one, or the live one that of the shadow: ``duration``,
    ``time_to_first_chunk``, input or output ``tokens``, ``cost``. Times that differ by no more than ``least_time`` are
    alike whatever their ratio.
    """

    duration: Factor = 1.5
    time_to_first_chunk: Factor = 1.5
    tokens: Factor = 1.5
    cost: Factor = 1.5
    least_time: Seconds = 0.01


class ProcessorSettings(Settings):
    """
    The processor: where it listens, how long legs wait for each other, where the comparison goes.

    ``listen`` is OTLP/gRPC and ``http_listen`` OTLP/HTTP and health; both have the same ``tls``, ``bearer_token`` and
    ``limits``, and without the first two whoever reaches them may send. ``max_message_bytes`` holds for a request as it
    comes and for what it unpacks to. ``capacity`` is the number of legs that may wait; one holds a few KiB, at most
    16 KiB of text.
    ``methods`` and ``models`` are the ones metrics tell apart (the rest is ``_OTHER``): every method when
    ``methods`` is empty, no model when ``models`` is. ``series`` bounds the attribute sets of each metric
    either way. ``histograms`` are ``explicit``, with the bounds of the conventions, or ``exponential``, which
    Prometheus keeps as native ones. With ``scrape`` the HTTP port answers ``/metrics``. Of pairs with both legs
    ``compare_spans`` gives a span to all, to those that ``compare_threshold`` finds worth one, or to none. Captured
    outputs match in metrics from a similarity of ``similarity_match`` on.
    ``data`` is the directory of what must outlive the process: its name and, unless ``journal`` and ``store`` say
    otherwise, its journal, and its store in ``pairs.db``. ``settle`` seconds after a call began its spans are here:
    the longest deadline and what exporters take. Every ``checkpoint_interval`` what was counted is saved.
    ``alerts`` says when a candidate that became worse is an alarm, and who is told of it and of answers that change.
    ``status`` is where ``shadowmesh status`` may ask; it is not the interceptor's key, because one file may set both
    and they cannot share an address.
    """

    data: Annotated[str, Field(min_length=1, max_length=1024)] = "shadowmesh-data"
    journal: JournalSettings | None = None
    store: StoreSettings | None = None
    listen: ListenAddress = "127.0.0.1:24317"
    http_listen: ListenAddress | None = "127.0.0.1:24318"
    tls: ServerTlsSettings | None = None
    bearer_token: BearerTokenSettings | None = None
    limits: LimitSettings = LimitSettings()
    window: Seconds = 60.0
    settle: Seconds = 60.0
    checkpoint_interval: Seconds = 10.0
    capacity: Annotated[int, Field(strict=True, gt=0, le=100_000_000)] = 100_000
    max_message_bytes: Annotated[ByteSize, Field(le=1 << 30)] = 16 * 1024 * 1024
    export: tuple[ExportSettings, ...] = ()
    metric_interval: Seconds = 10.0
    compare_spans: Literal["always", "threshold", "never"] = "threshold"
    compare_threshold: CompareThresholdSettings = CompareThresholdSettings()
    similarity_match: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.95
    prices: tuple[PriceSettings, ...] = ()
    methods: tuple[Pattern, ...] = ()
    models: tuple[Pattern, ...] = ()
    series: Annotated[int, Field(strict=True, gt=0, le=100_000_000)] = 2000
    histograms: Literal["explicit", "exponential"] = "explicit"
    scrape: Annotated[bool, Field(strict=True)] = False
    queue: QueueSettings = QueueSettings()
    alerts: AlertSettings = AlertSettings()
    status: StatusAddress | None = None

    @property
    def journal_settings(self) -> JournalSettings:
        """What was set of the journal, and where it is, said or not."""
        journal = self.journal or JournalSettings()
        directory = journal.directory or str(Path(self.data) / "journal")
        return journal.model_copy(update={"directory": directory})

    @property
    def store_settings(self) -> StoreSettings:
        """What was set of the store, and where it is, said or not."""
        store = self.store or StoreSettings()
        return store.model_copy(update={"url": store.url or SecretStr(f"sqlite:///{Path(self.data) / 'pairs.db'}")})

    @model_validator(mode="after")
    def _room_for_one(self) -> Self:
        if self.limits.memory < self.max_message_bytes:
            raise ValueError("limits.memory has no room for one request of max_message_bytes")
        return self

    @model_validator(mode="after")
    def _somewhere_to_scrape(self) -> Self:
        if self.scrape and self.http_listen is None:
            raise ValueError("scrape needs http_listen")
        return self
