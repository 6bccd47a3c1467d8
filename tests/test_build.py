"""The life of a mesh: nothing runs before the first mirrored call, everything ends, and ending twice is fine."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from support.meshes import config, target
from support.scripts import script
from support.servers import live_server
from support.shadows import answering

from shadowmesh.build import Mesh
from shadowmesh.errors import ConfigError, StartError
from shadowmesh.names import Decision
from shadowmesh.policy.funnel import FunnelKey
from shadowmesh.testing import Backend, SpanSink, echo

MIRRORED = FunnelKey("x", "candidate", Decision.MIRRORED, "")


def test_building_a_mesh_starts_nothing() -> None:
    before = set(threading.enumerate())
    mesh = Mesh(config(target("127.0.0.1:1")), span_exporter=SpanSink())
    mesh.interceptor()
    # Those of other tests may still be ending.
    assert set(threading.enumerate()) <= before
    mesh.close()


def test_closing_twice_and_before_the_start_is_fine() -> None:
    mesh = Mesh(config(target("127.0.0.1:1")), span_exporter=SpanSink())
    mesh.close()
    mesh.close()
    mesh.drain()
    assert mesh.funnel() == {}


async def test_an_asynchronous_close_before_the_start_is_fine() -> None:
    async with Mesh(config(target("127.0.0.1:1")), span_exporter=SpanSink()) as mesh:
        mesh.aio_interceptor()
    await mesh.aclose()


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_no_thread_of_ours_is_left_after_close(kind: str) -> None:
    with Backend(answering) as backend:
        mesh = Mesh(config(target(backend.address)), span_exporter=SpanSink())
        with live_server(kind, lambda: [mesh.aio_interceptor() if kind == "aio" else mesh.interceptor()]) as server:
            server.call("unary_unary")(script(["send", "x"]), timeout=20)
            backend.wait_for_calls(1)
            mesh.close()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("shadowmesh")] == []


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_after_a_drain_live_calls_run_and_nothing_is_mirrored(kind: str) -> None:
    with Backend(answering) as backend, Mesh(config(target(backend.address)), span_exporter=SpanSink()) as mesh:
        with live_server(kind, lambda: [mesh.aio_interceptor() if kind == "aio" else mesh.interceptor()]) as server:
            call = server.call("unary_unary")
            assert call(script(["send", "x"]), timeout=20) == b"x"
            mesh.drain()
            assert call(script(["send", "y"]), timeout=20) == b"y"
        assert mesh.funnel() == {MIRRORED: 1}


async def test_draining_in_the_loop_that_the_mirror_shares_says_what_to_do_instead() -> None:
    with Backend(echo) as backend:
        async with Mesh(config(target(backend.address)), span_exporter=SpanSink()) as mesh:
            mesh.aio_interceptor()
            mesh.start()
            with pytest.raises(RuntimeError, match=r"await mesh\.adrain"):
                mesh.drain()


def test_the_loop_carrier_refuses_a_synchronous_server() -> None:
    settings = config(target("127.0.0.1:1"))
    settings = settings.model_copy(update={"mirror": settings.mirror.model_copy(update={"carrier": "loop"})})
    mesh = Mesh(settings, span_exporter=SpanSink())
    with pytest.raises(StartError, match=r"mirror\.carrier"):
        mesh.interceptor()
    mesh.close()


def test_with_the_sdk_disabled_live_calls_run_and_nothing_is_mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    sink = SpanSink()
    with Mesh(config(target("127.0.0.1:1")), span_exporter=sink) as mesh:
        with live_server("sync", lambda: [mesh.interceptor()]) as server:
            assert server.call("unary_unary")(script(["send", "x"]), timeout=20) == b"x"
        assert mesh.funnel() == {}
        assert sink.spans == []


def test_an_exporter_nobody_knows_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "pigeon")
    with pytest.raises(ConfigError, match="pigeon"):
        Mesh(config(target("127.0.0.1:1")))


def test_the_funnel_is_published_as_metrics() -> None:
    reader = InMemoryMetricReader()
    with (
        Backend(answering) as backend,
        Mesh(config(target(backend.address)), span_exporter=SpanSink(), metric_reader=reader) as mesh,
    ):
        with live_server("sync", lambda: [mesh.interceptor()]) as server:
            server.call("unary_unary")(script(["send", "x"]), timeout=20)
            mesh.drain()
        data = reader.get_metrics_data()
    assert data is not None
    metrics = {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    points: Any = metrics["shadowmesh.mirror.requests"].data.data_points
    assert [point.value for point in points] == [1]
    assert "service.instance.id" in data.resource_metrics[0].resource.attributes


FORGETFUL = """
import asyncio, sys
import grpc, grpc.aio
import shadowmesh

mesh = shadowmesh.Mesh.from_file(sys.argv[1])

async def answer(request, context):
    return request

async def main():
    server = grpc.aio.server(interceptors=[mesh.aio_interceptor()])
    methods = {"c": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("a.B", methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        print(await channel.unary_unary("/a.B/c")(b"hi"))
    await server.stop(0)

asyncio.run(main())
"""


@pytest.mark.parametrize("carrier", ["loop", "thread"])
def test_a_program_that_forgets_to_close_still_ends(tmp_path: Path, carrier: str) -> None:
    file = tmp_path / "shadowmesh.yaml"
    with Backend(echo) as backend:
        settings = config(target(backend.address))
        settings = settings.model_copy(update={"mirror": settings.mirror.model_copy(update={"carrier": carrier})})
        file.write_text(settings.model_dump_json())
        result = subprocess.run(
            [sys.executable, "-c", FORGETFUL, str(file)], capture_output=True, text=True, timeout=60, check=False
        )
    assert (result.returncode, result.stdout) == (0, "b'hi'\n"), result.stderr
    assert "Traceback" not in result.stderr


async def test_one_mesh_serves_two_servers_of_one_loop() -> None:
    sink = SpanSink()
    with Backend(answering) as backend:
        async with Mesh(config(target(backend.address)), span_exporter=sink) as mesh:
            servers = []
            for _ in range(2):
                server = grpc.aio.server(interceptors=[mesh.aio_interceptor()])
                methods: dict[str, Any] = {"c": grpc.unary_unary_rpc_method_handler(_same)}
                server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("a.B", methods)])
                port = server.add_insecure_port("127.0.0.1:0")
                await server.start()
                servers.append((server, port))
            for server, port in servers:
                async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                    call: Any = channel.unary_unary("/a.B/c")
                    assert await call(b"hi") == b"hi"
                await server.stop(0)
    assert len(sink.legs()) == 4
    assert mesh.funnel() == {MIRRORED: 2}


async def _same(request: bytes, context: Any) -> bytes:
    return request
