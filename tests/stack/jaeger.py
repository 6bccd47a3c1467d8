"""Jaeger 2."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData
from stack.collector import NOTHING, otlp, own_metrics, write
from stack.loopback import HOST, free_ports, get
from stack.running import Running

from shadowmesh.protocols.wire import field

_FIND = "/jaeger.api_v3.QueryService/FindTraces"
_PAST = timedelta(hours=1)
_MOST_TRACES = 100
# Field 8, a number below 128: the depth of a search, which has to be given.
_DEPTH = bytes((8 << 3, _MOST_TRACES))
_WITHIN = 10.0


class Jaeger(Running):
    """
    A Jaeger with a configuration of the test's, in which only the ports are replaced and its traces of itself are off.

    The configuration needs the extensions ``jaeger_query`` and ``healthcheckv2`` (with ``use_v2``), in the list of the
    service too. The user interface is not in the binary.
    """

    def __init__(
        self, binary: Path, config: Path, directory: Path, *, environment: Mapping[str, str] = NOTHING
    ) -> None:
        self.otlp_grpc, self.otlp_http, self.query_http, self.query_grpc, self.health, self.own_metrics = free_ports(6)
        query = {
            "http": {"endpoint": f"{HOST}:{self.query_http}"},
            "grpc": {"endpoint": f"{HOST}:{self.query_grpc}"},
            # By default it traces its own queries, to whoever listens on port 4317, and takes long to end without one.
            "enable_tracing": False,
        }
        health = {"http": {"endpoint": f"{HOST}:{self.health}"}}
        ports = {
            "receivers": {"otlp": otlp(self.otlp_grpc, self.otlp_http)},
            "extensions": {"jaeger_query": query, "healthcheckv2": health},
            "service": {"telemetry": {"metrics": {"readers": [own_metrics(self.own_metrics)]}}},
        }
        overlay = write(directory, "jaeger-ports", ports)
        super().__init__(
            [str(binary), "--config", str(config.absolute()), "--config", str(overlay)],
            directory,
            health=(self.health, "/status"),
            environment=environment,
        )

    def trace(self, trace_id: str) -> list[dict[str, Any]]:
        """Return the spans of a trace as OTLP's JSON, from ``/api/v3/traces/ID``; none where it is unknown."""
        return self._spans(f"/api/v3/traces/{trace_id}")

    def search(self, service: str) -> list[dict[str, Any]]:
        """
        Return the spans of the last hour's traces of a service as OTLP's JSON, from ``/api/v3/traces``.

        This version searches by service, operation, time and duration over HTTP; for attributes see :meth:`find`.
        """
        now = datetime.now(UTC)
        query = {
            "query.service_name": service,
            "query.start_time_min": (now - _PAST).isoformat(),
            "query.start_time_max": (now + _PAST).isoformat(),
            "query.num_traces": str(_MOST_TRACES),
        }
        return self._spans("/api/v3/traces", **query)

    def find(self, attributes: Mapping[str, str], *, service: str = "") -> list[Span]:
        """
        Return the spans of the last hour's traces with a span that has all of these attributes.

        By ``FindTraces`` of the same API over gRPC. A value is compared as text: ``"false"``, ``"3"``.

        Raises:
            grpc.RpcError: Jaeger refused the search.
        """
        now = datetime.now(UTC)
        query = field(1, service.encode()) + _DEPTH
        for key, value in attributes.items():
            query += field(3, field(1, key.encode()) + field(2, value.encode()))
        for number, at in ((4, now - _PAST), (5, now + _PAST)):
            timestamp = Timestamp()
            timestamp.FromDatetime(at)
            query += field(number, timestamp.SerializeToString())
        with grpc.insecure_channel(f"{HOST}:{self.query_grpc}") as channel:
            find: Any = channel.unary_stream(_FIND, response_deserializer=TracesData.FromString)
            return [
                span
                for traces in find(field(1, query), timeout=_WITHIN)
                for resource in traces.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            ]

    def _spans(self, path: str, **query: str) -> list[dict[str, Any]]:
        answer = get(self.query_http, path, **query)
        if answer.status == 404:
            return []
        assert answer.status == 200, f"Jaeger answered {answer.status}: {answer.body}"
        return [
            span
            for resource in json.loads(answer.body)["result"].get("resourceSpans", ())
            for scope in resource.get("scopeSpans", ())
            for span in scope.get("spans", ())
        ]
