"""9. What raises in the mirror (carrier, engine, exporter, metrics, map, address) is counted; live calls go on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from support.calls import ARITIES, SCENARIOS, see
from support.faulty import PARTS, faulty
from support.meshes import config, target
from support.servers import interceptor_of, is_aio, live_server
from support.shadows import SCRIPTS, answering
from support.worlds import LIVE, WORLDS, world

from shadowmesh.build import Mesh
from shadowmesh.mirror.carrier import MirrorSettings
from shadowmesh.names import CallEnd
from shadowmesh.testing import Backend, SpanSink

IN_PROCESS = [("sync", "thread"), ("aio", "loop")]
"""Where parts can be put in from outside; what they do in a worker process they do over `thread` here."""
CASES = [(name, arity) for name in ("answers", "echoes the request stream", "raises") for arity in ARITIES]


class Raising(SpanExporter):
    """An exporter that fails at everything it is asked for."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        raise RuntimeError("no export")

    def shutdown(self) -> None:
        raise RuntimeError("no shutdown")


class Failing(Raising):
    """An exporter that says it failed."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        return SpanExportResult.FAILURE


class Hanging(Raising):
    """An exporter that does not come back before the test is over."""

    def __init__(self, over: threading.Event) -> None:
        super().__init__()
        self._over = over

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        self._over.wait(30)
        return SpanExportResult.SUCCESS


class ShutDown(SpanSink):
    """Says when it was shut down."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()

    def shutdown(self) -> None:
        self.over.set()


class NoMetrics(MetricExporter):
    """A metric exporter that raises."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()

    def export(self, metrics_data: Any, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        self.asked.set()
        raise RuntimeError("no metrics")

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        raise RuntimeError("no flush")

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        raise RuntimeError("no shutdown")


@pytest.fixture
def expected() -> Callable[[str], list[Any]]:
    def seen_without_us(kind: str) -> list[Any]:
        with live_server(kind) as bare:
            return [see(bare, arity, SCENARIOS[name]) for name, arity in CASES]

    return seen_without_us


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("kind", "carrier"), IN_PROCESS)
def test_a_carrier_or_engine_that_raises_changes_no_live_call(
    kind: str, carrier: str, part: str, expected: Callable[[str], list[Any]]
) -> None:
    with Backend(answering, workers=64) as backend:
        settings = config(target(backend.address))
        mesh = Mesh(settings, span_exporter=SpanSink(), make_carrier=faulty(carrier, part))
        with live_server(kind, lambda: [interceptor_of(kind, mesh)]) as server:
            assert [see(server, arity, SCENARIOS[name]) for name, arity in CASES] == expected(kind)
            mesh.close(0)
        assert sum(mesh.funnel().values()) <= len(CASES)


@pytest.mark.parametrize("part", ["drain", "engine drained", "engine closed"])
@pytest.mark.parametrize("carrier", ["loop", "thread"])
def test_closing_releases_everything_even_where_draining_raises(carrier: str, part: str) -> None:
    sink = ShutDown()
    with Backend(answering) as backend:
        mesh = Mesh(config(target(backend.address)), span_exporter=sink, make_carrier=faulty(carrier, part))
        with live_server("aio", lambda: [mesh.aio_interceptor()]) as server:
            see(server, "unary_unary", SCENARIOS["answers"])
            sink.wait_for_legs(2)
            mesh.close(0)
    assert sink.over.is_set()


ENDING = """
import sys
import grpc
from support.calls import SCENARIOS, see
from support.faulty import faulty
from support.meshes import config, target
from support.servers import live_server
from shadowmesh.build import Mesh
from shadowmesh.testing import SpanSink

mesh = Mesh(config(target("127.0.0.1:1")), span_exporter=SpanSink(), make_carrier=faulty("thread", "engine made"))
with live_server("sync", lambda: [mesh.interceptor()]) as server:
    print(see(server, "unary_unary", SCENARIOS["answers"]).code.name, flush=True)
