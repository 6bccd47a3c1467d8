"""What ``/metrics`` calls a series is what Prometheus calls it when it receives the same metrics by OTLP."""

from __future__ import annotations

import time
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client.parser import text_string_to_metric_families
from stack.prometheus import Prometheus
from support.metrics import bytes_of, data_of
from support.pairs import GAUGES, everything
from support.resources import until

from shadowmesh.processor.scrape import render

pytestmark = pytest.mark.e2e

WITHIN = 20.0
# Made from the resource's own two names, as the scrape configuration does for a scraped one.
TARGET = {"job": "shadowmesh-processor", "instance": "one"}

Series = frozenset[tuple[str, Any]]


def series(name: str, labels: dict[str, str]) -> Series:
    """Return what tells one series from all others, its bound as the number it is."""
    about: dict[str, Any] = labels | {"__name__": name}
    if "le" in about:
        about["le"] = float(about["le"])
    return frozenset((key, value) for key, value in about.items() if key not in TARGET)


def test_every_scraped_series_is_the_one_that_prometheus_makes_of_what_it_receives(prometheus: Prometheus) -> None:
    metrics = everything().collect(time.time_ns(), buffered=3, capacity=1000, gauges=GAUGES)
    data = data_of(metrics, service__name=TARGET["job"], service__instance__id=TARGET["instance"])
    headers = {"content-type": "application/x-protobuf"}
    request = Request(prometheus.otlp_metrics, bytes_of(data), headers)
    with build_opener(ProxyHandler({})).open(request, timeout=WITHIN) as answer:
        assert answer.status == 200
    selector = '{job="shadowmesh-processor",__name__!="target_info"}'
    assert until(lambda: prometheus.query(selector) != [], WITHIN)
    stored = {series(one["metric"]["__name__"], one["metric"]): one["value"][1] for one in prometheus.query(selector)}
    text, _ = render(data)
    scraped = {
        series(sample.name, sample.labels): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name != "target_info"
    }
    assert scraped.keys() == stored.keys()
    assert scraped == {one: float(value) for one, value in stored.items()}
