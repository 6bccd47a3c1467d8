"""The running processor, over real OTLP in both directions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from support.legs import live, shadow
from support.otlp import METRICS, TRACES, OtlpSink, call, counter_request, legs_request, sums
from support.receiving import Client

from shadowmesh import names
from shadowmesh.cli.ask_processor import ask
from shadowmesh.errors import OverloadedError, StartError
from shadowmesh.processor.intake import Signal
from shadowmesh.processor.journal_settings import JournalSettings
from shadowmesh.processor.otlp_services import SERVICES
from shadowmesh.processor.service import Processor
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.store.settings import StoreSettings
from shadowmesh.telemetry.status_shape import JournalTroubles
from shadowmesh.testing import FakeClock
from shadowmesh.verdict.records import Answer


@asynccontextmanager
async def running(*exports: dict[str, Any], clock: FakeClock | None = None, **changes: Any) -> AsyncIterator[Processor]:
    """Run a processor on a free port whose clocks never strike by themselves."""
    settings = ProcessorSettings.model_validate(
        {"listen": "127.0.0.1:0", "http_listen": None, "export": exports, "metric_interval": "1h", "window": "1h"}
        | {"compare_spans": "always"}
        | changes
    )
    processor = Processor(settings, monotonic_ns=clock) if clock else Processor(settings)
    await processor.start()
    try:
        yield processor
    finally:
        await processor.close()


async def send(processor: Processor, method: str, request: bytes) -> bytes:
    answer = await call(f"127.0.0.1:{await processor.start()}")(method, request)
    assert await processor.stored(20)
    return answer


async def test_a_pair_in_is_metrics_and_a_compare_span_out() -> None:
    async with OtlpSink() as sink, running({"endpoint": sink.endpoint}) as processor:
        assert await send(processor, TRACES, legs_request([live()])) == b""
        assert processor.waiting == 1
        await send(processor, TRACES, legs_request([shadow()]))
        assert processor.waiting == 0
        await sink.until(sink.spans)
        processor.export_metrics()
        await sink.until(sink.metrics)
    (span,) = sink.spans()
    assert (span.name, span.parent_span_id) == ("shadowmesh.compare", shadow().span_id.to_bytes(8, "big"))
    assert [link.span_id for link in span.links] == [leg.span_id.to_bytes(8, "big") for leg in (live(), shadow())]
    assert sums(sink, names.METRIC_PAIRS, names.PAIR_OUTCOME) == {"matched": 1}
    assert sums(sink, names.METRIC_PAIRING_SPANS, names.SPAN_OUTCOME) == {"accepted": 2}


def matched(sink: OtlpSink, count: int) -> bool:
    return names.METRIC_PAIRS in sink.metrics() and sums(sink, names.METRIC_PAIRS, names.PAIR_OUTCOME) == {
        "matched": count
    }


async def test_metrics_are_cumulative_from_one_start_under_one_instance() -> None:
    export = {"traces": False}
    async with OtlpSink() as sink, running(export | {"endpoint": sink.endpoint}, metric_interval="10ms") as processor:
        for n in range(2):
            await send(processor, TRACES, legs_request([live(f"p{n}"), shadow(f"p{n}")]))
            await sink.until(partial(matched, sink, n + 1))
    requests = [ExportMetricsServiceRequest.FromString(body) for body in sink.bodies(METRICS)]
    resources = [
        {pair.key: pair.value.string_value for pair in request.resource_metrics[0].resource.attributes}
        for request in requests
    ]
    assert all(resource == resources[0] for resource in resources)
    assert resources[0]["service.name"] == "shadowmesh-processor"
    assert len(resources[0]["service.instance.id"]) == 36
    scope = requests[0].resource_metrics[0].scope_metrics[0]
    assert (scope.scope.name, scope.schema_url) == ("shadowmesh.processor", names.SCHEMA_URL)
    pairs = [point for metric in sink.metric_history(names.METRIC_PAIRS) for point in metric.sum.data_points]
    # Before the first pair it was nothing.
    assert [point.as_int for point in pairs[:2]] == [0, 1]
    assert {point.as_int for point in pairs} == {0, 1, 2}
    assert pairs == sorted(pairs, key=lambda point: (point.time_unix_nano, point.as_int))
    assert len({point.start_time_unix_nano for point in pairs}) == 1


async def test_its_own_clocks_expire_and_export() -> None:
    async with (
        OtlpSink() as sink,
        running({"endpoint": sink.endpoint}, window="20ms", metric_interval="20ms") as processor,
    ):
        await send(processor, TRACES, legs_request([live()]))
        await sink.until(
            lambda: (
                names.METRIC_PAIRS in sink.metrics()
                and sums(sink, names.METRIC_PAIRS, names.PAIR_OUTCOME) == {"live_only": 1}
            )
        )
        assert processor.waiting == 0


async def test_the_window_follows_the_given_clock() -> None:
    clock = FakeClock()
    async with running(clock=clock, window="60s") as processor:
        await send(processor, TRACES, legs_request([live()]))
        clock.advance(59)
        processor.expire()
        assert processor.waiting == 1
        clock.advance(2)
        processor.expire()
        assert processor.waiting == 0
        assert await processor.stored(20)
        assert [account.outcomes for account in processor.accounts()] == [{"live_only": 1}]


async def test_draining_with_a_flush_ends_what_waits_and_exports_it_with_the_last_metrics() -> None:
    async with OtlpSink() as sink, running({"endpoint": sink.endpoint, "forward_spans": True}) as processor:
        request = legs_request([live("p1"), shadow("p1"), live("p2")])
        await send(processor, TRACES, request)
        await processor.drain(10, flush=True)
        assert sums(sink, names.METRIC_PAIRS, names.PAIR_OUTCOME) == {"matched": 1, "live_only": 1}
        assert request in sink.bodies(TRACES)
        assert "shadowmesh.compare" in {span.name for span in sink.spans()}
        await processor.drain(10)


async def test_a_drained_processor_takes_nothing_new() -> None:
    async with running() as processor:
        port = await processor.start()
        await processor.drain(10)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call(f"127.0.0.1:{port}")(TRACES, b"")
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_received_requests_are_forwarded_as_they_were_to_who_asked() -> None:
    spans = legs_request([live()])
    counts = counter_request("something.else", [({}, 1)])
    nothing = {"traces": False, "metrics": False}
    async with OtlpSink() as traces, OtlpSink() as metrics, OtlpSink() as neither:
        async with running(
            {"endpoint": traces.endpoint, **nothing, "forward_spans": True},
            {"endpoint": metrics.endpoint, **nothing, "forward_metrics": True},
            {"endpoint": neither.endpoint, **nothing},
        ) as processor:
            await send(processor, TRACES, spans)
            await send(processor, METRICS, counts)
            await processor.drain(10)
        assert traces.requests == [(TRACES, spans)]
        assert metrics.requests == [(METRICS, counts)]
        assert neither.requests == []


async def test_logs_are_taken_in_and_forwarded_to_who_asked() -> None:
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.add().body.string_value = "the captured text"
    method, data = SERVICES[Signal.LOGS].method, request.SerializeToString()
    nothing = {"traces": False, "metrics": False}
    async with OtlpSink() as sink, OtlpSink() as other:
        exports = ({"endpoint": sink.endpoint, "forward_logs": True}, {"endpoint": other.endpoint})
        async with running(*[nothing | export for export in exports]) as processor:
            assert await send(processor, method, data) == b""
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await send(processor, method, b"\xff\xfe rubbish")
            assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            await processor.drain(10)
        assert sink.requests == [(method, data)]
        assert other.requests == []


async def test_what_comes_over_http_is_paired_and_forwarded_as_protobuf_whatever_it_was() -> None:
    requests = [ExportTraceServiceRequest.FromString(legs_request([leg])) for leg in (live(), shadow())]
    nothing = {"traces": False, "metrics": False}
    async with OtlpSink() as sink:
        export = nothing | {"endpoint": sink.endpoint, "forward_spans": True}
        async with running(export, http_listen="127.0.0.1:0") as processor:
            for form, request in zip(("protobuf", "json"), requests, strict=True):
                assert (await Client(processor.receiver, form).send(Signal.TRACES, request)).ok
            assert await processor.stored(20)
            assert [account.outcomes for account in processor.accounts()] == [{"matched": 1}]
            await processor.drain(10)
        assert [ExportTraceServiceRequest.FromString(body) for body in sink.bodies(TRACES)] == requests


async def test_an_endpoint_that_is_its_own_http_port_is_refused_too() -> None:
    async with running(http_listen="127.0.0.1:0") as taken:
        port = taken.receiver.http_port
    refused = Processor(
        ProcessorSettings.model_validate(
            {
                "listen": "127.0.0.1:0",
                "http_listen": f"127.0.0.1:{port}",
                "export": [{"endpoint": f"http://localhost:{port}"}],
            }
        )
    )
    with pytest.raises(StartError, match="this processor itself"):
        await refused.start()
    await refused.close()


async def test_a_restart_goes_on_behind_what_was_saved_and_finds_no_damage_there() -> None:
    async with running() as processor:
        await send(processor, TRACES, legs_request([live(), shadow()]))
        await processor.checkpoint()
    async with running() as processor:
        (account,) = processor.accounts()
        assert account.outcomes == {"matched": 1}
        assert processor.faults.totals() == {}


async def test_bad_bytes_are_refused_counted_and_survived() -> None:
    async with OtlpSink() as sink, running({"endpoint": sink.endpoint, "forward_spans": True}) as processor:
        for method in (TRACES, METRICS):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await send(processor, method, b"\xff\xfe rubbish")
            assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert processor.receiver.requests.invalid == 2
        await send(processor, TRACES, legs_request([live(), shadow()]))
        await processor.drain(10)
        assert len(sink.bodies(TRACES)) == 2
        assert [account.outcomes for account in processor.accounts()] == [{"matched": 1}]


async def test_a_leg_that_can_never_be_accepted_is_a_partial_success() -> None:
    async with running() as processor:
        request = legs_request([live(), shadow(target="")])
        answer = ExportTraceServiceResponse.FromString(await send(processor, TRACES, request))
        assert answer.partial_success.rejected_spans == 1
        assert processor.waiting == 1


async def test_the_funnel_of_the_interceptors_stands_beside_the_outcomes() -> None:
    async with running() as processor:
        attributes = {
            names.EXPERIMENT_NAME: "summaries",
            names.TARGET_NAME: "candidate",
            names.MIRROR_DECISION: "mirrored",
        }
        await send(processor, METRICS, counter_request(names.METRIC_MIRROR_REQUESTS, [(attributes, 3)]))
        await send(processor, TRACES, legs_request([live("p1"), shadow("p1"), live("p2")]))
        (account,) = processor.accounts()
        assert (account.sent, account.outcomes, account.waiting, account.missing) == (3, {"matched": 1}, 1, 1)


async def test_by_default_a_pair_has_a_span_when_something_about_it_is_remarkable() -> None:
    async with OtlpSink() as sink, running({"endpoint": sink.endpoint}, compare_spans="threshold") as processor:
        await send(processor, TRACES, legs_request([live("alike"), shadow("alike")]))
        await send(processor, TRACES, legs_request([live("failed"), shadow("failed", status="INTERNAL")]))
        await processor.drain(10)
        said = [{pair.key: pair.value.string_value for pair in span.attributes} for span in sink.spans()]
        assert [one["shadowmesh.pair.id"] for one in said] == ["failed"]


async def test_without_compare_spans_there_are_none() -> None:
    async with OtlpSink() as sink, running({"endpoint": sink.endpoint}, compare_spans="never") as processor:
        await send(processor, TRACES, legs_request([live(), shadow()]))
        await processor.drain(10)
        assert sink.bodies(TRACES) == []
        assert sink.bodies(METRICS)


async def test_with_the_sdk_disabled_nothing_of_ours_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    async with OtlpSink() as sink, running({"endpoint": sink.endpoint}) as processor:
        await send(processor, TRACES, legs_request([live(), shadow()]))
        await processor.drain(10)
        assert sink.requests == []


async def test_a_variable_that_asks_for_what_we_do_not_do_is_answered_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram")
    async with running():
        assert ["TEMPORALITY_PREFERENCE=delta is not heeded" in line for line in caplog.messages] == [True]


async def test_the_environment_names_the_processor_when_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "pairing-eu")
    async with OtlpSink() as sink, running({"endpoint": sink.endpoint}) as processor:
        await processor.drain(10)
        (request,) = [ExportMetricsServiceRequest.FromString(body) for body in sink.bodies(METRICS)]
        assert "pairing-eu" in str(request.resource_metrics[0].resource)


async def test_an_endpoint_that_never_takes_anything_ends_with_the_grace_and_is_counted() -> None:
    async with OtlpSink([grpc.StatusCode.UNAVAILABLE] * 99) as sink:
        export = {"endpoint": sink.endpoint, "forward_spans": True}
        async with running(export) as processor:
            await send(processor, TRACES, legs_request([live(), shadow()]))
            await sink.until(lambda: sink.requests)
            await processor.drain(0.05)
            await processor.close()
            assert any("export to" in cause for cause in processor.faults.totals())


async def test_a_processor_told_to_export_to_itself_refuses_to_start() -> None:
    async with running() as taken:
        port = await taken.start()
    settings = ProcessorSettings.model_validate(
        {"listen": f"127.0.0.1:{port}", "export": [{"endpoint": f"http://localhost:{port}"}]}
    )
    refused = Processor(settings)
    with pytest.raises(StartError, match="this processor itself"):
        await refused.start()
    await refused.close()


async def test_a_taken_port_refuses_the_start_and_leaves_nothing_running() -> None:
    async with running() as first, OtlpSink() as sink:
        settings = ProcessorSettings.model_validate(
            {
                "listen": f"127.0.0.1:{await first.start()}",
                "http_listen": None,
                "data": "another",
                "export": [{"endpoint": sink.endpoint}],
            }
        )
        second = Processor(settings)
        with pytest.raises(StartError, match="taken"):
            await second.start()
        await second.drain(1)
        await second.close()


async def test_drain_and_close_are_safe_before_start_and_more_than_once() -> None:
    processor = Processor(ProcessorSettings(listen="127.0.0.1:0", http_listen=None))
    await processor.drain(1)
    await processor.close()
    first = await processor.start()
    assert await processor.start() == first
    for _ in range(2):
        await processor.drain(1)
        await processor.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"listen": "127.0.0.1"},
        {"window": "0s"},
        {"capacity": 0},
        {"compare_spans": "sometimes"},
        {"compare_threshold": {"duration": 1.0}},
        {"export": [{"endpoint": "a:1", "typo": True}]},
        {"prices": [{}]},
    ],
)
def test_settings_that_make_no_processor_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ProcessorSettings"):
        ProcessorSettings.model_validate(wrong)


def test_headers_are_secrets_in_every_print_of_the_settings() -> None:
    settings = ProcessorSettings.model_validate(
        {"export": [{"endpoint": "a:1", "headers": {"authorization": "Bearer hunter2"}}]}
    )
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in settings.model_dump_json()


async def test_the_status_says_what_the_journal_has_refused(tmp_path: Path) -> None:
    requests = [legs_request([live(f"p{n}")]) for n in range(20)]
    journal = {"max_bytes": 4 * len(requests[0]), "segment_bytes": 2 * len(requests[0])}
    async with running(data=str(tmp_path), journal=journal) as processor:
        outcomes = await asyncio.gather(
            *(processor.take(Signal.TRACES, request) for request in requests), return_exceptions=True
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, OverloadedError)]
        storage = processor.status().storage
        assert storage is not None
        assert storage.journal_troubles == JournalTroubles(
            full=len(refused), busy=0, failing=0, unsynced=0, damaged=0, damaged_bytes=0
        )
        assert 0 < len(refused) < len(outcomes)


async def test_what_is_counted_can_be_scraped_with_the_state_of_journal_and_store() -> None:
    async with running(http_listen="127.0.0.1:0", scrape=True) as processor:
        await send(processor, TRACES, legs_request([live(), shadow()]))
        reader, writer = await asyncio.open_connection("127.0.0.1", processor.receiver.http_port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        text = (await asyncio.wait_for(reader.read(), 20)).decode()
        writer.close()
        await writer.wait_closed()
    assert 'shadowmesh_pair_outcome="matched"' in text
    assert "\nshadowmesh_store_waiting " in text
    assert "\nshadowmesh_journal_size_bytes " in text


async def test_whoever_rolls_out_asks_the_running_processor() -> None:
    async with running(http_listen="127.0.0.1:0") as processor:
        await send(processor, TRACES, legs_request([live(), shadow()]))
        assert await processor.stored(20)
        found = await asyncio.to_thread(ask, f"127.0.0.1:{processor.receiver.http_port}")
        assert found.answer is Answer.NOT_YET


async def test_a_journal_that_cannot_be_made_stops_the_start_and_says_which_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = ProcessorSettings.model_validate(
        {"listen": "127.0.0.1:0", "http_listen": None, "journal": {"directory": str(tmp_path / "file" / "journal")}}
    )
    refused = Processor(settings)
    with pytest.raises(StartError, match=r"^processor\.journal\.directory: "):
        await refused.start()
    await refused.close()


def test_journal_and_store_are_in_the_data_directory_unless_their_own_settings_say_otherwise() -> None:
    settings = ProcessorSettings.model_validate(
        {"data": "d", "journal": {"sync": "never"}, "store": {"retention": {"pairs": {"age": "1h"}}}}
    )
    assert (settings.journal_settings.path, settings.journal_settings.sync) == (Path("d/journal"), "never")
    assert settings.store_settings.location == "sqlite:///d/pairs.db"
    assert settings.store_settings.retention.pairs.age == 3600
    elsewhere = ProcessorSettings.model_validate({"journal": {"directory": "j"}, "store": {"url": "sqlite:///s.db"}})
    assert elsewhere.journal_settings.path == Path("j")
    assert elsewhere.store_settings.location == "sqlite:///s.db"
    for nowhere in (lambda: JournalSettings().path, lambda: StoreSettings().location):
        with pytest.raises(ValueError, match="without a"):
            nowhere()
