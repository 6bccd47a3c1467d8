"""At the end of a processor an endpoint has its time, unless nobody is there any more."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from opentelemetry.sdk.metrics.export import MetricsData
from support.meshes import refusing_address
from support.otlp import OtlpSink

from shadowmesh.processor.destination import Destination
from shadowmesh.processor.endpoints import is_there
from shadowmesh.processor.intake import Signal
from shadowmesh.processor.settings import ExportSettings, QueueSettings
from shadowmesh.telemetry.faults import Faults


def forwarding(endpoint: str, faults: Faults) -> Destination:
    settings = ExportSettings(endpoint=endpoint, traces=False, metrics=False, forward_spans=True)
    return Destination(settings, QueueSettings(), own=True, faults=faults)


async def test_where_nobody_is_what_waits_is_dropped_and_counted_before_every_try_is_made() -> None:
    faults = Faults()
    with refusing_address() as address:
        destination = forwarding(f"http://{address}", faults)
        destination.start()
        destination.request(Signal.TRACES, b"")
        await asyncio.wait_for(destination.finish(MetricsData([]), 3600), 20)
        outbox = destination.outboxes()["forwarded"]
        assert (outbox.waiting, outbox.lost) == (1, 0)
        await destination.close()
    assert (outbox.waiting, outbox.dropped) == (0, 1)
    assert list(faults.totals().values()) == [1]


async def test_one_who_is_there_is_tried_for_longer() -> None:
    async with OtlpSink([grpc.StatusCode.UNAVAILABLE] * 2) as sink:
        destination = forwarding(sink.endpoint, Faults())
        destination.start()
        destination.request(Signal.TRACES, b"")
        # A second before the second try, two before the third.
        await asyncio.wait_for(destination.finish(MetricsData([]), 3600), 20)
        assert destination.outboxes()["forwarded"].sent == 1
        await destination.close()


@pytest.mark.parametrize("form", ["http://{}", "https://{}", "{}", "dns:///{}"])
async def test_every_form_of_an_endpoint_is_found_or_not(form: str) -> None:
    async with OtlpSink() as sink:
        assert await is_there(form.format(f"localhost:{sink.port}"))
    with refusing_address() as address:
        assert not await is_there(form.format(address))


@pytest.mark.parametrize("endpoint", ["http://nobody.invalid:4317", "http://a..b:4317", "http://" + "x" * 70])
async def test_a_name_that_leads_nowhere_is_nobody(endpoint: str) -> None:
    assert not await is_there(endpoint)


async def test_what_is_no_address_is_not_asked() -> None:
    assert await is_there("unix:/nowhere/at/all")
