"""The carrier ``process``: workers live and die, and the live process neither waits for them nor loses count."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from support.calls import ARITIES, SCENARIOS, see
from support.meshes import config, refusing_address, running_mesh, target
from support.records import begin
from support.resources import children, until
from support.servers import interceptor_of, live_server
from support.shadows import answering, hanging
from support.traffic import Traffic
from support.worlds import with_mirror, world

from shadowmesh.build import Mesh
from shadowmesh.errors import StartError
from shadowmesh.mirror.codec import encode
from shadowmesh.mirror.frames import Frame, Lost, Outcomes, RequestEnd, Settled
from shadowmesh.mirror.link import Link
from shadowmesh.mirror.process import ProcessCarrier
from shadowmesh.mirror.tap import Room
from shadowmesh.names import SERVICE_INSTANCE_ID, CallEnd, Decision, Role
from shadowmesh.telemetry.faults import Faults
from shadowmesh.testing import Backend, SpanSink

KINDS = ("sync", "aio")


def test_an_exporter_that_no_worker_can_reach_is_refused_at_start() -> None:
    with pytest.raises(StartError, match=r"mirror\.carrier: process .* telemetry\.otlp or OTEL_\*"):
        Mesh(with_mirror(config(target("127.0.0.1:1")), carrier="process"), span_exporter=SpanSink())


def test_building_a_mesh_starts_no_process() -> None:
    before = children()
    mesh = Mesh(with_mirror(config(target("127.0.0.1:1")), carrier="process"))
    mesh.interceptor()
    assert children() == before
    mesh.close()


@pytest.mark.parametrize("kind", KINDS)
def test_every_shape_is_mirrored_and_the_legs_bear_the_live_process_s_instance_id(kind: str) -> None:
    with Backend(answering) as backend, world(kind, "process", target(backend.address)) as it:
        for arity in ARITIES:
            see(it.server, arity, SCENARIOS["answers"])
        legs = it.settle(len(ARITIES), grace=10)
        assert {leg.end for leg in legs["candidate"]} == {CallEnd.COMPLETED}
        instance = it.mesh.status()["instance_id"]
        assert {span.resource.attributes[SERVICE_INSTANCE_ID] for span in it.sink.spans} == {instance}
        assert {dict(call.metadata)["x-shadowmesh-instance"] for call in backend.calls} == {instance}


def test_calls_are_spread_over_the_workers_and_each_ends_with_the_mesh() -> None:
    before = children()
    with Backend(answering, workers=64) as backend:
        with world("aio", "process", target(backend.address), mirror={"workers": 3}) as it:
            assert it.mesh.status()["carrier"]["workers"] == {"used": 0, "cap": 3}
            traffic = Traffic(it.server)
            traffic.run(60)
            assert until(lambda: len(set(children()) - set(before)) == 3)
            it.settle(60, grace=10)
        assert until(lambda: children() == before)


def test_a_worker_told_to_end_finishes_what_it_has_and_another_takes_its_place() -> None:
    before = children()
    with Backend(answering, workers=64) as backend, world("aio", "process", target(backend.address)) as it:
        traffic = Traffic(it.server)
        traffic.run(20)
        backend.wait_for_calls(20)
        (first,) = set(children()) - set(before)
        os.kill(first, signal.SIGTERM)
        assert until(lambda: bool(set(children()) - {*before, first}))
        assert it.mesh.status()["carrier"]["restarts"] == 1
        it.sink.wait_for_legs(40)
        traffic.run(20)
        backend.wait_for_calls(40)
        it.sink.wait_for_legs(80)
        assert it.mesh.status()["experiments"][0]["targets"][0]["lost"] == {}
        assert it.counted() == {"candidate": 40}


def test_what_a_killed_worker_held_is_counted_as_lost_and_the_sum_is_exact() -> None:
    before = children()
    with Backend(hanging, workers=64) as backend, world("aio", "process", target(backend.address)) as it:
        for _ in range(8):
            see(it.server, "unary_unary", SCENARIOS["answers"])
        backend.wait_for_calls(8)
        (worker,) = set(children()) - set(before)
        os.kill(worker, signal.SIGKILL)
        assert until(lambda: not any(it.mesh.active().values()))
        lost = it.mesh.status()["experiments"][0]["targets"][0]["lost"]
        assert lost == {"worker": 8}
        assert it.decided() == {(Decision.MIRRORED, ""): 8}
        it.mesh.drain(0)
        assert it.sink.legs() == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_worker_takes_no_more_memory_than_the_cap_and_what_does_not_fit_is_shed(kind: str) -> None:
    before = children()
    tight = {"capture_bytes": "128KiB", "queue_items": 64}
    with (
        Backend(answering, workers=64) as backend,
        world(kind, "process", target(backend.address, max_in_flight=10_000), mirror=tight) as it,
    ):
        Traffic(it.server).run(1)
        backend.wait_for_calls(1)
        (worker,) = set(children()) - set(before)
        os.kill(worker, signal.SIGSTOP)
        try:
            for _ in range(50):
                assert see(it.server, "unary_unary", [["send", "x" * 8000]]).messages == (b"x" * 8000,)
                assert it.mesh.captured_bytes() <= 128 * 1024
        finally:
            os.kill(worker, signal.SIGCONT)
        it.mesh.drain(10)
        assert it.decided()[Decision.DROPPED, "capture_full"] > 0
        assert it.counted() == {"candidate": 51}
        shadows = Counter(leg.pair_id for leg in it.sink.wait_for_legs(102) if leg.role == Role.SHADOW)
        assert set(shadows.values()) == {1}


def test_a_target_whose_breaker_died_open_with_its_worker_is_tried_again() -> None:
    before = children()
    with refusing_address() as address:
        dead = target(address, breaker={"least_calls": 3, "open": "60s"})
        with world("aio", "process", dead) as it:
            traffic = Traffic(it.server)

            def closed() -> bool:
                return not it.mesh.status()["experiments"][0]["targets"][0]["admits"]

            def closed_by_calls() -> bool:
                traffic.run(5)
                return closed()

            assert until(closed_by_calls)
            (worker,) = set(children()) - set(before)
            os.kill(worker, signal.SIGKILL)
            assert until(lambda: not closed())
            assert until(closed_by_calls), "the new worker finds out for itself"


def test_what_a_worker_said_before_it_ended_is_heard() -> None:
    heard: list[Frame] = []
    link = Link(heard.append, lambda: (), queue_items=100, admit=lambda _: None, faults=Faults(), clock=time.monotonic)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    link.worker.socket = ours
    for call in (1, 2):
        link.mailbox.put(begin(call=call, pages=0), Room.NEW)
    link.worker._process = subprocess.Popen([sys.executable, "-c", ""])
    link.turn()
    theirs.sendall(encode(Outcomes(0, "summaries", "candidate", (1,))) + encode(Settled(0, (1,), (1,))))
    theirs.close()
    link.mailbox.put(RequestEnd(1, 5), Room.END)

    def ended() -> bool:
        link.turn()
        return link.worker.socket is None

    assert until(ended)
    assert [frame for frame in heard if isinstance(frame, Lost)] == [Lost(2, "summaries", "candidate", "worker", 1)]
    assert Outcomes(0, "summaries", "candidate", (1,)) in heard


def test_a_call_that_cannot_be_put_into_bytes_is_lost_alone() -> None:
    with Backend(answering) as backend, world("aio", "process", target(backend.address)) as it:
        carrier = it.mesh._mirroring.engines.carrier
        assert isinstance(carrier, ProcessCarrier)
        see(it.server, "unary_unary", SCENARIOS["answers"])
        assert carrier.offer(begin(call=77, experiment="x", method="/\ud800", request=b"x", pages=0), Room.NEW)
        see(it.server, "unary_unary", SCENARIOS["answers"])
        it.mesh.drain(10)
        assert len(it.sink.wait_for_legs(4)) == 4
        assert it.mesh.faults() == {"frame: UnicodeEncodeError": 1}
        assert it.mesh.status()["experiments"][0]["targets"][0]["lost"] == {"worker": 1}


_PROGRAM = """
import sys, time
from support.traffic import Traffic
from support.meshes import config, target
from support.servers import interceptor_of, live_server
from support.worlds import with_mirror
from support.resources import children, until
from shadowmesh.build import Mesh

