"""Meshes for tests: what is mirrored, to whom, over which carrier."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

from opentelemetry.sdk.metrics.export import MetricReader
from support.collector import collector
from support.servers import KINDS, PROXY, is_aio
from support.wire_carrier import WireCarrier

from shadowmesh.build import Mesh
from shadowmesh.config import Config
from shadowmesh.telemetry.settings import OtlpSettings
from shadowmesh.testing import SpanSink

CARRIERS = (
    *(
        (kind, carrier)
        for kind in KINDS
        for carrier in (("loop", "thread", "wire") if is_aio(kind) else ("thread", "wire"))
    ),
    (PROXY, "loop"),
)
"""Every kind of server with every carrier it can have, and the proxy, whose server is one of them."""


def config(*targets: dict[str, Any], methods: tuple[str, ...] = ("*",), **more: Any) -> Config:
    """Return a configuration of one experiment named ``x``; ``more`` goes into it."""
    return Config.model_validate(
        {"experiments": [{"name": "x", "methods": list(methods), "targets": list(targets), **more}]}
    )


def target(address: str, name: str = "candidate", **more: Any) -> dict[str, Any]:
    return {"name": name, "address": address, **more}


@contextlib.contextmanager
def running_mesh(
    settings: Config, carrier: str = "thread", *, grace: float = 10.0, metric_reader: MetricReader | None = None
) -> Iterator[tuple[Mesh, SpanSink]]:
    """Build a mesh over ``carrier``; leaving the block drains it within ``grace`` seconds."""
    sink = SpanSink()
    with contextlib.ExitStack() as stack:
        if carrier == "wire":
            mesh = Mesh(settings, span_exporter=sink, metric_reader=metric_reader, make_carrier=WireCarrier)
        elif carrier == "process":
            # A worker exports by itself, so that its spans come back as everybody's do.
            otlp = OtlpSettings(endpoint=f"http://{stack.enter_context(collector(sink))}")
            mesh = Mesh(_over(settings, carrier, otlp), metric_reader=metric_reader)
        else:
            mesh = Mesh(_over(settings, carrier, None), span_exporter=sink, metric_reader=metric_reader)
        try:
            yield mesh, sink
        finally:
            mesh.close(grace)


def _over(settings: Config, carrier: str, otlp: OtlpSettings | None) -> Config:
    mirror = settings.mirror.model_copy(update={"carrier": carrier})
    telemetry = settings.telemetry.model_copy(update={"otlp": otlp or settings.telemetry.otlp})
    return settings.model_copy(update={"mirror": mirror, "telemetry": telemetry})


@contextlib.contextmanager
def refusing_address() -> Iterator[str]:
    """An address that refuses every connection: its port is taken and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"
