"""What is measured: the processor as its users run it, and a Collector that says of single spans what it can."""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from stack.collector import Collector, write
from stack.loopback import HOST, free_ports, get
from stack.running import Running

COLLECTOR_WAIT = 1.0
"""Seconds ``groupbytrace`` waits for the rest of a trace: its default."""
_BUCKETS = ["10ms", "20ms", "40ms", "80ms", "160ms", "320ms", "640ms", "1280ms", "2560ms", "5120ms", "10240ms"]
_RELEASED = re.compile(r"^otelcol_processor_groupbytrace_spans_released(?:_total)?(?:\{.*\})? (\S+)$", re.MULTILINE)
# Of a store: which row of it a processor has numbered last.
_NUMBER = "SELECT number FROM processors"
_ROWS = (
    "SELECT id & ((1 << 44) - 1), max(live_ended_ns, shadow_ended_ns) FROM pairs"
    " WHERE id & ((1 << 44) - 1) BETWEEN ? AND ? ORDER BY id"
)


class Subject(Protocol):
    """Something that receives trace requests and gets them done."""

    name: str
    otlp_grpc: int
    waits: float
    look_seconds: float

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    def done(self) -> int:
        """Return how many pairs it is through with."""
        ...


class ProcessorUnderTest(Running):
    """
    ``shadowmesh processor --config FILE`` with everything on: journal, store, prices, metrics and compare spans.

    Args:
        sink: port of an OTLP/gRPC receiver for metrics and compare spans.
        more: settings beside those, or instead.
    """

    waits = 0.0
    look_seconds = 0.01

    def __init__(self, directory: Path, sink: int, **more: Any) -> None:
        self.otlp_grpc, http = free_ports(2)
        self._store = directory / "data" / "pairs.db"
        self._connection: sqlite3.Connection | None = None
        settings = {
            "data": str(directory / "data"),
            "listen": f"{HOST}:{self.otlp_grpc}",
            "http_listen": f"{HOST}:{http}",
            "export": [{"endpoint": f"http://{HOST}:{sink}"}],
            "prices": [{"model": "m-*", "per_million_tokens": {"input": 1.0, "output": 3.0}}],
            **more,
        }
        config = write(directory, "processor", {"processor": settings})
        command = [sys.executable, "-P", "-m", "shadowmesh", "processor", "--config", str(config)]
        super().__init__(command, directory, health=(http, "/readyz"), environment={})
        self.name = "processor"

    def done(self) -> int:
        """Return how many pairs are stored, as any reader of the store sees it."""
        return int(self._read().execute(_NUMBER).fetchone()[0])

    def ended(self, first: int, last: int) -> list[int]:
        """Return when the later leg of each of these stored pairs ended, wall-clock ns, in the order of storing."""
        return [ended for _, ended in self._read().execute(_ROWS, (first, last))]

    def memory(self) -> int:
        """Return the bytes of memory it has resident."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def stop(self, grace: float = 20.0) -> int | None:
        """End it, and let go of its store."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        return super().stop(grace)

    def _read(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(f"file:{self._store}?mode=ro", uri=True, isolation_level=None)
        return self._connection


class CollectorUnderTest(Collector):
    """``groupbytrace`` and ``span_metrics``, and nothing behind them."""

    waits = COLLECTOR_WAIT
    # Asked more often, it would spend a good part of its core on answering.
    look_seconds = 0.25

    def __init__(self, binary: Path, directory: Path) -> None:
        super().__init__(binary, write(directory, "collector", _collector()), directory)
        self.name = "collector"

    def done(self) -> int:
        """Return how many pairs of spans ``groupbytrace`` has handed to ``span_metrics``."""
        found = _RELEASED.findall(get(self.own_metrics, "/metrics").body)
        return int(sum(map(float, found))) // 2


@contextmanager
def started_on(cores: Iterable[int]) -> Iterator[None]:
    """Let what is started within run on these cores only; a runtime that counts its cores counts those."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _collector() -> dict[str, Any]:
    dimensions = ("shadowmesh.role", "shadowmesh.experiment.name", "shadowmesh.target.name")
    return {
        "receivers": {"otlp": {"protocols": {"grpc": {"max_recv_msg_size_mib": 16}}}},
        "extensions": {"health_check": {}},
        "processors": {
            "groupbytrace": {"wait_duration": f"{COLLECTOR_WAIT:g}s", "num_traces": 1_000_000, "num_workers": 1}
        },
        "connectors": {
            "span_metrics": {
                "histogram": {"unit": "s", "explicit": {"buckets": _BUCKETS}},
                "dimensions": [{"name": name} for name in dimensions],
                "exemplars": {"enabled": True, "max_per_data_point": 5},
                "metrics_flush_interval": "10s",
            }
        },
        "exporters": {"nop": {}},
        "service": {
            "extensions": ["health_check"],
            "telemetry": {"logs": {"level": "warn"}},
            "pipelines": {
                "traces": {"receivers": ["otlp"], "processors": ["groupbytrace"], "exporters": ["span_metrics"]},
                "metrics": {"receivers": ["span_metrics"], "exporters": ["nop"]},
            },
        },
    }