mesh = Mesh(with_mirror(config(target(sys.argv[1])), carrier="process"))
with live_server("sync", lambda: [interceptor_of("sync", mesh)]) as server:
    Traffic(server).run(3)
    assert until(lambda: len(children()) == 1)
    print(children()[0], flush=True)
    sys.stdin.read()
"""


def test_a_worker_ends_with_its_live_process_however_that_ends() -> None:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
    }
    with Backend(hanging, workers=16) as backend:
        live = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, backend.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        with live:
            try:
                assert live.stdout is not None
                assert select.select([live.stdout], [], [], 30)[0]
                worker = int(live.stdout.readline())
                backend.wait_for_calls(3)
            finally:
                live.kill()
        assert until(lambda: not Path(f"/proc/{worker}").exists())
        assert all(call.ended.wait(30) for call in backend.calls)


def test_every_process_of_a_prefork_server_has_a_worker_of_its_own() -> None:
    with (
        Backend(answering, workers=16) as backend,
        running_mesh(config(target(backend.address)), "process") as (mesh, _),
    ):
        interceptor = interceptor_of("sync", mesh)
        with live_server("sync", lambda: [interceptor]) as server:
            Traffic(server).run(1)
            backend.wait_for_calls(1)
        carrier = mesh._mirroring.engines.carrier
        assert isinstance(carrier, ProcessCarrier)
        (pid,) = [link.pid for link in carrier.links]
        read, write = os.pipe()
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            ours = mesh._mirroring.engines.carrier
            if mesh.funnel() or any(mesh.active().values()) or mesh.captured_bytes():
                os.write(write, b"inherited")
                os._exit(0)
            fresh = isinstance(ours, ProcessCarrier) and ours is not carrier and ours.links[0].pid is None
            os.write(write, b"fresh" if fresh and carrier.links[0].worker.socket is None else b"shared")
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(read, 16) == b"fresh"
        os.close(read)
        os.close(write)
        assert [link.pid for link in carrier.links] == [pid], "the parent's goes on"
