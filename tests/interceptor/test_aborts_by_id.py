"""Requests that servers know by id: every shadow has its own, and what a client aborts ends at the shadows too."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from support.id_engine import PROTOCOLS, SGLANG_SMG, TRTLLM, VLLM, Client, IdEngine, IdHandlers, Protocol, rest
from support.meshes import config, target
from support.resources import until
from support.worlds import LIVE, WORLDS, World, world

from shadowmesh.build import Mesh
from shadowmesh.mirror.frames import Aborted
from shadowmesh.names import METRIC_MIRROR_ABORTS, AbortResult, CallEnd, Decision
from shadowmesh.testing import Backend

BY_NAME = pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda one: one.request)


def mirrored(kind: str, carrier: str, live: IdEngine, *targets: dict[str, Any], **more: Any) -> Any:
    settings: dict[str, Any] = {"methods": (live.protocol.generate,), "protocol": live.protocol.name} | more
    return world(kind, carrier, *targets, handler=IdHandlers(kind, live), **settings)


def ended(it: World) -> dict[tuple[str, str], int]:
    """Return what the tap's own counter says of aborts, by target and result."""
    return {(name, result): times for (_, name, result), times in it.mesh.aborts().items()}


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_shadow_at_the_live_call_s_own_engine_is_not_refused(kind: str, carrier: str) -> None:
    engine = IdEngine(VLLM)
    with Backend(engine) as backend, mirrored(kind, carrier, engine, target(backend.address)) as it:
        call = Client(it.server.channel, VLLM).begin("live")
        engine.wait_for(2)
        engine.let_go()
        rest(call)
        legs = it.settle(1, grace=10)
    (live,), (shadow,) = legs[LIVE], legs["candidate"]
    assert (live.status, shadow.status) == ("OK", "OK")
    assert engine.refused == []
    assert set(engine.started) == {"live", f"shadow-candidate-{live.pair_id}"}


def test_without_its_own_id_it_is_refused() -> None:
    engine = IdEngine(VLLM)
    with Backend(engine) as backend, mirrored("sync", "thread", engine, target(backend.address), protocol="raw") as it:
        call = Client(it.server.channel, VLLM).begin("live")
        assert until(lambda: engine.refused == ["live"])
        engine.let_go()
        rest(call)
        assert it.settle(1, grace=10)["candidate"][0].status == "ALREADY_EXISTS"


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_what_a_client_aborts_ends_at_its_shadows_and_nowhere_else(kind: str, carrier: str) -> None:
    live, one, other = (IdEngine(VLLM) for _ in range(3))
    with Backend(one) as first, Backend(other) as second:
        targets = target(first.address, "one"), target(second.address, "other", metadata=["x-route"])
        with mirrored(kind, carrier, live, *targets) as it:
            client = Client(it.server.channel, VLLM)
            left = client.begin("left", metadata=(("x-route", "a"), ("x-secret", "b")))
            stays = client.begin("stays")
            for engine in (live, one, other):
                engine.wait_for(2)
            client.abort("unknown", "left")
            rest(left)
            for engine in (live, one, other):
                engine.wait_for(1)
            assert live.running == {"stays"}
            for engine in (one, other):
                engine.let_go()
            live.let_go()
            rest(stays)
            legs = it.settle(2, grace=10)
            pair = legs[LIVE][0].pair_id
            assert {leg.status for found in legs.values() for leg in found} == {"OK"}
            assert {leg.end for found in legs.values() for leg in found} == {CallEnd.COMPLETED}
            assert legs["one"][0].fields.finish_reasons == legs[LIVE][0].fields.finish_reasons == ("abort",)
            assert it.decided("one") == {(Decision.MIRRORED, ""): 2}, "no abort is an exchange"
            assert until(lambda: ended(it) == {(name, AbortResult.ASKED): 1 for name in ("one", "other")})
            assert it.mesh.faults() == {}
    assert (one.aborted, other.aborted) == ([(f"shadow-one-{pair}",)], [(f"shadow-other-{pair}",)])
    (asked,) = other.aborts
    carried = dict(asked.metadata)
    assert (carried["x-route"], carried["x-shadowmesh-role"], carried["x-shadowmesh-pair-id"]) == ("a", "shadow", pair)
    assert "x-secret" not in carried


@BY_NAME
@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_every_protocol_that_has_aborts(kind: str, protocol: Protocol) -> None:
    live, engine = IdEngine(protocol), IdEngine(protocol)
    carrier = "thread" if kind == "sync" else "loop"
    with Backend(engine) as backend, mirrored(kind, carrier, live, target(backend.address)) as it:
        client = Client(it.server.channel, protocol)
        call = client.begin("live")
        engine.wait_for(1)
        client.abort("live")
        rest(call)
        engine.wait_for(0)
        pair = it.settle(1, grace=10)[LIVE][0].pair_id
        assert ended(it) == {("candidate", AbortResult.ASKED): 1}
    assert engine.aborted == [(f"shadow-candidate-{pair}",)]


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_of_several_workers_the_one_that_has_the_call_ends_it(kind: str) -> None:
    live, engine = IdEngine(VLLM), IdEngine(VLLM)
    workers: dict[str, Any] = {"mirror": {"workers": 3}}
    with Backend(engine) as backend, mirrored(kind, "process", live, target(backend.address), **workers) as it:
        client = Client(it.server.channel, VLLM)
        calls = {name: client.begin(name) for name in "abcdef"}
        engine.wait_for(6)
        for name in "bdf":
            client.abort(name)
            rest(calls[name])
        engine.wait_for(3)
        for one in (live, engine):
            one.let_go()
        legs = it.settle(6, grace=10)
        assert {leg.status for leg in legs["candidate"]} == {"OK"}
        assert ended(it) == {("candidate", AbortResult.ASKED): 3}
        assert it.mesh.faults() == {}
    assert len(set(engine.aborted)) == len(engine.aborted) == 3