"""


def test_a_program_whose_engine_cannot_be_made_comes_to_its_end() -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", ENDING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "OK\n"
        try:
            assert process.wait(5) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("exporter", ["raises", "fails", "hangs"])
@pytest.mark.parametrize(("kind", "carrier"), IN_PROCESS)
def test_an_exporter_that_raises_fails_or_hangs_changes_no_live_call(
    kind: str, carrier: str, exporter: str, expected: Callable[[str], list[Any]]
) -> None:
    over = threading.Event()
    given = {"raises": Raising(), "fails": Failing(), "hangs": Hanging(over)}[exporter]
    with Backend(answering, workers=64) as backend:
        settings = config(target(backend.address))
        settings = settings.model_copy(update={"mirror": MirrorSettings.model_validate({"carrier": carrier})})
        mesh = Mesh(settings, span_exporter=given)
        with live_server(kind, lambda: [interceptor_of(kind, mesh)]) as server:
            assert [see(server, arity, SCENARIOS[name]) for name, arity in CASES] == expected(kind)
            backend.wait_for_calls(len(CASES))
            assert given.asked.wait(10)
            assert [see(server, arity, SCENARIOS[name]) for name, arity in CASES] == expected(kind)
            over.set()
            mesh.close(0)
        assert exporter == "hangs" or any(cause.startswith("export") for cause in mesh.faults())
        assert set(mesh.active().values()) == {0}


@pytest.mark.parametrize(("kind", "carrier"), IN_PROCESS)
def test_metrics_that_cannot_be_exported_change_no_live_call(
    kind: str, carrier: str, expected: Callable[[str], list[Any]]
) -> None:
    exporter = NoMetrics()
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=10)
    with Backend(answering, workers=64) as backend:
        settings = config(target(backend.address))
        settings = settings.model_copy(update={"mirror": MirrorSettings.model_validate({"carrier": carrier})})
        mesh = Mesh(settings, span_exporter=SpanSink(), metric_reader=reader)
        with live_server(kind, lambda: [interceptor_of(kind, mesh)]) as server:
            see(server, "unary_unary", SCENARIOS["answers"])
            assert exporter.asked.wait(10)
            assert [see(server, arity, SCENARIOS[name]) for name, arity in CASES] == expected(kind)
            mesh.close(0)


def test_closing_does_not_raise_what_a_metric_reader_raises() -> None:
    reader = PeriodicExportingMetricReader(NoMetrics(), export_interval_millis=60_000)
    mesh = Mesh(config(target("127.0.0.1:1")), span_exporter=SpanSink(), metric_reader=reader)
    with live_server("sync", lambda: [mesh.interceptor()]) as server:
        see(server, "unary_unary", SCENARIOS["answers"])
        mesh.close(0)


MALFORMED = (b"\xff" * 9, b"\x0a\xff\xff\xff\xff\x0f", b"\x08", bytes(1000), b"\x0a\x02\xc3\x28")
"""No GenerateRequest, each in a way of its own: bad tags, a length beyond the end, a cut varint, zeros, no UTF-8."""
METHODS = {
    "unary_unary": "Generate",
    "unary_stream": "StreamGenerate",
    "stream_unary": "Ingest",
    "stream_stream": "Converse",
}


class Parrot(grpc.GenericRpcHandler):
    """The reference service, but for its messages: it sends back what it gets."""

    def __init__(self, kind: str) -> None:
        self._aio = is_aio(kind)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        name = handler_call_details.method.rpartition("/")[2]
        arity = next(arity for arity, method in METHODS.items() if method == name)
        make = getattr(grpc, f"{arity}_rpc_method_handler")
        if self._aio:
            return make(self._many_aio if arity.endswith("stream") else self._one_aio)
        return make(self._many if arity.endswith("stream") else self._one)

    def _many(self, request: Any, context: Any) -> Iterator[bytes]:
        yield from [request] if isinstance(request, bytes) else request

    def _one(self, request: Any, context: Any) -> bytes:
        return b"".join(self._many(request, context))

    async def _many_aio(self, request: Any, context: Any) -> Any:
        if isinstance(request, bytes):
            yield request
        else:
            async for message in request:
                yield message

    async def _one_aio(self, request: Any, context: Any) -> bytes:
        return b"".join([message async for message in self._many_aio(request, context)])


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_bytes_the_protocol_map_cannot_read_pass_both_ways_and_have_their_legs(kind: str, carrier: str) -> None:
    with Backend(SCRIPTS["answering"], workers=64) as backend:
        with world(kind, carrier, target(backend.address), handler=Parrot(kind)) as it:
            for arity, method in METHODS.items():
                multicallable: Any = getattr(it.server.channel, arity)(f"/shadowmesh.v1.Inference/{method}")
                for message in MALFORMED:
                    request: Any = iter([message]) if arity.startswith("stream") else message
                    answer = multicallable(request, timeout=20)
                    assert (list(answer) if arity.endswith("stream") else [answer]) == [message]
            legs = it.settle(len(METHODS) * len(MALFORMED), grace=10)
        assert {leg.status for leg in legs[LIVE]} == {"OK"}
        # What a policy cannot read it may keep from the shadow, and then it says so.
        assert all(leg.status == "OK" or (leg.end == CallEnd.SHED and leg.drop_reason) for leg in legs["candidate"])


ADDRESSES = ("dns:///no-such-host.invalid:1", "unix:/no/such/socket", "ipv4:999.999.999.999:1", "dns://[::bad/host:1")


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_addresses_that_lead_nowhere_give_failed_legs_and_change_no_live_call(kind: str, carrier: str) -> None:
    targets = [target(address, f"t{number}", deadline="1s") for number, address in enumerate(ADDRESSES)]
    with world(kind, carrier, *targets) as it:
        for arity in ARITIES:
            assert see(it.server, arity, SCENARIOS["answers"]).code is grpc.StatusCode.OK
        legs = it.settle(len(ARITIES), grace=5)
    for one in targets:
        assert not {leg.status for leg in legs[one["name"]]} & {"OK"}


HEADERS = (
    ("traceparent", "00-zz"),
    ("traceparent", "00-" + "0" * 32 + "-" + "0" * 16 + "-00"),
    ("tracestate", "=,=,=" * 50),
    ("grpc-previous-rpc-attempts", "many"),
    ("x-shadowmesh-role", "neither"),
    ("x-shadowmesh-pair-id", "not one of ours"),
    ("x-odd-bin", bytes(range(256))),
)


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_metadata_that_makes_no_sense_changes_no_live_call_and_costs_no_leg(kind: str, carrier: str) -> None:
    with Backend(answering) as backend, world(kind, carrier, target(backend.address, metadata=["x-*"])) as it:
        for header in HEADERS:
            call = it.server.call("unary_unary")
            assert call(b'[["send", "one"]]', metadata=(header,), timeout=20) == b"one"
        assert {leg.status for leg in it.settle(len(HEADERS), grace=5)["candidate"]} == {"OK"}
