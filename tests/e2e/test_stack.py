"""The real Collector, Jaeger and Prometheus run here, and take what an OpenTelemetry SDK sends."""

from __future__ import annotations

from uuid import uuid4

import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, format_trace_id
from stack.collector import Collector
from stack.jaeger import Jaeger
from stack.loopback import HOST
from stack.prometheus import Prometheus
from support.resources import until

pytestmark = pytest.mark.e2e

WITHIN = 20.0
RESOURCE = Resource({"service.name": "model-server", "service.instance.id": "one"})


def send_linked_spans(collector: Collector, **attributes: str | bool) -> str:
    """Send a trace of two spans, the second linked to the first, and return its id."""
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"http://{HOST}:{collector.otlp_grpc}", insecure=True)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("tests")
    with tracer.start_as_current_span("live", attributes=attributes) as live:
        tracer.start_span("shadow", links=[Link(live.get_span_context())]).end()
    provider.shutdown()
    return format_trace_id(live.get_span_context().trace_id)


def test_a_trace_sent_through_the_collector_is_found_in_jaeger(collector: Collector, jaeger: Jaeger) -> None:
    trace_id = send_linked_spans(collector)
    assert until(lambda: len(jaeger.search("model-server")) == 2, WITHIN)
    spans = {span["name"]: span for span in jaeger.search("model-server")}
    assert [link["spanId"] for link in spans["shadow"]["links"]] == [spans["live"]["spanId"]]
    assert {span["traceId"] for span in jaeger.trace(trace_id)} == {trace_id}
    assert jaeger.search("somebody-else") == []


def test_a_trace_is_found_in_jaeger_by_attributes_of_one_of_its_spans(collector: Collector, jaeger: Jaeger) -> None:
    pair_id = uuid4().hex
    send_linked_spans(collector, pair=pair_id, same=False)
    assert until(lambda: len(jaeger.find({"pair": pair_id})) == 2, WITHIN)
    assert {span.name for span in jaeger.find({"same": "false"})} == {"live", "shadow"}
    assert jaeger.find({"pair": pair_id, "same": "true"}) == []


def test_a_metric_sent_through_the_collector_is_in_prometheus_under_its_literal_name(
    collector: Collector, prometheus: Prometheus
) -> None:
    exporter = OTLPMetricExporter(f"http://{HOST}:{collector.otlp_grpc}", insecure=True)
    provider = MeterProvider([PeriodicExportingMetricReader(exporter)], resource=RESOURCE, shutdown_on_exit=False)
    counter = provider.get_meter("tests").create_counter("stack.test.pairs", unit="{pair}")
    counter.add(3, {"pair.outcome": "matched"})
    provider.shutdown()
    assert until(lambda: prometheus.query("stack_test_pairs_total") != [], WITHIN)
    (sample,) = prometheus.query("stack_test_pairs_total")
    assert sample["value"][1] == "3"
    labels = {"job": "model-server", "instance": "one", "pair_outcome": "matched"}
    assert sample["metric"] == {"__name__": "stack_test_pairs_total", **labels}


def test_what_waits_in_the_collectors_queue_outlives_a_kill_of_the_collector(
    collector: Collector, jaeger: Jaeger
) -> None:
    jaeger.stop()
    trace_id = send_linked_spans(collector)
    collector.kill()
    jaeger.start()
    collector.start()
    assert until(lambda: len(jaeger.trace(trace_id)) == 2, WITHIN)
