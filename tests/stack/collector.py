"""The OpenTelemetry Collector."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from stack.loopback import HOST, free_ports
from stack.running import Running

NOTHING: Mapping[str, str] = MappingProxyType({})


class Collector(Running):
    """
    A Collector with a configuration of the test's, in which only the ports are replaced.

    The configuration needs the ``health_check`` extension, in the list of the service too. What it says as
    ``${env:NAME}`` is taken from ``environment``.
    """

    def __init__(
        self, binary: Path, config: Path, directory: Path, *, environment: Mapping[str, str] = NOTHING
    ) -> None:
        self.otlp_grpc, self.otlp_http, self.health, self.own_metrics = free_ports(4)
        ports = {
            "receivers": {"otlp": otlp(self.otlp_grpc, self.otlp_http)},
            "extensions": {"health_check": {"endpoint": f"{HOST}:{self.health}"}},
            "service": {"telemetry": {"metrics": {"readers": [own_metrics(self.own_metrics)]}}},
        }
        super().__init__(
            [
                str(binary),
                "--config",
                str(config.absolute()),
                "--config",
                str(write(directory, "collector-ports", ports)),
            ],
            directory,
            health=(self.health, "/"),
            environment=environment,
        )


def otlp(grpc_port: int, http_port: int) -> dict[str, Any]:
    """Return the settings of an OTLP receiver on two ports."""
    return {
        "protocols": {"grpc": {"endpoint": f"{HOST}:{grpc_port}"}, "http": {"endpoint": f"{HOST}:{http_port}"}},
    }


def own_metrics(port: int) -> dict[str, Any]:
    """Return the settings by which a Collector's own metrics are scraped from a port."""
    return {"pull": {"exporter": {"prometheus": {"host": HOST, "port": port}}}}


def write(directory: Path, name: str, config: Mapping[str, Any]) -> Path:
    """Write a configuration and return its path; of two files, the later one wins, except that lists are not merged."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
    return path