@pytest.mark.parametrize("methods", [("/vllm.grpc.engine.VllmEngine/*",), ("/vllm.*",), ("*",)])
@pytest.mark.parametrize(("kind", "carrier"), [("sync", "thread"), ("aio", "loop")])
def test_under_a_wildcard_an_abort_is_no_call_to_be_copied(kind: str, carrier: str, methods: tuple[str, ...]) -> None:
    live, engine = IdEngine(VLLM), IdEngine(VLLM)
    everything: dict[str, Any] = {"methods": methods, "effects": {"*": "safe"}, "protocol": None}
    with Backend(engine) as backend, mirrored(kind, carrier, live, target(backend.address), **everything) as it:
        client = Client(it.server.channel, VLLM)
        client.abort("before")
        call = client.begin("live")
        engine.wait_for(1)
        client.abort("somebody else's")
        client.abort("live")
        rest(call)
        pair = it.settle(1, grace=10)[LIVE][0].pair_id
    assert engine.aborted == [(f"shadow-candidate-{pair}",)]


@pytest.mark.parametrize(("kind", "carrier"), [("sync", "thread"), ("aio", "loop"), ("aio", "process")])
def test_an_abort_that_its_server_refuses_ends_nothing(kind: str, carrier: str) -> None:
    live, engine = IdEngine(SGLANG_SMG), IdEngine(SGLANG_SMG)
    with Backend(engine) as backend, mirrored(kind, carrier, live, target(backend.address)) as it:
        client = Client(it.server.channel, SGLANG_SMG)
        call = client.begin("live")
        engine.wait_for(1)
        live.refusing = True
        with pytest.raises(grpc.RpcError, match="as told"):
            client.abort("live")
        for one in (live, engine):
            one.let_go()
        rest(call)
        it.settle(1, grace=10)
        assert ended(it) == {}
    assert engine.aborted == []


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_bytes_that_name_nobody_end_nobody_and_raise_nothing(kind: str, carrier: str) -> None:
    live, engine = IdEngine(TRTLLM), IdEngine(TRTLLM)
    with Backend(engine) as backend, mirrored(kind, carrier, live, target(backend.address)) as it:
        client = Client(it.server.channel, TRTLLM)
        call = client.begin("live")
        engine.wait_for(1)
        for data in (b"", b"\xff", b"\x0a", b"\x0a\x04liv", b"\x0a\x01\xff", b"\x10\x01", b"\x0a\x04live" * 1000):
            if data.startswith(b"\x0a\x04live"):
                data = data[:-6] + b"\x0a\x04nobo"  # noqa: PLW2901 (the last one counts)
            client.send(data)
        for one in (live, engine):
            one.let_go()
        rest(call)
        it.settle(1, grace=10)
        assert (ended(it), it.mesh.faults()) == ({}, {})
    assert engine.aborted == []


def test_one_that_is_too_large_is_let_go_and_counted() -> None:
    live, engine = IdEngine(VLLM), IdEngine(VLLM)
    with Backend(engine) as backend, mirrored("sync", "thread", live, target(backend.address)) as it:
        client = Client(it.server.channel, VLLM)
        call = client.begin("live")
        engine.wait_for(1)
        client.abort("live", *("x" * 1000 + str(number) for number in range(70)))
        rest(call)
        engine.let_go()
        it.settle(1, grace=10)
        assert it.mesh.faults() == {"abort: a client's was not handed over": 1}
    assert engine.aborted == []


def test_the_tap_s_own_metrics_count_what_came_of_them() -> None:
    reader = InMemoryMetricReader()
    with Mesh(config(target("127.0.0.1:1"), methods=(VLLM.generate,)), metric_reader=reader) as mesh:
        mesh.interceptor()
        mesh.start()
        for result, times in (("asked", 2), ("asked", 1), ("failed", 1)):
            mesh._mirroring.live.receive(Aborted(0, "x", "candidate", result, times))
        data: Any = reader.get_metrics_data()
        points = [
            (point.attributes, point.value)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == METRIC_MIRROR_ABORTS
            for point in metric.data.data_points
        ]
    about = {"shadowmesh.experiment.name": "x", "shadowmesh.target.name": "candidate"}
    assert points == [
        (about | {"shadowmesh.mirror.abort.result": "asked"}, 3),
        (about | {"shadowmesh.mirror.abort.result": "failed"}, 1),
    ]
